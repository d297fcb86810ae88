"""Cut answers into folds for cross-validation, so that no question of a fold is known from another."""

from collections.abc import Iterator

import numpy as np

from siamese.pairs.clusters import Clusters, connected
from siamese.pairs.pairs import Pairs
from siamese.text.keys import identity, keys

FOLDS = 5


def folds(pairs: Pairs, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs to fit on and the pairs to score of each fold, as two arrays of row numbers.

    Questions that answers join as duplicates form a cluster, and a cluster lies in one fold. Pairs across folds are
    left out. To lose few of them, clusters that any answers connect stand side by side.

    Args:
        pairs: m answered pairs.
        seed: of the order in which groups of connected clusters fill the folds.
    """
    clusters = Clusters(pairs, node=identity)
    ends = np.stack([clusters.of_keys(keys(side, identity)) for side in (pairs.question1, pairs.question2)])
    number = np.unique(ends, return_inverse=True)[1].reshape(2, -1)
    count = int(number.max()) + 1 if number.size else 0
    group = connected(count, *number)
    place = np.random.default_rng(seed).permutation(count)[group]  # of the groups, in random order
    order = np.lexsort((np.arange(count), place))
    load = np.bincount(number.ravel(), minlength=count)[order]
    fold = np.empty(count, int)
    fold[order] = np.minimum((np.cumsum(load) - load / 2) * FOLDS // max(load.sum(), 1), FOLDS - 1)
    first, second = fold[number]
    for k in range(FOLDS):
        fit, held = np.flatnonzero((first != k) & (second != k)), np.flatnonzero((first == k) & (second == k))
        if len(fit) and len(held):
            yield fit, held
