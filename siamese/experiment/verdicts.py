"""Find the variants of a comparison whose verdict is the same for nearly every test pair."""

from siamese.experiment.comparison import Comparison
from siamese.pairs.pairs import Pairs
from siamese.report.tables import code

NEARLY = 0.01  # share of the test pairs that may get the other verdict


def called_duplicates(f1: float, accuracy: float, pairs: int, duplicates: int) -> int:
    """Return how many of some pairs a model calls duplicates, which its F1 and accuracy determine."""
    wrong = round((1 - accuracy) * pairs)
    # F1 = 2 TP / (2 TP + FP + FN) and wrong = FP + FN; without a true positive all duplicates are missed.
    found = duplicates if f1 == 1 else round(f1 * wrong / (2 * (1 - f1)))
    return found + wrong - (duplicates - found)


def constant(c: Comparison, test: Pairs) -> list[str]:
    """Return a warning for each variant that calls 99 % of the test pairs the same, or more, with at least one seed."""
    warnings = []
    for name, records in c.records.items():
        seen = {"duplicates": 0, "not duplicates": 0}
        for record in records:
            scores = record["all"]["f1"], record["all"]["accuracy"]
            share = called_duplicates(*scores, len(test), test.duplicates) / len(test)
            seen["not duplicates"] += share <= NEARLY
            seen["duplicates"] += share >= 1 - NEARLY
        for what, number in seen.items():
            if number:
                warnings.append(
                    f"{code(name)} calls nearly all test pairs {what}, with {number} of {len(records)} seeds: "
                    "its accuracy and F1 show nothing but the share of duplicates; train longer, or try --goal f1"
                )
    return warnings
