"""Questions as words, token ids and keys."""

from siamese.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
