"""Differences between the variants of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from siamese.experiment.comparison import Comparison
from siamese.experiment.records import Record
from siamese.experiment.statistics import Difference, difference, holm

POINTS = 100  # a point is a hundredth of a score
Measure = Callable[[Record], float]
MEASURES: dict[str, Measure] = {
    "unseen average precision": lambda record: record["unseen"]["average_precision"],
    "accuracy": lambda record: record["all"]["accuracy"],
    "mining": lambda record: record["mining"],
}


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
        return f"`{self.one}` against `{self.other}`"


def values(c: Comparison, name: str, measure: str) -> list[float]:
    """Return the scores of a variant, one per seed."""
    return [MEASURES[measure](record) for record in c.records[name]]


def contrast(c: Comparison, one: str, other: str) -> Contrast:
    """Compare two variants over the seeds that both have."""
    ours, theirs = shared(c, one, other)
    primary = (one, other) == c.study.questions[0].contrasts[0]
    by = {name: difference([m(r) for r in ours], [m(r) for r in theirs]) for name, m in MEASURES.items()}
    return Contrast(one, other, primary, by)


def shared(c: Comparison, *names: str) -> list[list[Record]]:
    """Return the records of some variants for the seeds that all of them have."""
    seeds = set.intersection(*({r["config"]["seed"] for r in c.records[name]} for name in names))
    return [[r for r in c.records[name] if r["config"]["seed"] in seeds] for name in names]


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
