"""From a person's labels to a threshold: which pairs to label, and what the labels show.

Of all pairs of questions few are duplicates. A threshold chosen on labelled pairs, where duplicates are frequent, says
little about the precision of the pairs above it. A labelled sample of these pairs does.

The sample. The ranked pairs are cut into strata that grow downwards, each GROWTH times the one above, and an equal
number of pairs is drawn from each. So the labels above any edge of a stratum, high or low, are about equally precise.

The estimate. With N_h pairs in stratum h, n_h of them labelled, and a share p_h of these duplicates, the precision
above an edge is p = Σ N_h p_h / Σ N_h over the strata above it. Its interval is that of Clopper and Pearson for p · n
of n successes, where n = (Σ N_h)² / Σ N_h² / n_h is the size of a simple sample with the same variance at equal p_h
(Kish 1965; Korn and Graubard 1998). It is not too short if the strata differ, since then the variance is lower.

The choice. The lowest edge at which the 95 % interval lies above the target precision. One end of one interval is wrong
in 2.5 of 100 samples. Since several edges are tried, the choice is wrong more often: in simulations in up to 5 of 100,
if the precision is just below the target at every edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.errors import UserError
from siamese.mining.found import MILLION

GROWTH = 2**0.25
STRATA = 20  # at most; the highest then holds one pair in thirty
LEAST = 10  # pairs to label in a stratum
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Stratum:
    """Consecutive pairs of the ranking."""

    pairs: int
    above: float  # the similarity above which the pairs of this and the earlier strata lie


@dataclass(frozen=True)
class Estimate:
    """The precision of the pairs above a threshold, with a 95 % interval."""

    threshold: float
    pairs: int
    labels: int
    precision: float
    low: float
    high: float


def strata(counts: np.ndarray, millionths: np.ndarray, labels: int) -> list[Stratum]:
    """Cut a ranking into strata; equal similarities stay together.

    Args:
        counts: (k,) pairs of each distinct similarity.
        millionths: (k,) those similarities, descending.
        labels: number of pairs to label.
    """
    ranks = np.cumsum(counts)
    shares = GROWTH ** -np.arange(min(STRATA, max(1, labels // LEAST)))
    wanted = np.round(ranks[-1] * shares, 6)  # so that a half is not a little less
    ends = np.unique(np.searchsorted(ranks, wanted))  # the last similarity of each stratum
    edges = (np.append(millionths, millionths[-1] - 1)[ends + 1] / MILLION).tolist()
    return [Stratum(size, edge) for size, edge in zip(np.diff(ranks[ends], prepend=0).tolist(), edges)]


def allot(cut: Sequence[Stratum], labels: int) -> list[int]:
    """Return the number of pairs to draw from each stratum: equal, except for strata that have fewer."""
    given = [0] * len(cut)
    order = sorted(range(len(cut)), key=lambda h: cut[h].pairs)
    for done, h in enumerate(order):
        given[h] = min(cut[h].pairs, (labels - sum(given)) // (len(cut) - done))
    return given


def draw(cut: Sequence[Stratum], labels: int, seed: int) -> list[tuple[int, int]]:
    """Draw the pairs to label, as (rank, stratum) from 0, in random order, which hides how sure the model is."""
    random = np.random.default_rng(seed)
    chosen, start = [], 0
    for h, (stratum, count) in enumerate(zip(cut, allot(cut, labels))):
        ranks = start + random.choice(stratum.pairs, count, replace=False)
        chosen += [(int(rank), h) for rank in ranks]
        start += stratum.pairs
    return [chosen[i] for i in random.permutation(len(chosen))]


def estimates(cut: Sequence[Stratum], labelled: Sequence[int], duplicates: Sequence[int]) -> list[Estimate]:
    """Return the precision above each edge, from the highest edge down.

    Args:
        cut: all strata, the highest first.
        labelled: labels of each stratum, 1 or more.
        duplicates: of each stratum, how many of its labels say duplicate.
    """
    sizes, n = np.array([stratum.pairs for stratum in cut], float), np.array(labelled, float)
    total = np.cumsum(sizes)
    precision = np.cumsum(sizes * np.array(duplicates) / n) / total
    effective = total**2 / np.cumsum(sizes**2 / n)
    low, high = interval(precision, effective)
    rows = zip(cut, total, np.cumsum(labelled), precision, low, high)
    return [Estimate(s.above, int(t), int(m), float(p), float(lo), float(hi)) for s, t, m, p, lo, hi in rows]


def interval(share: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Clopper and Pearson's 95 % interval of a share of `number` labels, which need not be a whole number."""
    from scipy.stats import beta

    hits, tail = share * number, (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, beta.ppf(tail, hits, number - hits + 1), 0.0)
        high = np.where(share < 1, beta.ppf(1 - tail, hits + 1, number - hits), 1.0)
    return low, high


def choose(found: Sequence[Estimate], precision: float) -> Estimate:
    """Return the lowest threshold whose precision interval lies above the target.

    Raises:
        UserError: there is none. The message has the nearest, and how many labels could be enough.
    """
    if not 0 < precision < 1:
        raise UserError(f"--precision {precision}: give a share between 0 and 1, such as 0.95")
    enough = [estimate for estimate in found if estimate.low >= precision]
    if enough:
        return enough[-1]
    best = max(found, key=lambda estimate: estimate.low)
    # n labels that are all duplicates have the lower end tail^(1/n).
    least = int(np.ceil(np.log((1 - LEVEL) / 2) / np.log(precision)))
    raise UserError(
        f"no threshold reaches a precision of {precision:g} for sure; the best is {best.threshold:g}, "
        f"with {best.precision:.3f} (95 % interval {best.low:.3f} to {best.high:.3f}). Label more pairs (even if "
        f"all are duplicates, {least} above a threshold are needed), or ask for less"
    )
