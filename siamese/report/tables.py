"""Pages from templates, Markdown tables in general, and those of an evaluation."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from siamese.evaluation.metrics import RECALLS
from siamese.evaluation.results import OURS, Evaluation
from siamese.system.console import visible


def page(package: str, name: str, **values: object) -> str:
    """Return the text file `name` of a package with `values` in place of its {fields}, as `str.format` writes them."""
    return files(package).joinpath(name).read_text("utf-8").format_map(values)


def inert(text: str) -> str:
    """Return a text of anybody as Markdown in a line or a table's cell, where it makes no link, image, code or tag."""
    text = visible(" ".join(text.split()))
    return re.sub(r"[\\`\[\]<>|@]|:(?=//)|(?<=www)\.", r"\\\g<0>", text, flags=re.IGNORECASE)


def code(text: str) -> str:
    """Return a text of anybody as Markdown code in a line or a table's cell, which it does not end."""
    return "`" + visible(" ".join(text.split())).replace("`", "'").replace("|", "\\|") + "`"


def markdown(rows: list[list[str]], text: int) -> str:
    """Return a Markdown table, heading first. The first `text` columns hold words, the others numbers."""
    head, *rest = rows
    lines = [head, ["---"] * text + ["--:"] * (len(head) - text), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def markdown_table(result: Evaluation) -> str:
    """Return an evaluation as a Markdown table with notes."""
    return f"{markdown(result.table(), text=2)}\n{result.note()}\n"


def answer(result: Evaluation) -> str:
    """Return a sentence on the model's scores and the baselines', on unseen pairs if there are any, else on all."""
    name, part = next(iter(result.slices().items()))
    pairs = f"all {part.pairs:,}" if name == "all" else f"{part.pairs:,} {name}"
    ranked = {scorer: row.average_precision for scorer, row in [(OURS, part), *part.baselines.items()]}
    ours, *others = (f"{scorer} {'–' if ap is None else format(ap, '.3f')}" for scorer, ap in ranked.items())
    return (
        f"On {pairs} pairs the verdict is right for {part.accuracy:.1%}; always giving the more frequent answer is "
        f"right for {part.majority:.1%}. Average precision: {ours} ({', '.join(others)}).\n"
    )


def kept(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of the epoch whose weights a model has: the best, or after unlabelled questions the last."""
    return history[-1] if "cosine" in history[-1] else max(history, key=lambda record: record["average_precision"])


def recall_table(result: Evaluation) -> str:
    """Return a Markdown table of the precision at each of RECALLS."""
    rows = [["precision at recall", *(f"{recall:g}" for recall in RECALLS)]]
    for name, part in result.slices().items():
        found = part.precision_at_recall
        cells = [f"{found[f'{recall:g}']:.3f}" if found else "–" for recall in RECALLS]
        rows.append([f"{name} ({part.duplicates / part.pairs:.1%} duplicates)", *cells])
    return markdown(rows, text=1)
