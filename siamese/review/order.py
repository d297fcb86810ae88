"""Choose which pair to ask about next, and say how many pairs an answer stands for.

Priority sampling. Pair i has a value w_i > 0, and u_i is uniform on (0, 1]. Pairs are asked by descending priority
w_i / u_i. Of every prefix that a person answers, with the smallest priority τ in it, the answer about a pair before the
last stands for max(1, τ / w_i) pairs. Sums with these weights are unbiased, whenever the person stops.

The value. At first a pair is worth asking if the model is unsure of it, p (1 − p), and if few others have its
probability: almost all pairs of a low cosine are different, and without the second factor they would take most of the
answers. After each STAGE answers the values are computed anew from what the answers say of the threshold
(siamese.review.curve), and the pairs that are left are drawn by these.

Stages. Stage k gives an estimate of a total over all pairs: the answers of the earlier stages, as they are, plus the
weighted ones of its own. Each is unbiased, whatever the earlier answers led to. Their mean, weighted by the numbers of
answers, is the estimate.

Source: Duffield, Lund, Thorup 2007, "Priority sampling for estimation of arbitrary subset sums".
"""

from collections.abc import Sequence

import numpy as np

from siamese.review.curve import Blocks

STAGE = 10  # answers, after which to call `queue` again
PRECISION = 0.9  # at which the threshold is sought
BINS = 20  # of equal width in the log-odds, over which the first answers are spread
FLOOR = 0.05  # of p (1 − p), so that pairs the model is sure of are asked too; the most is 0.25

Queue = tuple[np.ndarray, np.ndarray, np.ndarray]


def queue(
    probability: np.ndarray, seed: int, asked: Sequence[int] = (), duplicate: Sequence[int | None] = (), stage: int = 0
) -> Queue:
    """Return the order in which to ask about those of n pairs that have no answer yet.

    Args:
        probability: (n,) of being duplicates, 0 to 1, as the model sees them.
        seed: of the random part.
        asked: the m pairs that have an answer.
        duplicate: these answers: 1 duplicate, 0 different, None unsure or skipped.
        stage: 0 at first, and one more at each further call for the same pairs.

    Returns:
        order: (n − m,) the pairs, the first to ask first.
        value: (n,) float64 of each pair, above 0, in the order of `probability`.
        priority: (n,) float64 of each pair, in the order of `probability`.
    """
    odds = log_odds(np.asarray(probability, np.float64))
    known = np.array([(pair, answer) for pair, answer in zip(asked, duplicate) if answer is not None], int)
    if len(known):
        blocks = Blocks(odds)
        value = blocks.beliefs(known[:, 0], known[:, 1]).values(PRECISION)[blocks.of]
    else:
        value = _first_values(odds)
    priority = value / (1 - np.random.default_rng([seed, stage] if stage else seed).random(len(value)))
    order = np.argsort(-priority, kind="stable")
    return order[~np.isin(order, np.asarray(asked, int))], value, priority


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return the log-odds of probabilities, which are clipped to a millionth from 0 and 1."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    found: np.ndarray = np.log(p / (1 - p))
    return found


def _first_values(odds: np.ndarray) -> np.ndarray:
    """Return the value of asking about each of n pairs before there are answers, (n,) float64, of mean 1."""
    if not len(odds):
        return np.zeros(0)
    low, high = odds.min(), odds.max()
    where = np.minimum((odds - low) / max(high - low, 1e-9) * BINS, BINS - 1).astype(int)
    p = 1 / (1 + np.exp(-odds))
    value: np.ndarray = np.maximum(p * (1 - p), FLOOR) / np.bincount(where, minlength=BINS)[where]
    return value / value.mean()


def weights(value: np.ndarray, priority: np.ndarray, stage: np.ndarray | None = None) -> np.ndarray:
    """Return the number of pairs that each of m answers stands for, (m,) float64; 0 for the one asked last.

    Args:
        value, priority: (m,) of the pairs that were asked, those of one `queue` or of its stages.
        stage: (m,) the stage of each, rising with time; None: they are of one.
    """
    value, priority = np.asarray(value, np.float64), np.asarray(priority, np.float64)
    number = np.zeros(len(value), int) if stage is None else np.unique(stage, return_inverse=True)[1]
    found = np.zeros(len(value))
    trust = np.maximum(np.bincount(number) - 1.0, 0)  # one answer alone estimates nothing
    trust = trust / trust.sum() if trust.any() else trust
    for k, share in enumerate(trust):
        if share:
            own = np.flatnonzero(number == k)
            last = own[np.argmin(priority[own])]
            stands = np.maximum(1.0, priority[last] / value[own])
            stands[own == last] = 0.0
            found[own] += share * stands
            found[number < k] += share
    return found
