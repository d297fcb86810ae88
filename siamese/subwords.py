"""Where `SubwordTokenizer` was in version 0.1, for those who import it from here."""

from siamese.text.subwords import SubwordTokenizer

__all__ = ["SubwordTokenizer"]
