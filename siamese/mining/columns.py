"""The further columns of the questions that are mined, which pairs and clusters carry through."""

import json
import mmap
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from siamese.pairs.tables import Frame, names_of

PREFIX = "question_"  # of a column whose name is taken
OWN = ("question", "id")  # columns of a DataFrame that are not further ones


class Columns(ABC):
    """Further columns of questions, by the rows of these."""

    names: list[str]  # in the order in which rows have them

    @abstractmethod
    def row(self, row: int) -> list[Any]:
        """Return the cells of a row, None for what it lacks."""

    def column(self, name: str, rows: np.ndarray) -> Any:
        """Return the cells of a column in some rows."""
        place = self.names.index(name)
        return [self.row(row)[place] for row in rows.tolist()]


class TextsOnDisk:
    """A text for each row, on disk, so that memory only holds where each begins."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with this object
        self._starts = array("q", [0])

    def __len__(self) -> int:
        """Return the number of rows, up to the last one that was added."""
        return len(self._starts) - 1

    def add(self, row: int, text: str) -> None:
        """Add the text of a row, which comes after all that were added; rows left out have none."""
        self._starts.extend([self._starts[-1]] * (row + 1 - len(self._starts)))
        self._starts.append(self._starts[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    @cached_property
    def _data(self) -> mmap.mmap:
        self._file.flush()
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def __getitem__(self, row: int) -> str:
        """Return the text of a row, "" if it has none. No row is added afterwards."""
        begin, end = (self._starts[min(i, len(self))] for i in (row, row + 1))
        return self._data[begin:end].decode("utf-8", "surrogatepass") if begin < end else ""


class FileColumns(Columns):
    """The further columns of a file."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self.names = []
        self._texts = TextsOnDisk()  # lists of JSON

    def __len__(self) -> int:
        """Return the number of rows, up to the last one that was added."""
        return len(self._texts)

    def add(self, row: int, cells: Mapping[str, Any]) -> None:
        """Add the cells of a row, as `TextsOnDisk.add`."""
        if not cells.keys() <= self._known.keys():
            self._known |= dict.fromkeys(cells)
            self.names = list(self._known)
        self._texts.add(row, json.dumps(list(map(cells.get, self.names)), ensure_ascii=False, default=str))

    def row(self, row: int) -> list[Any]:
        cells = json.loads(self._texts[row] or "[]")
        return cells + [None] * (len(self.names) - len(cells))


class FrameColumns(Columns):
    """The further columns of a DataFrame."""

    def __init__(self, frame: Frame) -> None:
        self._columns = {
            name: frame[column].array  # type: ignore[attr-defined]
            for name, column in zip(names_of(frame), frame.columns) if name not in OWN
        }  # fmt: skip
        self.names = list(self._columns)

    def row(self, row: int) -> list[Any]:
        cells = (values[row] for values in self._columns.values())
        return [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]

    def column(self, name: str, rows: np.ndarray) -> Any:
        """Return the cells of a column in some rows, with its type."""
        return self._columns[name][rows]


def of_both(names: Sequence[str]) -> list[str]:
    """Return the names of the further columns of the two questions of a pair."""
    return [f"{name}{end}" for name in names for end in (1, 2)]


def both_of(names: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the further columns of questions, given the names in a file of pairs and those that are its own."""
    further = [name for name in names if name not in own]
    return [name[:-1] for name in further if name.endswith("1") and f"{name[:-1]}2" in further]
