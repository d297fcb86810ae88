"""Statistics of scores over seeds: intervals, contrasts of two variants, Holm's correction, equivalence.

Two variants trained with the same seed see the same pairs in the same order and start from the same weights, so their
scores are compared seed by seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from siamese.experiment.comparison import Comparison
from siamese.experiment.records import Record
from siamese.report.tables import code

LEVEL = 0.05  # of the tests; intervals are of 95 %
BAND = 0.005  # scores that differ by less than half a point count as equal
POINTS = 100  # a point is a hundredth of a score
Measure = Callable[[Record], float]
MEASURES: dict[str, Measure] = {
    "unseen average precision": lambda record: record["unseen"]["average_precision"],
    "accuracy": lambda record: record["all"]["accuracy"],
    "mining": lambda record: record["mining"],
}


class Interval(NamedTuple):
    """A mean over seeds with its 95 % t interval, which is nan for fewer than two seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A paired difference over n seeds.

    effect: Cohen's d of paired differences, mean / standard deviation.
    p: of no difference, two-sided paired t test.
    p_equal: of a difference of BAND or more, the larger of two one-sided tests.
    holm: `p` after Holm's correction over the contrasts it was made with; nan: not corrected.
    """

    n: int
    interval: Interval
    effect: float
    p: float
    p_equal: float
    holm: float = float("nan")

    @property
    def shown_p(self) -> float:
        """`holm` if there is a correction, else `p`."""
        return self.p if np.isnan(self.holm) else self.holm

    @property
    def verdict(self) -> str:
        """The result in words: "higher" or "lower", perhaps "by less than half a point", or "equal …" or "no …"."""
        if self.shown_p < LEVEL:
            way = "higher" if self.interval.mean > 0 else "lower"
            return f"{way}, by less than half a point" if self.p_equal < LEVEL else way
        return "equal within half a point" if self.p_equal < LEVEL else "no difference shown"


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean and the 95 % t interval of the scores of several seeds; (n,)."""
    x = np.asarray(values, float)
    mean = low = high = float(x.mean())
    if len(x) < 2:
        low = high = float("nan")
    elif not _is_constant(x):
        low, high = stats.ttest_1samp(x, 0.0).confidence_interval(1 - LEVEL)
    return Interval(mean, float(low), float(high))


def difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Compare values with a reference, seed by seed, by paired t tests; both (n,).

    With fewer than two seeds nothing can be shown: p and p_equal are 1. Differences that are all the same have no
    spread: p is 0 unless they are 0.
    """
    x = np.asarray(values, float) - np.asarray(reference, float)
    mean, effect = float(x.mean()), float("nan")
    if len(x) < 2:
        p = p_equal = 1.0
    elif _is_constant(x):
        p, p_equal = float(mean == 0), float(abs(mean) >= BAND)
    else:
        effect, p = mean / float(x.std(ddof=1)), float(stats.ttest_1samp(x, 0.0).pvalue)
        below = stats.ttest_1samp(x, -BAND, alternative="greater").pvalue  # against a difference of -BAND or less
        above = stats.ttest_1samp(x, BAND, alternative="less").pvalue  # against one of BAND or more
        p_equal = float(max(below, above))
    return Difference(len(x), interval(x), effect, p, p_equal)


def _is_constant(x: np.ndarray) -> bool:
    """Return whether values differ by rounding only; a t test of them divides by zero."""
    return bool(x.std(ddof=1) <= 1e-15 * max(1.0, abs(x.mean())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values so that the chance of any false alarm among them stays at the level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()


@dataclass(frozen=True)
class Contrast:
    """One variant against another."""

    one: str
    other: str
    primary: bool  # the contrast that was named before the trainings
    by: dict[str, Difference]  # by MEASURES, in scores

    @property
    def main(self) -> Difference:
        return self.by["unseen average precision"]

    def __str__(self) -> str:
        return f"{code(self.one)} against {code(self.other)}"


def values(c: Comparison, name: str, measure: str) -> list[float]:
    """Return the scores of a variant, one per seed."""
    return [MEASURES[measure](record) for record in c.records[name]]


def contrast(c: Comparison, one: str, other: str) -> Contrast:
    """Compare two variants over the seeds that both have."""
    ours, theirs = c.shared(one, other)
    primary = (one, other) == c.study.questions[0].contrasts[0]
    by = {name: difference([m(r) for r in ours], [m(r) for r in theirs]) for name, m in MEASURES.items()}
    return Contrast(one, other, primary, by)


def contrasts(c: Comparison) -> dict[str, list[Contrast]]:
    """Return the contrasts of each question that have trainings. Holm's correction is over all but the primary one."""
    found = {
        q.text: [contrast(c, *pair) for pair in q.contrasts if all(c.records[name] for name in pair)]
        for q in c.study.questions
    }
    rest = [x for several in found.values() for x in several if not x.primary]
    for measure in MEASURES:
        for x, p in zip(rest, holm([x.by[measure].p for x in rest])):
            x.by[measure] = replace(x.by[measure], holm=p)
    return found
