"""Clusters of duplicates, by connected components or by complete linkage.

Connected: a cluster is whatever a chain of pairs joins, and may lead from a question to one with another meaning.
Complete: every two questions of a cluster are a pair.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from siamese.mining.found import MILLION, PAIR, in_order
from siamese.pairs.clusters import connected

LINKAGES = ("complete", "connected")  # the first is the default; why: reports/archive/mining.md
A_LINK = 250  # bytes a pair for complete linkage; measured 135 to 235 on 1 and 2 million pairs, sparse and dense


class Member(NamedTuple):
    """A question of a cluster, and the pair that put it there."""

    question: int
    neighbour: int  # the most similar question of the cluster
    similarity: float  # to the neighbour


class Links(NamedTuple):
    """What people decided about questions, which clusters honour."""

    together: np.ndarray  # found.PAIR: pairs that are duplicates, with a similarity if one is known, else 0
    apart: np.ndarray  # (m, 2): pairs that are none; no chain of `together` joins their questions
    first: Sequence[int] = ()  # questions that represent their clusters; the later one, if a cluster has two


def among(pairs: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """Return which pairs are of two questions of a row of `ends`, (n,) bool.

    Args:
        pairs: n pairs, found.PAIR or found.JUDGED.
        ends: (m, 2) questions, in either order.
        count: of questions.
    """
    ends = np.sort(ends.astype(np.int64), axis=1)
    return np.isin(pairs["first"].astype(np.int64) * count + pairs["second"], ends @ [count, 1])


def joined(count: int, pairs: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return the cluster of each question, (count,), as its lowest question, by chains of pairs.

    From the most similar pair down, a pair joins the clusters of its questions, unless two of theirs stay apart.

    Args:
        count: of questions.
        pairs: found.PAIR, most similar first.
        apart: (m, 2) questions that no cluster may have both of.
    """
    cluster = np.arange(count)
    members: dict[int, list[int]] = {}
    against: dict[int, set[int]] = {}  # of a cluster, the clusters that it stays apart from
    for a, b in apart.tolist():
        against.setdefault(a, set()).add(b)
        against.setdefault(b, set()).add(a)
    for first, second in zip(pairs["first"].tolist(), pairs["second"].tolist()):
        a, b = sorted((int(cluster[first]), int(cluster[second])))
        if a == b or b in against.get(a, ()):
            continue
        in_b = members.pop(b, [b])
        members.setdefault(a, [a]).extend(in_b)
        cluster[in_b] = a
        for other in against.pop(b, set()):
            against[other].discard(b)
            against[other].add(a)
            against.setdefault(a, set()).add(other)
    return cluster


def linked(count: int, pairs: np.ndarray, linkage: str, links: Links) -> np.ndarray:
    """Return the cluster of each question, (count,), as its lowest question, as people's decisions allow.

    Questions that they joined count as one, which is as similar to another as the nearest of them.
    """
    unit = connected(count, links.together["first"], links.together["second"])
    ends = np.sort(np.stack((unit[pairs["first"]], unit[pairs["second"]]), axis=1), axis=1)
    apart = np.sort(unit[links.apart], axis=1).reshape(-1, 2)
    code, barred = ends @ [count, 1], apart @ [count, 1]
    once = np.zeros(len(pairs), bool)
    once[np.unique(code, return_index=True)[1]] = True  # the most similar pair of two units
    of_units = pairs[keep := once & (ends[:, 0] != ends[:, 1]) & ~np.isin(code, barred)].copy()
    of_units["first"], of_units["second"] = ends[keep, 0], ends[keep, 1]
    # Complete linkage joins no two clusters of which a pair is missing, so taking the pairs away is enough.
    root = complete(count, of_units) if linkage == "complete" else joined(count, of_units, apart)
    return root[unit]


