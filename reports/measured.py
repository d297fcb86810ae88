"""Shared by the scripts that measure: the machine, medians of repeated runs, Markdown tables, and figures in JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.report.tables import markdown
from siamese.system.files import write_text
from siamese.version import VERSION

Row = Mapping[str, Any]  # column name to a number, a Spread, a text or None


@dataclass(frozen=True)
class Spread:
    """The median of n measurements, with the 10th and the 90th percentile."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Return the spread of some measurements, or None if there are none."""
        if not len(values):
            return None
        low, median, high = np.percentile(values, [10, 50, 90])
        return cls(float(median), float(low), float(high), len(values))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}-{number(self.high)})"


def number(value: float) -> str:
    """Return a number with three significant digits, and thousands with commas."""
    if not np.isfinite(value):
        return "-"
    if isinstance(value, int) or abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table; columns of text must come first."""
    if not rows:
        return "Nothing measured.\n"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    words = sum(isinstance(rows[0].get(name), str) for name in columns)
    return markdown([columns, *([_cell(row.get(name)) for name in columns] for row in rows)], text=words)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (number(value) if isinstance(value, int | float) else str(value)).replace("|", "\\|")


def machine() -> str:
    """Return what every figure depends on: the processor, its cores, and the versions."""
    import torch

    versions = (
        f"siamese {VERSION}, Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()}; {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read(path: Path) -> dict[str, Any]:
    """Return the figures of a JSON file by part; none if the file is not there."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def keep(path: Path, part: str, found: Any) -> None:
    """Write the figures of one part into a JSON file, beside those of the other parts."""
    figures = read(path) | {part: {"machine": machine(), "found": found}}
    write_json(path, figures)


def write_json(path: Path, figures: Any) -> None:
    """Write figures, which may hold Spreads, as JSON."""
    write_text(path, json.dumps(figures, indent=1, ensure_ascii=False, default=asdict) + "\n")
