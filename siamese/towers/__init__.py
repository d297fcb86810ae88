"""Encoders of token ids: the LSTM tower, transformers, sentence encoders, and word vectors to start from."""
