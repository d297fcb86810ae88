"""An evaluation as a table: aligned text, or Markdown."""

from typing import Any

from siamese.evaluation.metrics import RECALLS

COLUMNS = ("accuracy", "precision", "recall", "f1", "average_precision", "roc_auc", "threshold")


def table(result: dict[str, Any]) -> list[list[str]]:
    """The rows of an evaluation's table, a heading first: unseen pairs as the headline, then all."""
    rows = [["pairs", "", *(name.replace("_", " ") for name in COLUMNS)]]
    slices = [("unseen", result["unseen"])] if result["unseen"] else []
    for name, scores in (*slices, ("all", result)):
        label = f"{name} ({scores['pairs']:,}, {scores['duplicates'] / scores['pairs']:.1%} duplicates)"
        for who, row in (("this model", scores), *scores["baselines"].items()):
            cells = ["–" if row.get(column) is None else f"{row[column]:.3f}" for column in COLUMNS]
            rows.append([label, who, *cells])
            label = ""
    return rows


def markdown_table(result: dict[str, Any]) -> str:
    """The evaluation as a Markdown table with what must be known to read it."""
    return markdown(table(result), text=2) + "\n" + note(result) + "\n"


def markdown(rows: list[list[str]], text: int) -> str:
    """A Markdown table, its heading first; the first `text` columns hold words, the others numbers."""
    head, *rest = rows
    lines = [head, ["---"] * text + ["--:"] * (len(head) - text), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def recall_table(result: dict[str, Any]) -> str:
    """What precision a wanted recall leaves, as Markdown."""
    slices = [(name, part) for name, part in (("unseen", result["unseen"]), ("all", result)) if part]
    rows = [["precision at recall", *(f"{recall:g}" for recall in RECALLS)]]
    for name, part in slices:
        found = part["precision_at_recall"]
        share = f"{part['duplicates'] / part['pairs']:.1%}"
        cells = [f"{found[f'{recall:g}']:.3f}" if found else "–" for recall in RECALLS]
        rows.append([f"{name} ({share} duplicates)", *cells])
    return markdown(rows, text=1)


def text_table(result: dict[str, Any]) -> str:
    """The evaluation as aligned text."""
    rows = table(result)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n" + note(result)


def note(result: dict[str, Any]) -> str:
    """What "unseen" means here, or why there is none."""
    parts = [(name, part) for name, part in (("unseen", result["unseen"]), ("all", result)) if part]
    errors = ", ".join(f"{name} {part['calibration_error']:.3f}" for name, part in parts)
    calibration = f"calibration error of the probability (15 bins): {errors}"
    whence = result["unseen_from"]
    if result["unseen"]:
        return f"{calibration}\nunseen: neither question was trained on ({whence}); this is what a new user meets."
    return f"{calibration}\nunseen pairs (neither question trained on): {whence}"
