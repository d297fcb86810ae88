"""Pairs that were found: their record type, order, number and recall. Needs numpy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.errors import UserError

MILLION = 1_000_000

# A pair: its similarity in millionths, and its questions' numbers, first < second.
PAIR = np.dtype([("millionths", "<i4"), ("first", "<i4"), ("second", "<i4")])
# The same with a score in millionths, by which pairs are ordered: the similarity, corrected by a verdict.
JUDGED = np.dtype([*PAIR.descr, ("score", "<i4")])
# The same for sharded mining, with or without a verdict, where a number has the shard and the place in it.
LONG_PAIR = np.dtype([("millionths", "<i4"), ("first", "<i8"), ("second", "<i8"), ("score", "<i4")])


@dataclass(frozen=True)
class Recall:
    """The share of the exact pairs that is found, with a 95 % interval, on questions that had no part in choosing p."""

    value: float
    low: float
    high: float
    pairs: int  # that were measured

    def __str__(self) -> str:
        return f"{self.value:.4f} (95 % interval {self.low:.4f} to {self.high:.4f}, on {self.pairs:,} exact pairs)"


def lowest_above(threshold: float) -> int:
    """Return the smallest number of millionths above the threshold; similarities have six decimals, in files too."""
    millionths = int(threshold * MILLION) - 1
    while millionths / MILLION <= threshold:
        millionths += 1
    return millionths


def score_of(pairs: np.ndarray) -> np.ndarray:
    """Return what pairs are ordered by, in millionths: the score of JUDGED pairs, the similarity of others."""
    return pairs["score" if "score" in (pairs.dtype.names or ()) else "millionths"]


def order_of(pairs: np.ndarray) -> np.ndarray:
    """Return the order of pairs: the highest score first, equal ones by their questions' numbers; stable."""
    return np.lexsort((pairs["second"], pairs["first"], -score_of(pairs)))


def in_order(pairs: np.ndarray) -> np.ndarray:
    """Sort pairs as `order_of` does."""
    return pairs[order_of(pairs)]


# From the numbers of questions and the similarities of n pairs to their scores, none above its similarity.
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Wanted:
    """The lowest similarity that a pair needs. It rises as pairs are found, if only the N best are wanted."""

    lowest: int  # millionths that every pair needs
    count: int | None = None  # N; None if all pairs are wanted
    room: int | None = None  # pairs of one unit of work that fit in memory
    score: Score | None = None  # of JUDGED pairs; None: the similarity orders them

    def __post_init__(self) -> None:
        self._best = np.empty(0, np.int32)  # the scores of the N best pairs so far

    def pairs(self, millionths: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return pairs of these similarities and questions, (n,) each, as PAIR or JUDGED."""
        if self.score is None:
            return np.rec.fromarrays([millionths, first, second], dtype=PAIR)
        score = np.rint(self.score(first, second, millionths / MILLION) * MILLION).astype(np.int64)
        return np.rec.fromarrays([millionths, first, second, score], dtype=JUDGED)

    def add(self, pairs: np.ndarray) -> None:
        """Take found pairs into account."""
        if self.count is None:
            return
        self._best = np.concatenate((self._best, score_of(pairs)))
        if len(self._best) > self.count:
            # Pairs as good as the last of the N stay in: their numbers decide which of them belong. A score is at most
            # the similarity, so the others need not be looked at.
            self._best = np.partition(self._best, len(self._best) - self.count)[-self.count :]
            self.lowest = max(self.lowest, int(self._best[0]))


def pairs_of_copies(first: Sequence[int], count: int, kind: "np.dtype[Any]") -> np.ndarray:
    """Return the pairs of questions with their copies, in order, of similarity and score 1.

    Args:
        first: of each copy, the number of its question.
        count: of distinct questions; the copies are numbered from there on.
        kind: PAIR or JUDGED.
    """
    pairs = np.full(len(first), MILLION, kind)
    pairs["first"], pairs["second"] = first, count + np.arange(len(first))
    return in_order(pairs)


def check_room(pairs: int, room: int | None) -> None:
    """Raise UserError if there are more pairs than fit in memory."""
    if room is not None and pairs > room:
        raise UserError(
            f"more than {room:,} pairs at a time are too many for --memory; give a higher --threshold, or --max-pairs"
        )
