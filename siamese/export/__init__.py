"""Write a trained model in the formats of other libraries: a sentence-transformers folder or an ONNX file."""
