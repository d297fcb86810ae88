"""From answers to a threshold for a wanted precision, and to probabilities. Imports numpy only."""

from dataclasses import dataclass

import numpy as np

from siamese.model.calibration import HIGHEST, Calibration
from siamese.review.curve import Beliefs, Blocks

CERTAIN = 0.95  # probability that a chosen threshold has the precision
SUPPORT = 5  # answers above a threshold, at least
RIDGE = 1e-6  # of the calibration's squared slope, so that it is finite


@dataclass(frozen=True)
class Choice:
    """A threshold, and what the answers say of the pairs above it."""

    threshold: float
    pairs: float  # above it, of the pool
    answers: int  # about these
    certainty: float  # probability that they have the wanted precision
    precision: float
    low: float  # of the 95 % interval of the precision
    high: float
    share: float  # of the pool's duplicates that are above it


@dataclass(frozen=True)
class Answered:
    """A pool of pairs, some of which have an answer."""

    asked: np.ndarray  # (m,) the pairs with an answer
    duplicate: np.ndarray  # (m,) these answers, 0 or 1
    weight: np.ndarray | None = None  # (n,) number of pairs that each of the pool stands for; None: 1

    def size(self, pairs: int) -> int:
        """Return the number of pairs that the pool's `pairs` stand for."""
        return pairs if self.weight is None else round(float(self.weight.sum()))

    def beliefs(self, score: np.ndarray) -> Beliefs:
        """Return what the answers say of the pool under these scores, (n,)."""
        return Blocks(score, self.weight).beliefs(self.asked, self.duplicate)


def choose(score: np.ndarray, answered: Answered, precision: float) -> tuple[Choice | None, Choice | None]:
    """Choose the lowest threshold that has a precision with probability CERTAIN.

    Thresholds that the answers do not support are left out: those below all answers, and those with fewer than SUPPORT
    answers above.

    Args:
        score: (n,) of the pool.
        answered: its answers.
        precision: wanted share of duplicates above the threshold, 0 to 1.

    Returns:
        The choice, or None; and without a choice the most certain threshold, or None if none has support.
    """
    beliefs = answered.beliefs(score)
    blocks, certainty = beliefs.blocks, beliefs.certainty(precision)
    above = np.cumsum(beliefs.answered)
    supported = (above >= SUPPORT) & (blocks.lowest >= score[answered.asked].min()) & (blocks.lowest > 0)
    if not supported.any():
        return None, None
    enough = np.flatnonzero(supported & (certainty >= CERTAIN))
    if len(enough):
        return _choice(beliefs, score, int(enough[-1]), certainty), None
    return None, _choice(beliefs, score, int(np.argmax(np.where(supported, certainty, -1))), certainty)


def of_threshold(score: np.ndarray, answered: Answered, precision: float, threshold: float) -> Choice | None:
    """Return what the answers say of the pairs above a given threshold, to a block; None if there are none."""
    beliefs = answered.beliefs(score)
    above = np.flatnonzero(beliefs.blocks.lowest > threshold)
    return _choice(beliefs, score, int(above[-1]), beliefs.certainty(precision)) if len(above) else None


def _choice(beliefs: Beliefs, score: np.ndarray, block: int, certainty: np.ndarray) -> Choice:
    lowest = beliefs.blocks.lowest[block]
    below = score[score < lowest]
    threshold = max(0.0, float((lowest + below.max()) / 2 if len(below) else np.nextafter(lowest, -1)))
    if not threshold < lowest:  # the midpoint of neighbouring floats rounds to one of them
        threshold = float(below.max())
    rest = (beliefs.blocks.sizes - beliefs.answered) * beliefs.shares() + beliefs.known
    found = beliefs.precision(block)
    return Choice(
        min(threshold, HIGHEST), float(beliefs.blocks.above[block]), int(beliefs.answered[: block + 1].sum()),
        float(certainty[block]), *found, float(rest[: block + 1].sum() / max(rest.sum(), 1e-9)),
    )  # fmt: skip


def calibrate(score: np.ndarray, answered: Answered) -> Calibration | None:
    """Fit probabilities to what is believed of the pool, whose share of duplicates is the prior.

    The fit is a logistic regression of the expected shares of duplicates, each block with the number of its pairs. The
    shares are never quite 0 or 1, so the slope is finite even if the answers are divided by a score.

    Returns:
        The calibration, or None if it would not rise with the score.
    """
    beliefs = answered.beliefs(score)
    sizes, share = beliefs.blocks.sizes, beliefs.shares()
    x = np.bincount(beliefs.blocks.of, score) / np.bincount(beliefs.blocks.of)
    design, weight = np.stack((x - x.mean(), np.ones(len(x))), axis=1), sizes / sizes.sum()
    found = np.array([4.0, 0.0])
    for _ in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (weight * (share - p)) - RIDGE * found * [1, 0]
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag([RIDGE, 1e-12])
        step = np.linalg.solve(curvature, gradient)
        found += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    slope, intercept = float(found[0]), float(found[1] - found[0] * x.mean())
    prior = float(np.clip(weight @ share, 1e-6, 1 - 1e-6))
    return Calibration(slope, intercept, prior) if slope > 1e-6 and np.isfinite(found).all() else None
