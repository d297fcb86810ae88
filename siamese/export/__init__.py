"""A trained model in the forms of other libraries: a folder of sentence-transformers, a file of ONNX."""
