"""Keep pairs for validation whose questions are in no training pair."""

import heapq
import math

import numpy as np

from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.text.keys import keys


def split_questions(pairs: Pairs, seed: int = 0, share: float = 0.1) -> tuple[Pairs, Pairs, int]:
    """Keep a share of the pairs of each label for validation, so that no question is in both parts.

    A cluster, questions joined by label 1, goes to one part whole. The clusters of random pairs are held, and then the
    clusters around them that share most of their pairs with them, which leaves few pairs across the parts. Those are in
    neither part.

    Args:
        pairs: n labelled pairs. If non-duplicates join all of them closely, or one cluster has most of them, fewer than
            `share` are kept, or none.
        seed: of the draw.
        share: of the pairs of each label, 0 to 1 (exclusive).

    Returns:
        Training pairs, validation pairs, and the number of pairs across the parts.
    """
    training, validation = parts_of_questions(pairs, seed, share)
    return pairs.take(training), pairs.take(validation), int((~training & ~validation).sum())


def parts_of_questions(pairs: Pairs, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs are for training and which for validation, (n,) bool each; as `split_questions`."""
    first, second = keys(pairs.question1), keys(pairs.question2)
    clusters, labels = Clusters(pairs, (first, second)), (pairs.labels == 1).astype(int)
    ends = np.stack((clusters.of_keys(first), clusters.of_keys(second)), axis=1)  # of each pair, two clusters
    order = np.argsort(ends.ravel(), kind="stable")
    starts = np.searchsorted(ends.ravel()[order], np.arange(len(clusters.keys) + 1))
    random, n = np.random.default_rng(seed), len(pairs)
    chance, held, touched = random.random(len(clusters.keys)), np.zeros(len(clusters.keys), bool), np.zeros(n, bool)
    wanted = [math.ceil(share * count) for count in np.bincount(labels, minlength=2)]
    most = min(3 * share, (1 + share) / 2)  # share of the pairs that a held cluster may be in, once each label is kept
    count, kept, links = [0], [0, 0], np.zeros(len(clusters.keys))

    def hold(group: list[int], around: list[tuple[float, float, int]]) -> bool:
        """Hold clusters with their pairs, unless those are too many, and add the clusters next to them to a heap."""
        own = np.unique(np.concatenate([order[starts[c] : starts[c + 1]] for c in group]) // 2)
        new = own[~touched[own]]
        if count[0] + len(new) > n * (most if all(kept) else max(most, 0.5)):
            return False
        count[0] += len(new)
        touched[new], held[group] = True, True
        inside = held[ends[own]].all(axis=1)
        for label in (0, 1):
            kept[label] += int((labels[own[inside]] == label).sum())
        for c in ends[own[~inside]][~held[ends[own[~inside]]]].tolist():
            links[c] += 1
            heapq.heappush(around, (-links[c] / (starts[c + 1] - starts[c]), chance[c], c))
        return True

    for pair in random.permutation(n).tolist():
        around: list[tuple[float, float, int]] = []
        group = sorted({*ends[pair].tolist()})
        if kept[labels[pair]] >= wanted[labels[pair]] or held[group].any() or not hold(group, around):
            continue
        while around and (kept[0] < wanted[0] or kept[1] < wanted[1]):
            if not held[c := heapq.heappop(around)[2]]:
                hold([c], around)
    inside = held[ends].all(axis=1)
    held[:] = False
    held[ends[inside]] = True  # a cluster without a pair in the validation part can train
    return ~held[ends].any(axis=1), inside


def parts_of_groups(pairs: Pairs, groups: np.ndarray, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs are for training and which for validation, (n,) bool each, with whole groups on either side.

    Groups are held in a random order until the share of the pairs of each label is reached. Pairs of other groups that
    have a question of a held one, or a known duplicate of it, are on neither side.

    Args:
        pairs: n labelled pairs.
        groups: (n,) int64, the number of the group of each pair.
        seed: of the order.
        share: of the pairs of each label to hold, 0 to 1 (exclusive).
    """
    first, second = keys(pairs.question1), keys(pairs.question2)
    clusters, labels = Clusters(pairs, (first, second)), (pairs.labels == 1).astype(int)
    ends = np.stack((clusters.of_keys(first), clusters.of_keys(second)), axis=1)  # of each pair, two clusters
    counts = np.zeros((int(groups.max()) + 1, 2), np.int64)  # of each group, the pairs of each label
    np.add.at(counts, (groups, labels), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    reached = (np.cumsum(counts[order], axis=0) >= np.ceil(share * counts.sum(axis=0))).all(axis=1)
    validation = np.isin(groups, order[: int(reached.argmax()) + 1])
    training = ~validation & ~np.isin(ends, ends[validation]).any(axis=1)
    return training, validation
