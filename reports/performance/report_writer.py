"""The benchmark's report: sections of rows, written as Markdown, JSON and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.measured import Row, Spread, table, write_json
from siamese.report import plots
from siamese.system.files import write_text


@dataclass
class Section:
    """One table, the sentences before it, and at most one figure."""

    title: str
    text: str
    rows: Sequence[Row]
    bars: str = ""  # the column of Spreads to draw as bars, against the first column

    @property
    def figure(self) -> str:
        """The file name of the figure, or an empty string."""
        name = "".join(c if c.isalnum() else "-" for c in self.title.lower())
        return name + ".png" if self.bars else ""


def write(folder: Path, about: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Write report.md, results.json and a PNG for each figure.

    Args:
        folder: of these files.
        about: the lines at the top of the report, by name.
        sections: all that was measured.
    """
    for section in sections:
        _draw(section, folder)
    write_json(folder / "results.json", {"about": dict(about), "sections": [vars(section) for section in sections]})
    write_text(folder / "report.md", report(about, sections))


def report(about: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Return the report as Markdown."""
    lines = [
        "# How fast does it train and encode, and how near is that to the machine's limit?\n",
        answer(sections),
        "Written by `python -m reports.performance.benchmark`. Compare ratios within one run, not figures of two "
        "machines. A figure is a median; the 10th and the 90th percentile stand in brackets.\n",
        *(f"- {name}: {value}" for name, value in about.items()),
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.text, "", table(section.rows).rstrip()]
        if section.figure:
            lines += ["", f"![{section.title}]({section.figure})"]
    return "\n".join(lines) + "\n"


def answer(sections: Sequence[Section]) -> str:
    """Return the first sentences of the report."""
    rows = {(section.title, next(iter(row.values()))): row for section in sections for row in section.rows}
    ours, course = (rows["Training", way] for way in ("ours, float32, batch 512", "the course's way, batch 512"))
    encoded, started = rows["Encoding", "ours, numpy"], rows["Cold start", "predict"]
    times, limit = "times the course's way", "% of the limit, oneDNN"
    return (
        f"Training takes {ours['pairs/s'].median:,.0f} pairs a second, {ours[times].median:.1f} times as many as the "
        f"course's way, and reaches {ours[limit].median:.0f} % of what oneDNN's products allow, the course's way "
        f"{course[limit].median:.0f} %. The model encodes {encoded['questions/s'].median:,.0f} questions a second. "
        f"`predict` takes {started['seconds'].median:.2f} s from a cold start.\n"
    )


def _draw(section: Section, folder: Path) -> None:
    if section.bars:
        rows = [row for row in section.rows if isinstance(row.get(section.bars), Spread)]
        names = [str(next(iter(row.values()))) for row in rows]
        values = [(row[section.bars].median, row[section.bars].low, row[section.bars].high) for row in rows]
        plots.bars(names, np.array(values).reshape(-1, 3), section.title, section.bars, folder / section.figure)
