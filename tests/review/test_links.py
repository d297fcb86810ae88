"""Clusters honour decisions: what belongs together, what stays apart, who represents; contradictions are named."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import UserError
from siamese.mining.clusters import Links, find_clusters, linked
from siamese.mining.found import PAIR, in_order
from siamese.mining.questions import Questions
from siamese.review.decisions import DIFFERENT, DUPLICATE, REPRESENTATIVE, UNDO, Decision
from siamese.review.links import links_of

QUESTIONS = Questions.of([f"question {name}" for name in "abcdef"])


def decided(*rows: str) -> list[Decision]:
    """Return decisions written as "a=b", "a#b" and "a!" (a represents its cluster)."""
    answers = {"=": DUPLICATE, "#": DIFFERENT, "!": REPRESENTATIVE, "?": UNDO}
    return [Decision(f"question {row[0]}", row[2:] and f"question {row[2:]}", answers[row[1]]) for row in rows]


def pairs_of(*rows: tuple[float, int, int]) -> np.ndarray:
    return in_order(np.array([(round(s * 1e6), a, b) for s, a, b in rows], PAIR))


def clusters(pairs: np.ndarray, linkage: str, *rows: str) -> list[list[int]]:
    links = links_of(decided(*rows), QUESTIONS)
    return [[member.question for member in cluster] for cluster in find_clusters(6, pairs, linkage, links=links)]


CHAIN = pairs_of((0.9, 0, 1), (0.8, 1, 2), (0.7, 2, 3))


def test_decisions_change_clusters() -> None:
    assert clusters(CHAIN, "connected") == [[1, 0, 2, 3]]
    assert clusters(CHAIN, "connected", "b#c") == [[0, 1], [2, 3]]
    assert clusters(CHAIN, "connected", "a#d") == [[1, 0, 2]]  # the weakest link of the chain gives way
    assert clusters(CHAIN, "complete", "a=c") == [[1, 0, 2]]
    assert clusters(CHAIN, "complete", "a=f") == [[0, 1, 5], [2, 3]]
    assert clusters(CHAIN, "complete", "a!", "b!", "d!") == [[1, 0], [3, 2]]
    assert clusters(CHAIN, "complete", "a=f", "f?a") == [[0, 1], [2, 3]]


def test_chains_lead_through_questions_that_are_not_here() -> None:
    assert clusters(pairs_of(), "complete", "a=x", "x=y", "y=b") == [[0, 1]]
    assert clusters(CHAIN, "connected", "a=x", "x#c") == [[0, 1], [2, 3]]


def test_contradictions_are_named() -> None:
    message = "contradict each other: 'question c' = 'question b' = 'question a', yet its ends are different"
    with pytest.raises(UserError, match=message):
        links_of(decided("a=b", "c=b", "d=c", "c#a"), QUESTIONS)


@given(st.data(), st.sampled_from(["complete", "connected"]))
def test_every_cluster_honours_all_decisions(data: st.DataObject, linkage: str) -> None:
    ends = list(combinations(range(6), 2))
    scores = data.draw(st.lists(st.integers(1, 999), min_size=len(ends), max_size=len(ends)))
    pairs = pairs_of(*((s / 1000, *end) for s, end in zip(scores, ends) if s > 400))
    together = np.array([(0, *end) for end in data.draw(st.lists(st.sampled_from(ends), max_size=3))], PAIR)
    unit = linked(6, pairs_of(), linkage, Links(together, np.empty((0, 2), np.int64)))
    apart = [end for end in data.draw(st.lists(st.sampled_from(ends), max_size=4)) if unit[end[0]] != unit[end[1]]]
    root = linked(6, pairs, linkage, Links(together, np.array(apart, np.int64).reshape(-1, 2)))
    assert all(root[a] == root[b] for _, a, b in together.tolist())
    assert all(root[a] != root[b] for a, b in apart)
    assert all(root[root] == root) and all(root <= np.arange(6))
