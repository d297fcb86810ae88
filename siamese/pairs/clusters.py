"""Clusters of known duplicates, and keys of pairs."""

from collections.abc import Callable, Iterable

import numpy as np

from siamese.pairs.pairs import Pairs
from siamese.text.keys import key, keys


def pair_keys(pairs: Pairs) -> np.ndarray:
    """Return the keys of each pair's questions, the smaller one first; (n, 2) uint64."""
    return np.sort(np.stack((keys(pairs.question1), keys(pairs.question2)), axis=1), axis=1)


def shared_pairs(pairs: Pairs, others: Pairs) -> int:
    """Count the pairs that are also among `others`, in either order."""
    known = set(map(tuple, pair_keys(others).tolist()))
    return sum(pair in known for pair in map(tuple, pair_keys(pairs).tolist()))


def connected(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the connected component of each of `count` nodes, (count,), as the lowest node of the component.

    Each component takes the lowest number among itself and its neighbours, until none changes (Shiloach and Vishkin,
    An O(log n) parallel connectivity algorithm, 1982).

    Args:
        count: number of nodes, which are 0, 1, ...
        first, second: (m,) the two ends of each edge.
    """
    label = np.arange(count)
    while True:
        a, b = label[first], label[second]
        apart = a != b
        if not apart.any():
            return label
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(label, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(label, above := label[label]):
            label = above


class Clusters:
    """The connected components of the duplicates among some pairs."""

    def __init__(
        self, pairs: Pairs, known: tuple[np.ndarray, np.ndarray] | None = None, node: Callable[[str], int] = key
    ) -> None:
        """Find the components.

        Args:
            pairs: n pairs.
            known: the keys of the first and of the second questions, (n,) each, if the caller has them.
            node: `key`, so that questions that give each other away are one, or `identity`, as where labels follow.
        """
        self.node = node
        first, second = known or (keys(pairs.question1, node), keys(pairs.question2, node))
        self.keys, ends = np.unique(np.concatenate((first, second)), return_inverse=True)
        linked = np.flatnonzero(pairs.labels == 1)
        self.number = connected(len(self.keys), ends[linked], ends[linked + len(first)])

    def of(self, questions: Iterable[str]) -> np.ndarray:
        """Return the cluster of each question, (n,) int64; -1 if it is not in the pairs."""
        return self.of_keys(keys(questions, self.node))

    def of_keys(self, wanted: np.ndarray) -> np.ndarray:
        """Return the cluster of each question, given its key; see `of`."""
        if not len(self.keys):
            return np.full(len(wanted), -1)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.number[place], -1)

    def linked(self, questions1: Iterable[str], questions2: Iterable[str]) -> np.ndarray:
        """Return whether both questions lie in one cluster, so that the labels imply duplicates; (n,) bool."""
        first = self.of(questions1)
        return (first >= 0) & (first == self.of(questions2))

    def unseen(self, pairs: Pairs) -> np.ndarray:
        """Return whether neither question occurs in the pairs of the clusters, (n,) bool."""
        return (self.of(pairs.question1) < 0) & (self.of(pairs.question2) < 0)
