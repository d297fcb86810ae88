"""Scores of models in the slices of a labelled file, from what `predict --file` wrote of it.

python reports/scale/slices.py ../shared/quora/test.csv NAME=SCORED.csv [NAME=SCORED.csv ...]
"""

import csv
import sys
from collections.abc import Iterator

import numpy as np

from siamese.calibration import calibration_error
from siamese.evaluation import average_precision, roc_auc


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(labelled: list[dict[str, str]], scored: dict[str, list[dict[str, str]]]) -> Iterator[str]:
    labels = np.array([int(row["is_duplicate"]) for row in labelled])
    unseen, linked = (np.array([row[name] == "1" for row in labelled]) for name in ("unseen", "linked"))
    slices = {
        "unseen": unseen,
        "seen, linked": linked & ~unseen,
        "seen, not linked": ~linked & ~unseen,
        "all": labels >= 0,
    }
    yield "| pairs | model | accuracy | AP | ROC AUC | ECE |\n| --- | --- | --: | --: | --: | --: |"
    for name, which in slices.items():
        shown = f"{name} ({which.sum():,}, {labels[which].mean():.1%} duplicates)"
        for model, rows in scored.items():
            if [row["question1"] for row in rows] != [row["question1"] for row in labelled]:
                sys.exit(f"{model}: other questions than those of the labelled file")
            similarity, probability, verdict = (
                np.array([float(row[column]) for row in rows])[which]
                for column in ("similarity", "probability", "is_duplicate")
            )
            found = (
                (verdict == labels[which]).mean(), average_precision(labels[which], similarity),
                roc_auc(labels[which], similarity), calibration_error(labels[which], probability),
            )  # fmt: skip
            yield f"| {shown} | {model} | " + " | ".join(f"{value:.3f}" for value in found) + " |"
            shown = ""


if __name__ == "__main__":
    path, *named = sys.argv[1:]
    scored = {name: rows_of(file) for name, file in (word.split("=", 1) for word in named)}
    print("\n".join(lines(rows_of(path), scored)))
