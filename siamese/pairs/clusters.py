"""Clusters of known duplicates, and which pairs are the same."""

from collections.abc import Iterable

import numpy as np

from siamese.pairs.pairs import Pairs
from siamese.text.keys import keys


def pair_keys(pairs: Pairs) -> np.ndarray:
    """(n, 2) uint64: the keys of each pair's questions, the smaller one first."""
    return np.sort(np.stack((keys(pairs.question1), keys(pairs.question2)), axis=1), axis=1)


def shared_pairs(pairs: Pairs, others: Pairs) -> int:
    """How many of `pairs` are among `others` too, in either order."""
    known = set(map(tuple, pair_keys(others).tolist()))
    return sum(pair in known for pair in map(tuple, pair_keys(pairs).tolist()))


class Clusters:
    """The connected components of the duplicates among some pairs."""

    def __init__(self, pairs: Pairs, known: tuple[np.ndarray, np.ndarray] | None = None) -> None:
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

    def linked(self, pairs: Pairs) -> np.ndarray:
        """(n,) bool: both questions lie in one cluster, so that the training labels already say duplicate."""
        first = self.of(pairs.question1)
        return (first >= 0) & (first == self.of(pairs.question2))

    def unseen(self, pairs: Pairs) -> np.ndarray:
        """(n,) bool: neither question occurs in the training pairs."""
        return (self.of(pairs.question1) < 0) & (self.of(pairs.question2) < 0)
