"""The further columns of questions that come from an archive, or from two places."""

import json
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """Further columns of questions, by their rows."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""

    def row(self, row: int) -> list[Any]:
        """Return the cells of a row, None for what it lacks."""


class Payloads:
    """The payloads of an archive's questions, on disk, so that memory only holds where each begins.

    Args:
        names: of the columns.
        texts: of each question, a JSON object.
    """

    def __init__(self, names: Sequence[str], texts: Iterable[str]) -> None:
        self.names = list(names)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with this object
        self._starts = array("q", [0])
        for text in texts:
            self._starts.append(self._starts[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    def row(self, row: int) -> list[Any]:
        """Return the cells of a question, None for what it lacks."""
        begin, end = self._starts[row], self._starts[row + 1]
        self._file.seek(begin)
        cells = json.loads(self._file.read(end - begin).decode("utf-8", "surrogatepass"))
        return [cells.get(name) for name in self.names]

    def column(self, name: str, rows: np.ndarray) -> list[Any]:
        """Return the cells of a column in some rows."""
        return [self.row(row)[self.names.index(name)] for row in rows.tolist()]


class Both:
    """The columns of old and of new questions.

    Args:
        old: of the rows below `count`; None if these have none.
        new: of the others, whose first is `count`.
        count: of old rows.
    """

    def __init__(self, old: Rows | None, new: Rows | None, count: int) -> None:
        self._parts, self._count = (old, new), count
        self.names = list(dict.fromkeys(name for part in self._parts if part is not None for name in part.names))

    def row(self, row: int) -> list[Any]:
        """Return the cells of a row, None for what it lacks."""
        is_new = row >= self._count
        if (part := self._parts[is_new]) is None:
            return [None] * len(self.names)
        cells = dict(zip(part.names, part.row(row - self._count * is_new)))
        return [cells.get(name) for name in self.names]

    def column(self, name: str, rows: np.ndarray) -> list[Any]:
        """Return the cells of a column in some rows."""
        return [self.row(row)[self.names.index(name)] for row in rows.tolist()]
