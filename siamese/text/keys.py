"""Keys and words of questions, the same for every model."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable

import numpy as np

from siamese.text.cleaning import clean, composed

_NO_LETTER_OR_DIGIT = re.compile(r"[\W_]+")
_WORD = re.compile(r"\d+(?:[.,]\d+)+(?!\w)|\w+(?:['’]\w+)*")  # 1,000 and don't are one word each

Words = list[str]


def key(question: str) -> int:
    """Return a 64-bit hash of the letters and digits of the clean text in lower case, which alone decide the key.

    It finds questions so alike that one would give the other away. They need not mean the same: C, C++ and C# have one
    key. Among ten million questions, the chance of a single false match is 3 in a million.
    """
    question = clean(question)
    text = question.lower()
    if text.isascii():
        text = _NO_LETTER_OR_DIGIT.sub("", text)
    else:  # keeps the marks that some scripts write letters with
        text = "".join(c for c in composed(text) if unicodedata.category(c)[0] in "LMN")
    return _hash(text or question)


def identity(question: str) -> int:
    """Return a 64-bit hash of a question's clean text: equal ones are copies."""
    return _hash(clean(question))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def keys(questions: Iterable[str], of: Callable[[str], int] = key) -> np.ndarray:
    """Return the key of each question, (n,) uint64; `of` may be `identity` instead."""
    return np.array(array("Q", map(of, questions)), np.uint64)


def words_of(question: str) -> Words:
    """Return the words of a question in lower case, without punctuation."""
    return _WORD.findall(composed(question.lower()).replace("’", "'"))


def pieces_beside(question: str, other: Words) -> list[tuple[str, bool]]:
    """Cut a question at its spaces, and return each piece and whether it has a word that is not among the other's."""
    return [(piece, not set(words_of(piece)).issubset(other)) for piece in question.split(" ")]
