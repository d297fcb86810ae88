"""The questions that mining compares, with copies collapsed."""

import itertools
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import DataError
from siamese.mining.columns import OWN, Columns, FileColumns, FrameColumns
from siamese.model.many_pairs import many_differs
from siamese.model.word_table import WordTable
from siamese.pairs.cells import Refused, is_missing, text_of
from siamese.pairs.questions import FilledRows, QuestionRow, read_records
from siamese.pairs.tables import Frame, column_of, names_of
from siamese.text.cleaning import clean

QuestionsLike = Iterable[str] | Frame | str | Path


class Copy(NamedTuple):
    """A later copy of a question."""

    question: int  # the number of the question
    id: Any  # of the copy; None without ids
    row: int = -1  # of the input, from 0
    text: str = ""  # as it is written


class Written(NamedTuple):
    """Distinct questions, then their copies: the one at place i of `Questions.copies` has the number n + i."""

    texts: list[str]
    ids: list[Any]  # empty if the input has none
    rows: list[int]

    def ids_of(self, *numbers: int) -> list[Any]:
        """Return the ids of some questions; an empty list without ids."""
        return [self.ids[number] for number in numbers] if self.ids else []


@dataclass
class Questions:
    """The distinct questions of an input, in its order.

    Two questions are copies if their texts are the same once they are clean, whatever the model. Those that are empty
    then are left out.
    """

    texts: list[str] = field(default_factory=list)  # as the first copy is written
    ids: list[Any] = field(default_factory=list)  # of the first copies; empty if the input has no ids
    copies: list[Copy] = field(default_factory=list)
    blank: int = 0
    rows: "array[int]" = field(default_factory=lambda: array("q"))  # of the input, from 0; of the first copies
    unknown: int = 0  # without a word that the model knows, once they are encoded
    lowered: bool = False  # whether pairs that differ have a score below their similarity, once they are scored
    further: Columns | None = None  # the other columns of the input, by its rows

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def words(self) -> WordTable:
        """The words of the questions, which a verdict compares. No question is added afterwards."""
        return WordTable(self.texts)

    def differs(self, pairs: np.ndarray) -> list[str]:
        """Return what differs between the questions of pairs, found.JUDGED, numbered as in `written`; "" for copies."""
        texts = [""] * len(pairs)
        first, second = pairs["first"], pairs["second"]
        several = np.maximum(first, second) < len(self)
        if self.lowered:
            several &= pairs["score"] < pairs["millionths"]
        places = np.flatnonzero(several)
        for place, text in zip(places.tolist(), many_differs(self.words, first[places], second[places])):
            texts[place] = text
        return texts

    def keep(self, row: int, cells: Mapping[str, Any]) -> None:
        """Keep the further cells of a row."""
        if self.further is None:
            self.further = FileColumns()
        assert isinstance(self.further, FileColumns)
        self.further.add(row, cells)

    @property
    def names(self) -> list[str]:
        """The further columns."""
        return [] if self.further is None else self.further.names

    def copies_of(self) -> dict[int, list[Copy]]:
        """Return the later copies of each question that has any."""
        copies: dict[int, list[Copy]] = {}
        for copy in self.copies:
            copies.setdefault(copy.question, []).append(copy)
        return copies

    def written(self) -> "Written":
        """Return the texts, ids and rows of the distinct questions, followed by those of their copies."""
        ids = [*self.ids, *(copy.id for copy in self.copies)] if self.ids else []
        rows = [*self.rows, *(copy.row for copy in self.copies)]
        return Written([*self.texts, *(copy.text for copy in self.copies)], ids, rows)

    @classmethod
    def read(
        cls, path: str | Path, column: str = "question", id_column: str | None = None,
        keep: Collection[str] | None = None,
    ) -> "Questions":  # fmt: skip
        """Read a file of questions, as a stream.

        Args:
            path: the file.
            column: the column of questions.
            id_column: the column of ids; None: `id`, if there is one.
            keep: the further columns that pairs and clusters carry through; None: all.

        Raises:
            DataError: the file cannot be read, two texts have the same id, or only some rows have ids.
        """
        return cls()._add(read_records(path, column, id_column, keep), f"{path}, line")

    @classmethod
    def of(cls, data: QuestionsLike, ids: Iterable[Any] | None = None) -> "Questions":
        """Return the questions of a list, a Series, a DataFrame with a column `question`, or a file.

        Args:
            data: the questions. The column `id` of a DataFrame has their ids; all others are kept as metadata.
            ids: an id for each question, any hashable value.

        Raises:
            DataError: no column `question`, a question that is no text, more or fewer ids than questions, or as `read`.
        """
        if isinstance(data, str | Path):
            return cls.read(data)
        questions, column = cls(), data
        if isinstance(data, Frame):
            column, names = column_of(data, "question"), names_of(data)
            if ids is None and "id" in names:
                ids = data["id"]
            questions.further = FrameColumns(data) if set(names).difference(OWN) else None
        return questions._add(_records(column, ids), "the questions, row")

    @classmethod
    def numbered(cls, ids: Sequence[str], texts: Sequence[str]) -> "Questions":
        """Return the questions of an archive, whose rows are places in these lists."""
        return cls()._add(map(QuestionRow, range(len(ids)), ids, texts), "the archive, question")

    def _add(self, records: Iterable[QuestionRow], where: str) -> "Questions":
        """Add records. A row with the id and the text of an earlier one, as in a file of pairs, is not a copy."""
        number: dict[str, int] = {}  # of each text
        by_id: dict[Any, int] = {}
        filled = FilledRows(records, where)
        for row, record in filled:
            text, id = clean(record.question), record.id
            if id in by_id and by_id[id] != number.get(text):
                raise DataError(f"{where} {record.line}: the id {id!r} was another question's; give each its own")
            if text not in number:
                number[text] = len(number)
                self.texts.append(record.question)
                self.rows.append(row)
                self.ids += [id] if id is not None else []
            elif id is None or id not in by_id:
                self.copies.append(Copy(number[text], id, row, record.question))
            if id is not None:
                by_id[id] = number[text]
            if record.others:
                self.keep(row, record.others)
        self.blank += filled.blank
        return self


def _records(data: Any, ids: Iterable[Any] | None) -> Iterator[QuestionRow]:
    """Yield the rows of a column of questions; a missing question is blank."""
    labels = data.index if hasattr(data, "iloc") else itertools.count()  # a Series has its own
    questions = list(data)
    known = [None] * len(questions) if ids is None else [None if is_missing(id) else id for id in ids]
    if len(known) != len(questions):
        raise DataError(f"{len(questions):,} questions and {len(known):,} ids; give each question one id")
    for label, question, id in zip(labels, questions, known):
        try:
            yield QuestionRow(label, id, text_of(question, "question") or "")
        except Refused as fault:
            raise DataError(f"the questions, row {label}: {fault}; give strings") from None
