"""The place of `SubwordTokenizer` in version 0.1, kept for old imports."""

from siamese.text.subwords import SubwordTokenizer

__all__ = ["SubwordTokenizer"]
