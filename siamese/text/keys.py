"""Keys, by which questions count as the same."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable

import numpy as np

from siamese.text.tokenizer import composed

_NO_LETTER_OR_DIGIT = re.compile(r"[\W_]+")


def key(question: str) -> int:
    """A number that questions share when they have the same letters and digits, case ignored.

    64 bits of a hash: among ten million questions the chance of a single false
    match is 3 in a million.
    """
    text = question.lower()
    if text.isascii():
        text = _NO_LETTER_OR_DIGIT.sub("", text)
    else:  # the marks that make up letters in some scripts stay
        text = "".join(c for c in composed(text) if unicodedata.category(c)[0] in "LMN")
    text = text or question.strip()
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def keys(questions: Iterable[str]) -> np.ndarray:
    """(n,) uint64: the key of each question."""
    return np.array(array("Q", map(key, questions)), np.uint64)
