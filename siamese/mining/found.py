"""What a pair that was found is, and how pairs are ordered. numpy only."""

import numpy as np

from siamese.errors import UserError

MILLION = 1_000_000

# A pair: its similarity in millionths, and the numbers of its questions, first < second.
PAIR = np.dtype([("millionths", "<i4"), ("first", "<i4"), ("second", "<i4")])
# The same of more questions than one machine holds, whose numbers say where they stand.
LONG_PAIR = np.dtype([("millionths", "<i4"), ("first", "<i8"), ("second", "<i8")])


def lowest_above(threshold: float) -> int:
    """The smallest number of millionths that is above the threshold: similarities have six decimals, in files too."""
    millionths = int(threshold * MILLION) - 1
    while millionths / MILLION <= threshold:
        millionths += 1
    return millionths


def in_order(pairs: np.ndarray) -> np.ndarray:
    """The pairs, most similar first, and equally similar ones by the numbers of their questions."""
    return pairs[np.lexsort((pairs["second"], pairs["first"], -pairs["millionths"]))]


class Wanted:
    """Which pairs are wanted: the similarity that one needs only rises where the N most similar are."""

    def __init__(self, lowest: int, count: int | None = None, room: int | None = None) -> None:
        """
        Args:
            lowest: millionths that every pair needs.
            count: N; None: all pairs are wanted.
            room: pairs of one unit of work that memory has room for.
        """
        self.lowest, self.count, self.room = lowest, count, room
        self._best = np.empty(0, np.int32)  # the similarities of the N most similar pairs so far

    def add(self, pairs: np.ndarray) -> None:
        """Take pairs into account that were found."""
        if self.count is None:
            return
        self._best = np.concatenate((self._best, pairs["millionths"]))
        if len(self._best) > self.count:
            # As similar as the last of the N is not too little: which of those belong, their numbers decide.
            self._best = np.partition(self._best, len(self._best) - self.count)[-self.count :]
            self.lowest = max(self.lowest, int(self._best[0]))

    def check(self, pairs: int) -> None:
        """Raise UserError if a unit has more pairs than memory has room for."""
        if self.room is not None:
            check_room(pairs, self.room)


def check_room(pairs: int, room: int) -> None:
    """Raise UserError if there are more pairs than memory has room for."""
    if pairs > room:
        raise UserError(
            f"more than {room:,} pairs at a time are too many for --memory; give a higher --threshold, or --max-pairs"
        )
