"""The benchmark's report: sections of rows, written as Markdown, JSON and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.report import plots
from siamese.system.files import write_text


@dataclass(frozen=True)
class Spread:
    """A median with the 10th and the 90th percentile of n measurements."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None where nothing was measured."""
        if not len(values):
            return None
        low, median, high = np.percentile(values, [10, 50, 90])
        return cls(float(median), float(low), float(high), len(values))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}-{number(self.high)})"


@dataclass
class Section:
    """One table, the sentences around it, and at most one figure."""

    title: str
    text: str
    rows: list[dict[str, Any]]  # column name to a number, a Spread, a text or None
    bars: str = ""  # the column of Spreads to draw as bars, against the first column
    growth: str = ""  # draw the second column (seconds) and the third (MB) against the first, which is named so

    @property
    def figure(self) -> str:
        """The name of its figure, or nothing."""
        return (
            "".join(c if c.isalnum() else "-" for c in self.title.lower()) + ".png" if self.bars or self.growth else ""
        )


def number(value: float) -> str:
    """Three digits that count; thousands with commas."""
    if not np.isfinite(value):
        return "-"
    if isinstance(value, int) or abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"


def write(folder: Path, machine: Mapping[str, Any], sections: Sequence[Section], skipped: Mapping[str, str]) -> None:
    """Write report.md, results.json and a PNG for each figure; each file whole or not at all."""
    for section in sections:
        _draw(section, folder)
    results = {
        "machine": dict(machine),
        "skipped": dict(skipped),
        "sections": [asdict(section) for section in sections],
    }
    write_text(folder / "results.json", json.dumps(results, indent=1, default=str) + "\n")
    write_text(folder / "report.md", markdown(machine, sections, skipped))


def markdown(machine: Mapping[str, Any], sections: Sequence[Section], skipped: Mapping[str, str]) -> str:
    """The report as Markdown."""
    about = "Written by `python -m reports.performance.benchmark`. Ratios within one run are what counts; a figure is "
    about += "a median, in brackets the 10th and the 90th percentile."
    lines = ["# Performance", "", about, ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- skipped: {name}, {why}" for name, why in skipped.items()]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.text, "", *_table(section.rows)]
        if section.figure:
            lines += ["", f"![{section.title}]({section.figure})"]
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    body = ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *body] if rows else ["Nothing measured."]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (number(value) if isinstance(value, int | float) else str(value)).replace("|", "\\|")


def _draw(section: Section, folder: Path) -> None:
    if section.bars:
        rows = [row for row in section.rows if isinstance(row.get(section.bars), Spread)]
        names = [str(next(iter(row.values()))) for row in rows]
        values = [(row[section.bars].median, row[section.bars].low, row[section.bars].high) for row in rows]
        plots.bars(names, np.array(values).reshape(-1, 3), section.title, section.bars, folder / section.figure)
    elif section.growth:
        columns = list(section.rows[0]) if section.rows else ["", "", ""]
        x, seconds, memory = ([row[name] for row in section.rows] for name in columns[:3])
        medians = [value.median if isinstance(value, Spread) else value for value in seconds]
        plots.growth(np.array(x), np.array(medians), np.array(memory), columns, folder / section.figure)
