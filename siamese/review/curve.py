"""Learn from answers how the share of duplicates rises with the score, and how sure the precision above a score is.

    p(x) = (1 − l) · sigmoid(b · (x − m))

m is the place of the rise, b its steepness, and l the share of pairs that are different however high their score. A
grid of these three has a weight for each curve: the prior times the likelihood of the answers. Which pairs were asked
does not matter to the likelihood, so answers may be drawn in any way, and those near the threshold teach most.

The precision above a score counts the answers as they are, and p for the pairs without one. The pool's pairs stand in
blocks of neighbouring scores: one pair each at the top, where every pair counts, and longer ones further down.

Source: Kontsevich, Tyler 1999 (a grid, to place trials); Wichmann, Hill 2001 (l, against answers that fit no rise).
"""

import math
from dataclasses import dataclass

import numpy as np

GROWTH = 1.04  # of the number of pairs above the end of a block
PLACES = np.linspace(-0.5, 1.5, 33)  # of m, where the lowest tenth of the scores ends at 0 and the highest is 1
SLOPES = np.geomspace(1.0, 40.0, 15)  # of b, on that scale
USUAL, SPREAD = 4.5, 0.8  # of b: median, and standard deviation of the logarithm, before any answer
NEVER = np.array([0.0, 0.04, 0.12, 0.3])  # of l
BELIEF = np.array([0.5, 0.25, 0.15, 0.1])  # in these, before any answer
NEGLIGIBLE = 1e-4  # weight of a curve, as a share of the largest
BEYOND, LEAST = 1.3, 20.0  # of a region: factor, and smallest number of pairs
UNSURE = 0.02  # p (1 − p) at least, in values
EVERYWHERE = 0.05  # share of the answers that is spread over all blocks
NORMAL = np.linspace(-6, 6, 2_401)
BELOW = np.array([math.erf(z / math.sqrt(2)) / 2 + 0.5 for z in NORMAL])


