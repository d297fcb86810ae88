"""What turns token ids into vectors: the LSTM tower, transformers, sentence encoders, word vectors."""
