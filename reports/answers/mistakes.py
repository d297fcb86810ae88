"""Print a model's worst mistakes on the sets that one may look at: no test pairs, and not the support archive.

    python -m reports.answers.mistakes pretrained [--each 2] [--most 10]

The rows are other people's: they go to the terminal and never into a report.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reports.answers.board import CHECKLIST, DATA, PairSet, pair_set, read_sets, rows_of
from reports.answers.verdict import CAPABILITIES
from siamese.model.model import SiameseModel
from siamese.text.cleaning import clean

LEFT_OUT = ("support", "data/", "Quora test", CHECKLIST)  # sets that are left out here, or taken in another way
HIGHEST = 5_000  # pairs of a set of groups that are judged, by the cosine: no verdict exceeds it


def sets_of(model: SiameseModel, bench: Path, quora: Path | None) -> Iterator[tuple[str, PairSet]]:
    """Yield pairs by set: the labelled ones, and of groups all duplicates and the most similar others."""
    for name, found in read_sets(bench, quora).items():
        if name.startswith(LEFT_OUT):
            continue
        if isinstance(found, PairSet):
            yield name, found
            continue
        i, j, labels = found.pairs()
        vectors = model.encode(found.questions)
        similarity = (vectors @ vectors.T)[i, j]
        chosen = np.argsort(np.where(labels, -2.0, -similarity))[: labels.sum() + HIGHEST]
        one, two = ([found.questions[k] for k in side[chosen]] for side in (i, j))
        yield name, PairSet(one, two, labels[chosen].astype(int))
    yield "data/ validation", pair_set(row for row in rows_of(DATA) if row["split"] == "validation")
    rows = rows_of(bench / f"{CHECKLIST}.csv")
    for capability in json.loads(CAPABILITIES.read_text("utf-8"))["chosen on"]:
        yield capability, pair_set(row for row in rows if row["source"] == capability)


def worst(model: SiameseModel, pairs: PairSet, label: int, most: int) -> list[tuple[float, str, str]]:
    """Return the pairs of a label that the model is most sure of having the other one, worst first.

    Each has its log-odds, turned so that above 0 is wrong. Questions that are equal after cleaning are passed over.
    """
    rule = model.rule()
    kept = [
        i for i, each in enumerate(pairs.labels)
        if each == label and clean(pairs.question1[i]).lower() != clean(pairs.question2[i]).lower()
    ]  # fmt: skip
    one, two = ([side[i] for i in kept] for side in (pairs.question1, pairs.question2))
    found = rule.log_odds(rule.scores(one, two, model.similarity(one, two))) * (-1 if label else 1)
    return [(float(found[i]), one[i], two[i]) for i in np.argsort(-found, kind="stable")[:most] if found[i] > 0]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.mistakes", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("model", metavar="MODEL")
    add("--bench", type=Path, default="../shared/bench", metavar="DIR", help="the sets (%(default)s)")
    add("--quora", type=Path, default="../shared/quora", metavar="DIR", help="Quora's pairs (%(default)s)")
    add("--each", type=int, default=2, metavar="N", help="at most so many of a set or a capability (%(default)s)")
    add("--most", type=int, default=10, metavar="N", help="of each label (%(default)s)")
    options = parser.parse_args()
    model = SiameseModel.load(options.model)
    sets = list(sets_of(model, options.bench, options.quora if options.quora.is_dir() else None))
    for label, what in ((0, "no duplicates, but said to be"), (1, "duplicates, but said to be none")):
        found = [(*each, name) for name, pairs in sets for each in worst(model, pairs, label, options.each)]
        print(f"\n{what}:")
        for log_odds, one, two, name in sorted(found, reverse=True)[: options.most]:
            print(f"{log_odds:6.2f}  {name}\n        {one}\n        {two}")


if __name__ == "__main__":
    main()
