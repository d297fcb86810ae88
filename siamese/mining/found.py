"""What a pair that was found is, and how pairs are ordered. numpy only."""

import numpy as np

MILLION = 1_000_000

# A pair: its similarity in millionths, and the numbers of its questions, first < second.
PAIR = np.dtype([("millionths", "<i4"), ("first", "<i4"), ("second", "<i4")])


def lowest_above(threshold: float) -> int:
    """The smallest number of millionths that is above the threshold: similarities have six decimals, in files too."""
    millionths = int(threshold * MILLION) - 1
    while millionths / MILLION <= threshold:
        millionths += 1
    return millionths


def in_order(pairs: np.ndarray) -> np.ndarray:
    """The pairs, most similar first, and equally similar ones by the numbers of their questions."""
    return pairs[np.lexsort((pairs["second"], pairs["first"], -pairs["millionths"]))]