def complete(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return the complete-linkage cluster of each of `count` questions, (count,), as its lowest question.

    Clusters merge as in Sørensen (1948): always the two whose least similar members are the most similar. Going down
    the pairs, those are the first two between which all pairs have been seen. So it is enough to count the pairs
    between clusters, and the similarity of two questions that are no pair is never needed.

    Args:
        count: of questions.
        pairs: found.PAIR, most similar first.
    """
    cluster = np.arange(count)  # of each question, by the number of one of its members
    members: dict[int, list[int]] = {}  # of the clusters of more than one
    between: dict[int, dict[int, int]] = {}  # pairs seen so far between a cluster and its neighbours
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
    lowest = np.full(count, count)
    np.minimum.at(lowest, cluster, np.arange(count))
    return lowest[cluster]


def ends_of(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct questions of pairs, ascending, and what the pairs say of each.

    Args:
        pairs: found.PAIR or found.LONG_PAIR, most similar first.

    Returns:
        Four (m,) arrays: the questions; their nearest neighbours; the place of the pair of these two, doubled, plus 1
        for a second question; the sum of the question's similarities in millionths.
    """
    both = np.stack((pairs["first"], pairs["second"]), axis=1).ravel()
    number, place, which = np.unique(both, return_index=True, return_inverse=True)
    total = np.bincount(which, np.repeat(pairs["millionths"], 2), len(number)).astype(np.int64)
    return number, both[place ^ 1], place, total


def cluster_order(
    root: np.ndarray, number: np.ndarray, nearest: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order questions by cluster: the largest first, equally large ones by their lowest question.

    In a cluster the representative comes first, then the others, nearest neighbours first. The representative is the
    medoid: the similarities to the other members add up to the most, if those of questions that are no pair count as 0.

    Args:
        root: (m,) the lowest question of each question's cluster.
        number: (m,) the questions.
        nearest: (m,) the similarity of each to its nearest neighbour in the cluster.
        total: (m,) the sum of its similarities in the cluster.

    Returns:
        The order, (m,); which questions are representatives, (m,) bool; the size of each question's cluster, (m,).
    """
    _, cluster, sizes = np.unique(root, return_inverse=True, return_counts=True)
    order = np.lexsort((number, -total, root))
    first = np.zeros(len(root), bool)
    first[order] = np.append(True, root[order][1:] != root[order][:-1])[: len(root)]
    return np.lexsort((number, -nearest, ~first, root, -sizes[cluster])), first, sizes[cluster]


def find_clusters(
    count: int, pairs: np.ndarray, linkage: str, copies: Iterable[int] = (), links: Links | None = None
) -> list[list[Member]]:
    """Return the clusters of two or more questions, in the order of `cluster_order`.

    Args:
        count: of questions.
        pairs: found.PAIR, most similar first.
        linkage: "connected" or "complete".
        copies: questions that have copies, reported even if alone in their cluster.
        links: decisions that the clusters honour.
    """
    if links is not None:
        root = linked(count, pairs, linkage, links)
        pairs = pairs[list(PAIR.names or ())].astype(PAIR)
        mined = np.stack((pairs["first"], pairs["second"]), axis=1)
        pairs = in_order(np.concatenate((pairs, links.together[~among(links.together, mined, count)])))
    else:
        root = connected(count, pairs["first"], pairs["second"]) if linkage == "connected" else complete(count, pairs)
    within = pairs[root[pairs["first"]] == root[pairs["second"]]]
    number, neighbour, place, total = ends_of(within)
    alone = np.setdiff1d(np.fromiter(copies, np.int64), number)
    number, neighbour = np.append(number, alone), np.append(neighbour, alone)
    nearest = np.append(within["millionths"][place // 2], np.full(len(alone), MILLION))
    order, first, _ = cluster_order(root[number], number, nearest, np.append(total, np.zeros(len(alone), np.int64)))
    columns = (column[order].tolist() for column in (number, neighbour, nearest / MILLION))
    members = [Member(*row) for row in zip(*columns)]
    found = [members[start:stop] for start, stop in pairwise([*np.flatnonzero(first[order]), len(members)])]
    if links is not None and links.first:
        rank = {question: place for place, question in enumerate(links.first)}
        for cluster in found:
            chosen = max(cluster, key=lambda member: rank.get(member.question, -1))
            if chosen.question in rank:
                cluster.remove(chosen)
                cluster.insert(0, chosen)
    return found
