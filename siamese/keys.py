"""Which questions are the same, and which mean the same: keys of questions, and the clusters of known duplicates."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from siamese.text import composed

if TYPE_CHECKING:
    from siamese.pairs import Pairs

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


def pair_keys(pairs: "Pairs") -> np.ndarray:
    """(n, 2) uint64: the keys of each pair's questions, the smaller one first."""
    return np.sort(np.stack((keys(pairs.question1), keys(pairs.question2)), axis=1), axis=1)


def shared_pairs(pairs: "Pairs", others: "Pairs") -> int:
    """How many of `pairs` are among `others` too, in either order."""
    known = set(map(tuple, pair_keys(others).tolist()))
    return sum(pair in known for pair in map(tuple, pair_keys(pairs).tolist()))


class Clusters:
    """The connected components of the duplicates among some pairs."""

    def __init__(self, pairs: "Pairs", known: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Of pairs; `known` are the keys of their first and second questions, for a caller that has them."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first, second = known or (keys(pairs.question1), keys(pairs.question2))
        self.keys = np.unique(np.concatenate((first, second)))  # of all the pairs' questions
        linked = pairs.labels == 1
        a, b = np.searchsorted(self.keys, first[linked]), np.searchsorted(self.keys, second[linked])
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(len(self.keys), len(self.keys)))
        self.number: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)

    def of(self, questions: Iterable[str]) -> np.ndarray:
        """(n,) int64: the cluster of each question, -1 where the pairs do not have it."""
        return self.of_keys(keys(questions))

    def of_keys(self, wanted: np.ndarray) -> np.ndarray:
        """`of` for the questions with these keys, (n,)."""
        if not len(self.keys):
            return np.full(len(wanted), -1)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.number[place], -1)

    def linked(self, pairs: "Pairs") -> np.ndarray:
        """(n,) bool: both questions lie in one cluster, so that the training labels already say duplicate."""
        first = self.of(pairs.question1)
        return (first >= 0) & (first == self.of(pairs.question2))

    def unseen(self, pairs: "Pairs") -> np.ndarray:
        """(n,) bool: neither question occurs in the training pairs."""
        return (self.of(pairs.question1) < 0) & (self.of(pairs.question2) < 0)
