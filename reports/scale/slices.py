"""Print the scores of models in the slices of a labelled file, from what `predict --file` wrote for it.

    python -m reports.scale.slices ../shared/quora/test.csv NAME=SCORED.csv[,SCORED.csv ...] [NAME=... ...]

Several files of one name are models with several seeds: mean ± standard deviation.
"""

import csv
import sys
from collections.abc import Sequence

import numpy as np

from siamese.evaluation.metrics import average_precision, roc_auc
from siamese.model.calibration import calibration_error
from siamese.report.tables import markdown

Rows = list[dict[str, str]]


def rows_of(path: str) -> Rows:
    """Return the rows of a CSV by the names of its columns."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scores(labels: np.ndarray, rows: Rows, which: np.ndarray) -> tuple[float, ...]:
    """Return accuracy, average precision, area under the ROC and calibration error of some of the pairs."""
    ours = "predicted_is_duplicate"  # beside the labels; without them, or from version 0.1, without the prefix
    similarity, probability, verdict = (
        np.array([float(row[column]) for row in rows])[which]
        for column in ("similarity", "probability", ours if ours in rows[0] else "is_duplicate")
    )
    labels = labels[which]
    return (
        float((verdict == labels).mean()), average_precision(labels, similarity), roc_auc(labels, similarity),
        calibration_error(labels, probability),
    )  # fmt: skip


def compared(labelled: Rows, scored: dict[str, Sequence[Rows]]) -> list[list[str]]:
    """Return the rows of the table, its heading first."""
    labels = np.array([int(row["is_duplicate"]) for row in labelled])
    unseen, linked = (np.array([row[name] == "1" for row in labelled]) for name in ("unseen", "linked"))
    slices = {
        "unseen": unseen,
        "seen, linked": linked & ~unseen,
        "seen, not linked": ~linked & ~unseen,
        "all": labels >= 0,
    }
    lines = [["pairs", "model", "accuracy", "AP", "ROC AUC", "ECE"]]
    for name, which in slices.items():
        shown = f"{name} ({which.sum():,}, {labels[which].mean():.1%} duplicates)"
        for model, seeds in scored.items():
            if any([row["question1"] for row in rows] != [row["question1"] for row in labelled] for rows in seeds):
                sys.exit(f"error: {model}: its questions are not those of the labelled file; run predict --file on it")
            found = np.array([scores(labels, rows, which) for rows in seeds])
            spread = [f" ± {value:.3f}" for value in found.std(0, ddof=1)] if len(seeds) > 1 else [""] * 4
            lines.append([shown, model, *(f"{value:.3f}{more}" for value, more in zip(found.mean(0), spread))])
            shown = ""
    return lines


def main() -> None:
    """Run the command."""
    path, *named = sys.argv[1:]
    files = {name: paths.split(",") for name, paths in (word.split("=", 1) for word in named)}
    print(markdown(compared(rows_of(path), {name: [*map(rows_of, paths)] for name, paths in files.items()}), text=2))


if __name__ == "__main__":
    main()
