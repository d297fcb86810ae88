"""Clusters of duplicates, by connected components or by complete linkage.

Connected: what a chain of pairs joins is one cluster. A chain may lead from a question to one that means something
else. Complete: in a cluster every two questions are a pair.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from siamese.mining.found import MILLION
from siamese.pairs.clusters import connected

LINKAGES = ("complete", "connected")  # the first is the default; why: reports/archive/mining.md
A_LINK = 250  # bytes a pair for complete linkage; of 1 and 2 million pairs, sparse and dense, it took 135 to 235


class Member(NamedTuple):
    """A question in a cluster, and what put it there."""

    question: int
    neighbour: int  # the most similar question of the cluster
    similarity: float  # to that


@dataclass(frozen=True)
class Cluster:
    """Questions that ask the same: the representative first, then the others, nearest neighbours first.

    The representative is the member whose similarities to the other members add
    up to the most (the medoid), where pairs that are not among the given ones
    count as 0.
    """

    members: list[Member]

    @property
    def representative(self) -> int:
        return self.members[0].question


def complete(count: int, pairs: np.ndarray) -> np.ndarray:
    """The complete-linkage cluster of each of `count` questions, (count,).

    The clusters grow as Sørensen (1948) has it, by joining the two whose least
    similar members are the most similar. Going down the pairs, those are the two
    between which all pairs have just been met: so counting the pairs between
    clusters is enough, and no similarity of what is no pair is needed.

    Args:
        count: of questions.
        pairs: found.PAIR, most similar first.
    """
    cluster = np.arange(count)  # of each question, by the number of one of its members
    members: dict[int, list[int]] = {}  # of the clusters of more than one
    between: dict[int, dict[int, int]] = {}  # pairs met so far between a cluster and its neighbours
    for first, second in zip(pairs["first"].tolist(), pairs["second"].tolist()):
        a, b = int(cluster[first]), int(cluster[second])
        met = between.setdefault(a, {}).get(b, 0) + 1
        in_a, in_b = members.get(a, [a]), members.get(b, [b])
        if met < len(in_a) * len(in_b):
            between[a][b] = met
            between.setdefault(b, {})[a] = met
            continue
        if len(in_a) < len(in_b):
            a, b, in_a, in_b = b, a, in_b, in_a
        members[a] = in_a + in_b
        members.pop(b, None)
        cluster[in_b] = a
        near = between.setdefault(a, {})
        near.pop(b, None)
        for other, number in between.pop(b, {}).items():
            if other != a:
                del between[other][b]
                near[other] = between[other][a] = near.get(other, 0) + number
    return cluster


def find_clusters(count: int, pairs: np.ndarray, linkage: str, copies: Iterable[int] = ()) -> list[Cluster]:
    """The clusters of two or more questions, the largest first, equally large ones in the order of the questions.

    Args:
        count: of questions.
        pairs: found.PAIR, most similar first.
        linkage: "connected" or "complete".
        copies: questions that have exact copies, which make a cluster of one question worth telling.
    """
    label = connected(count, pairs["first"], pairs["second"]) if linkage == "connected" else complete(count, pairs)
    within = pairs[label[pairs["first"]] == label[pairs["second"]]]
    total = np.zeros(count, np.int64)
    neighbour, nearest = np.arange(count), np.full(count, MILLION)
    seen = np.zeros(count, bool)
    for end in ("first", "second"):
        total += np.bincount(within[end], within["millionths"], count).astype(np.int64)
    # Each question's first pair: of all pairs, both ways round, most similar first.
    both = np.stack((within["first"], within["second"]), axis=1)
    questions, place = np.unique(both.ravel(), return_index=True)
    neighbour[questions] = both[:, ::-1].ravel()[place]
    nearest[questions] = within["millionths"][place // 2]
    seen[questions] = True
    seen[list(copies)] = True

    by_label: dict[int, list[int]] = {}
    for question in np.flatnonzero(seen).tolist():
        by_label.setdefault(int(label[question]), []).append(question)
    found = []
    for members in by_label.values():
        medoid = max(members, key=lambda question: total[question])
        members.sort(key=lambda question: (question != medoid, -nearest[question], question))
        found.append(Cluster([Member(q, int(neighbour[q]), int(nearest[q]) / MILLION) for q in members]))
    return sorted(found, key=lambda cluster: (-len(cluster.members), min(m.question for m in cluster.members)))
