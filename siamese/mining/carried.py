"""The further columns of questions that come from an archive, or from two places."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from siamese.mining.columns import Columns, TextsOnDisk


class Payloads(Columns):
    """The payloads of an archive's questions.

    Args:
        names: of the columns.
        texts: of each question, a JSON object.
    """

    def __init__(self, names: Sequence[str], texts: Iterable[str]) -> None:
        self.names, self._texts = list(names), TextsOnDisk()
        for row, text in enumerate(texts):
            self._texts.add(row, text)

    def row(self, row: int) -> list[Any]:
        cells = json.loads(self._texts[row])
        return [cells.get(name) for name in self.names]


class Both(Columns):
    """The columns of old and of new questions.

    Args:
        old: of the rows below `count`; None if these have none.
        new: of the others, whose first is `count`.
        count: of old rows.
    """

    def __init__(self, old: Columns | None, new: Columns | None, count: int) -> None:
        self._parts, self._count = (old, new), count
        self.names = list(dict.fromkeys(name for part in self._parts if part is not None for name in part.names))

    def row(self, row: int) -> list[Any]:
        is_new = row >= self._count
        if (part := self._parts[is_new]) is None:
            return [None] * len(self.names)
        cells = dict(zip(part.names, part.row(row - self._count * is_new)))
        return [cells.get(name) for name in self.names]
