"""The result of an evaluation, as attributes, JSON, a DataFrame or a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from siamese.evaluation.metrics import Scores
from siamese.system.optional import optional

if TYPE_CHECKING:
    import pandas

COLUMNS = ("accuracy", "precision", "recall", "f1", "average_precision", "roc_auc", "threshold")  # of a table
OURS = "this model"


@dataclass(frozen=True, kw_only=True)
class Compared(Scores):
    """The scores of a model and of the baselines on the same pairs."""

    majority: float  # accuracy of giving every pair the more frequent label
    baselines: dict[str, Scores]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics by name, ready for JSON, with those of each baseline under "baselines"."""
        rows = self.rows()
        return {**rows.pop(OURS), "baselines": rows}

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the metrics of each scorer by name, the model first."""
        return {
            OURS: Scores.to_dict(self),
            "majority": {"accuracy": self.majority},
            **{name: scores.to_dict() for name, scores in self.baselines.items()},
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(Compared):
    """The scores of a model and of the baselines on labelled pairs. `print` shows a table.

    The attributes are named as in `evaluate --json`: `result.accuracy`, `result.unseen.average_precision`,
    `result.baselines["tf-idf"].roc_auc`.
    """

    unseen: Compared | None  # on the pairs that share no question with the training pairs; None: unknown, or none
    unseen_from: str  # how unseen pairs were found, or why they were not
    judged_by: str = "similarity"  # or "verdict", which corrects it

    def slices(self) -> dict[str, Compared]:
        """Return the scores on "unseen" pairs, if there are any, and on "all" pairs."""
        return ({"unseen": self.unseen} if self.unseen else {}) | {"all": self}

    def to_dict(self) -> dict[str, Any]:
        """Return what `evaluate --json` prints."""
        unseen = self.unseen.to_dict() if self.unseen else None
        more = {"unseen_from": self.unseen_from, "unseen": unseen, "judged_by": self.judged_by}
        return {**super().to_dict(), **more}

    def to_frame(self) -> "pandas.DataFrame":
        """Return a DataFrame with a row for each slice and scorer, and a column for each metric."""
        rows = [
            {"slice": name, "scorer": scorer, "pairs": part.pairs, "duplicates": part.duplicates, **row}
            for name, part in self.slices().items()
            for scorer, row in part.rows().items()
        ]
        names = ["slice", "scorer", "pairs", "duplicates", *COLUMNS, "calibration_error"]
        return optional("pandas", "to_frame").DataFrame(rows, columns=names)

    def table(self) -> list[list[str]]:
        """Return the rows of a table: the heading, unseen pairs, all pairs."""
        rows = [["pairs", "", *(name.replace("_", " ") for name in COLUMNS)]]
        for name, part in self.slices().items():
            label = f"{name} ({part.pairs:,}, {part.duplicates / part.pairs:.1%} duplicates)"
            for scorer, row in part.rows().items():
                cells = ["–" if row.get(column) is None else f"{row[column]:.3f}" for column in COLUMNS]
                rows.append([label, scorer, *cells])
                label = ""
        return rows

    def note(self) -> str:
        """Return the notes below the table: the calibration error, and the meaning of "unseen"."""
        errors = ", ".join(f"{name} {part.calibration_error:.3f}" for name, part in self.slices().items())
        calibration = f"calibration error of the probability (15 bins): {errors}"
        if self.judged_by == "verdict":
            calibration += "\njudged by the verdict, which corrects the similarity; the threshold is that of --cosine"
        if self.unseen:
            meaning = f"unseen: neither question was trained on ({self.unseen_from}); this is what a new user meets."
        else:
            meaning = f"unseen pairs (neither question trained on): {self.unseen_from}"
        return f"{calibration}\n{meaning}"

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines) + f"\n{self.note()}"

    __repr__ = __str__