class Blocks:
    """A pool of pairs, in blocks of neighbouring scores, the highest first."""

    def __init__(self, score: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Cut a pool into blocks. Equal scores stay together.

        Args:
            score: (n,) of the pairs of the pool, any finite numbers that rise with the chance of a duplicate; n ≥ 1.
            weight: (n,) number of pairs that each stands for; None: 1.
        """
        order = np.argsort(-score, kind="stable")
        falling = score[order]
        ends, pairs = [0], 1.0
        while ends[-1] < len(score):
            ends.append(int(np.searchsorted(-falling, -falling[min(int(pairs), len(score)) - 1], side="right")))
            pairs = max(ends[-1] + 1, ends[-1] * GROWTH)
        self.ends = np.array(ends[1:])
        number = np.repeat(np.arange(len(self.ends)), np.diff(ends))
        self.of = np.empty(len(score), int)  # (n,) the block of each pair
        self.of[order] = number
        weight = np.ones(len(score)) if weight is None else weight
        self.sizes = np.bincount(self.of, weight)  # (b,) pairs
        self.above = np.cumsum(self.sizes)  # (b,) pairs in this block and those above
        self.lowest = falling[self.ends - 1]  # (b,) score
        low, high = float(np.quantile(score, 0.1)), float(falling[0])
        self._low, self._scale = low, max(high - low, 1e-9)
        self._score = (score - low) / self._scale
        self._centre = np.bincount(self.of, self._score) / np.bincount(self.of)

    def beliefs(self, asked: np.ndarray, duplicate: np.ndarray) -> "Beliefs":
        """Return what answers say of the pool.

        Args:
            asked: (m,) the pairs that were answered, 0 to n − 1.
            duplicate: (m,) 0 or 1.
        """
        m, b, never = (axis.ravel() for axis in np.meshgrid(PLACES, SLOPES, NEVER, indexing="ij"))
        fit = np.log(BELIEF)[np.searchsorted(NEVER, never)] - 0.5 * (np.log(b / USUAL) / SPREAD) ** 2
        p = np.clip(_curves(m, b, never, self._score[asked]), 1e-4, 1 - 1e-4)
        fit += np.log(p) @ duplicate + np.log1p(-p) @ (1 - duplicate)
        weight = np.exp(fit - fit.max())
        kept = weight > NEGLIGIBLE
        answered = np.bincount(self.of[asked], minlength=len(self.ends))
        known = np.bincount(self.of[asked], duplicate, len(self.ends))
        p = _curves(m[kept], b[kept], never[kept], self._centre)
        return Beliefs(self, weight[kept] / weight[kept].sum(), p, answered, known)


def _curves(m: np.ndarray, b: np.ndarray, never: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the share of duplicates at k scores under c curves; (c, k)."""
    rise = np.clip(b[:, None] * (x - m[:, None]), -50, 50)
    return (1 - never)[:, None] / (1 + np.exp(-rise))


@dataclass
class Beliefs:
    """What is believed of a pool after some answers."""

    blocks: Blocks
    weight: np.ndarray  # (c,) of each curve, 1 in all
    p: np.ndarray  # (c, b) share of duplicates in each block under each curve
    answered: np.ndarray  # (b,) answers in each block
    known: np.ndarray  # (b,) duplicates among these

    def _duplicates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the variance of the number of duplicates above the end of each block; (c, b) each."""
        rest = np.maximum(self.blocks.sizes - self.answered, 0.0)
        mean = np.cumsum(rest * self.p, axis=1) + np.cumsum(self.known)
        return mean, np.cumsum(rest * self.p * (1 - self.p), axis=1)

    def certainty(self, precision: float) -> np.ndarray:
        """Return the probability that the pairs above the end of each block have this precision; (b,)."""
        mean, variance = self._duplicates()
        wanted = np.ceil(precision * self.blocks.above - 1e-9) - 0.5
        return self.weight @ np.interp((mean - wanted) / np.sqrt(np.maximum(variance, 1e-6)), NORMAL, BELOW)

    def precision(self, block: int) -> tuple[float, float, float]:
        """Return the precision above the end of a block: its mean, and the ends of its 95 % interval."""
        pairs = self.blocks.above[block]
        mean, variance = (part[:, block] for part in self._duplicates())
        grid = np.linspace(0, 1, 501)
        z = (grid[:, None] * pairs - mean) / np.sqrt(np.maximum(variance, 1e-6))
        below = np.interp(z, NORMAL, BELOW) @ self.weight
        low, high = np.interp([0.025, 0.975], below, grid)
        return float(self.weight @ mean / pairs), float(low), float(high)

    def shares(self) -> np.ndarray:
        """Return the share of duplicates that is expected in each block, (b,)."""
        found: np.ndarray = self.weight @ self.p
        return found

    def values(self, precision: float) -> np.ndarray:
        """Return how much an answer about a pair of each block teaches of the threshold for a precision; (b,).

        Each curve has a region of the pool in which it expects this precision. The number of duplicates in the region
        and a little beyond is best estimated by drawing pairs in proportion to √(p (1 − p)) (Neyman 1934). The value is
        the mean of these draws over the curves. A twentieth of the answers is spread over all blocks.
        """
        reached = self._duplicates()[0] >= precision * self.blocks.above
        last = np.where(reached.any(axis=1), reached.shape[1] - 1 - np.argmax(reached[:, ::-1], axis=1), -1)
        region = np.where(last >= 0, self.blocks.above[last], 0.0)
        inside = self.blocks.above - self.blocks.sizes < np.maximum(BEYOND * region, LEAST)[:, None]
        draws = np.sqrt(np.maximum(self.p * (1 - self.p), UNSURE)) * inside
        found = self.weight @ (draws / (draws @ self.blocks.sizes)[:, None])
        found /= found @ self.blocks.sizes
        value: np.ndarray = found + EVERYWHERE / (len(found) * self.blocks.sizes)
        return value
