"""Markdown tables: any, and those of an evaluation."""

from siamese.evaluation.metrics import RECALLS
from siamese.evaluation.results import Evaluation


def markdown(rows: list[list[str]], text: int) -> str:
    """A Markdown table, its heading first; the first `text` columns hold words, the others numbers."""
    head, *rest = rows
    lines = [head, ["---"] * text + ["--:"] * (len(head) - text), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def markdown_table(result: Evaluation) -> str:
    """The evaluation as a Markdown table with what must be known to read it."""
    return f"{markdown(result.table(), text=2)}\n{result.note()}\n"


def recall_table(result: Evaluation) -> str:
    """What precision a wanted recall leaves, as Markdown."""
    rows = [["precision at recall", *(f"{recall:g}" for recall in RECALLS)]]
    for name, part in result.slices().items():
        found = part.precision_at_recall
        cells = [f"{found[f'{recall:g}']:.3f}" if found else "–" for recall in RECALLS]
        rows.append([f"{name} ({part.duplicates / part.pairs:.1%} duplicates)", *cells])
    return markdown(rows, text=1)
