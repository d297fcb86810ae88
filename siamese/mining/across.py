"""Joins of new questions with all questions, which spare those of the old ones among each other."""

from typing import NamedTuple

import numpy as np

from siamese.mining.clusters import Member
from siamese.mining.found import Score
from siamese.mining.questions import Questions


class Across(NamedTuple):
    """Which questions are new. The vectors of a join are in this order."""

    order: np.ndarray  # (n,) the numbers of the questions, the new ones first
    new: int  # how many of them are new

    @classmethod
    def of(cls, new: np.ndarray) -> "Across":
        """Put the new of n questions first; `new` is (n,) bool."""
        return cls(np.argsort(~new, kind="stable"), int(new.sum()))

    def score(self, score: Score) -> Score:
        """Return the same score for places in the order instead of numbers of questions."""

        def of_places(first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> np.ndarray:
            ends = np.sort(self.order[np.stack((first, second))], axis=0)  # texts in the order of their numbers
            return score(ends[0], ends[1], similarity)

        return of_places

    def numbered(self, pairs: np.ndarray) -> np.ndarray:
        """Return pairs of places as pairs of numbers, found.PAIR or found.JUDGED, first < second."""
        found = pairs.copy()
        ends = np.sort(self.order[np.stack((pairs["first"], pairs["second"]))], axis=0)
        found["first"], found["second"] = ends
        return found


def pairs_with_new(pairs: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the pairs that have a new question, which comes first.

    Args:
        pairs: found.PAIR or found.JUDGED, numbered as in `Questions.written`.
        new: (n + copies,) bool.
    """
    first, second = new[pairs["first"]], new[pairs["second"]]
    found, turned = pairs[first | second].copy(), (second & ~first)[first | second]
    ends = found["first"].copy()
    found["first"] = np.where(turned, found["second"], ends)
    found["second"] = np.where(turned, ends, found["second"])
    return found


def clusters_with_new(clusters: list[list[Member]], new: np.ndarray, questions: Questions) -> list[list[Member]]:
    """Return the clusters that have a new question or a new copy; `new` is as in `pairs_with_new`."""
    own = new[: len(questions)].copy()
    for copy, is_new in zip(questions.copies, new[len(questions) :].tolist()):
        own[copy.question] |= is_new
    return [cluster for cluster in clusters if any(own[member.question] for member in cluster)]
