"""Pairs that were found: their record type, order, number and recall. Needs numpy only."""

from dataclasses import dataclass

import numpy as np

from siamese.errors import UserError

MILLION = 1_000_000

# A pair: its similarity in millionths, and its questions' numbers, first < second.
PAIR = np.dtype([("millionths", "<i4"), ("first", "<i4"), ("second", "<i4")])
# The same for sharded mining, where a number has the shard and the place in it.
LONG_PAIR = np.dtype([("millionths", "<i4"), ("first", "<i8"), ("second", "<i8")])


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


def order_of(pairs: np.ndarray) -> np.ndarray:
    """Return the order of pairs: most similar first, equally similar ones by their questions' numbers; stable."""
    return np.lexsort((pairs["second"], pairs["first"], -pairs["millionths"]))


def in_order(pairs: np.ndarray) -> np.ndarray:
    """Sort pairs as `order_of` does."""
    return pairs[order_of(pairs)]


@dataclass
class Wanted:
    """The lowest similarity that a pair needs. It rises as pairs are found, if only the N most similar are wanted."""

    lowest: int  # millionths that every pair needs
    count: int | None = None  # N; None if all pairs are wanted
    room: int | None = None  # pairs of one unit of work that fit in memory

    def __post_init__(self) -> None:
        self._best = np.empty(0, np.int32)  # the similarities of the N most similar pairs so far

    def add(self, pairs: np.ndarray) -> None:
        """Take found pairs into account."""
        if self.count is None:
            return
        self._best = np.concatenate((self._best, pairs["millionths"]))
        if len(self._best) > self.count:
            # Pairs as similar as the last of the N stay in: their numbers decide which of them belong.
            self._best = np.partition(self._best, len(self._best) - self.count)[-self.count :]
            self.lowest = max(self.lowest, int(self._best[0]))


def check_room(pairs: int, room: int | None) -> None:
    """Raise UserError if there are more pairs than fit in memory."""
    if room is not None and pairs > room:
        raise UserError(
            f"more than {room:,} pairs at a time are too many for --memory; give a higher --threshold, or --max-pairs"
        )
