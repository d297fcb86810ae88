"""Choose which pair to ask about next, and say how many pairs an answer stands for.

Priority sampling. Pair i has a value w_i > 0, and u_i is uniform on (0, 1]. Pairs are asked by descending priority
w_i / u_i. Of every prefix that a person answers, with the smallest priority τ in it, the answer about a pair before the
last stands for max(1, τ / w_i) pairs. Sums with these weights are unbiased, whenever the person stops.

The value. A pair is worth asking if the model is unsure of it, p (1 − p), and if few others have its probability:
almost all pairs of a low cosine are different, and without the second factor they would take most of the answers.

Source: Duffield, Lund, Thorup 2007, "Priority sampling for estimation of arbitrary subset sums".
"""

import numpy as np

BINS = 20  # of equal width in the log-odds, over which answers are spread
FLOOR = 0.05  # of p (1 − p), so that pairs the model is sure of are asked too; the most is 0.25


def queue(probability: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the order in which to ask about n pairs.

    Args:
        probability: (n,) of being duplicates, 0 to 1, as the model sees them.
        seed: of the random part.

    Returns:
        order: (n,) the pairs, the first to ask first.
        value: (n,) float64 of each pair, above 0, in the order of `probability`.
        priority: (n,) float64 of each pair, in the order of `probability`.
    """
    value = values(np.asarray(probability, np.float64))
    priority = value / (1 - np.random.default_rng(seed).random(len(value)))
    return np.argsort(-priority, kind="stable"), value, priority


def values(probability: np.ndarray) -> np.ndarray:
    """Return the value of asking about each of n pairs, (n,) float64, of mean 1."""
    if not len(probability):
        return np.zeros(0)
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    log_odds = np.log(p / (1 - p))
    low, high = log_odds.min(), log_odds.max()
    where = np.minimum((log_odds - low) / max(high - low, 1e-9) * BINS, BINS - 1).astype(int)
    value: np.ndarray = np.maximum(p * (1 - p), FLOOR) / np.bincount(where, minlength=BINS)[where]
    return value / value.mean()


def weights(value: np.ndarray, priority: np.ndarray) -> np.ndarray:
    """Return the number of pairs that each of n answers stands for, (n,) float64; 0 for the one asked last.

    Args:
        value, priority: (n,) of the pairs that were asked, those of one `queue`.
    """
    value, priority = np.asarray(value, np.float64), np.asarray(priority, np.float64)
    if not len(value):
        return np.zeros(0)
    last = np.argmin(priority)
    found = np.maximum(1.0, priority[last] / value)
    found[last] = 0.0
    return found
