"""Read questions from files, with ids and further columns, or whole rows that are written again with more of them."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from siamese.errors import DataError
from siamese.pairs.cells import Refused, text_of
from siamese.pairs.formats import Faults, File, Row
from siamese.pairs.huggingface import names_data_set
from siamese.pairs.sources import source_of, text_lines
from siamese.pairs.tables import check_has, check_once, open_table
from siamese.text.cleaning import is_blank

ROOM = 1 << 25  # characters of a block of rows

T = TypeVar("T")
Whole = tuple[list[Any], T | None, str]  # the cells of a row, what was made of it, and its fault or ""


@dataclass(frozen=True)
class QuestionRow:
    """A question of a file."""

    line: int  # or row, in a Parquet file
    id: str | None  # None if the file has no ids, or an empty one here
    question: str
    others: Row = field(default_factory=dict)  # the cells of further columns, as they are


def read_records(
    path: str | Path, column: str = "question", id_column: str | None = None, keep: Collection[str] | None = ()
) -> Iterator[QuestionRow]:
    """Yield the questions of a file with their lines and ids; the file need not fit in memory.

    Empty questions are kept, so that result i belongs to question i.

    Args:
        path: a .txt file with one question a line, or a file or data set as in `read_pairs`.
        column: the column of the questions.
        id_column: the column of the ids. None: `id`, if there is one.
        keep: further columns to read, those that are there; None: all.

    Raises:
        DataError: there is no such file or column, two of the columns have one name, or a row cannot be read.
    """
    if id_column is not None and _is_text(path):
        raise DataError(f"{path}: one question a line, so there is no column {id_column!r} of ids")
    ids = id_column or "id"
    file = _open_questions(path, column, None if keep is None else {column, ids, *keep})
    check_has(file, path, [column] if id_column is None else [column, id_column])
    check_once(file.names, f"{path}, line 1", file.names if keep is None else keep)
    known = file.names if keep is None else keep
    more = None if keep is None and file.varies else [name for name in known if name not in (column, ids)]
    for line, record in file.records:
        if isinstance(record, str):
            raise DataError(f"{path}, line {line}: {record}; every row is needed, so mend or remove it")
        try:
            id = text_of(record.get(ids), ids, whole=True)
            names = [name for name in record if name not in (column, ids)] if more is None else more
            others = {name: record[name] for name in names if name in record}
            yield QuestionRow(line, id, text_of(record.get(column), column, whole=column == "id") or "", others)
        except Refused as fault:
            raise DataError(f"{path}, line {line}: {fault}; mend or remove the row") from None


class FilledRows:
    """The rows of a source that have a question. All have an id, or none has.

    Args:
        records: the rows.
        where: prefix of the line number in an error, such as "questions.csv, line".
        with_ids: whether they must have ids; None: if the first row has one.

    Raises:
        DataError: only some rows have an id.
    """

    def __init__(self, records: Iterable[QuestionRow], where: str, with_ids: bool | None = None) -> None:
        self.records, self.where, self.with_ids = records, where, with_ids
        self.blank = 0  # rows without a question so far

    def __iter__(self) -> Iterator[tuple[int, QuestionRow]]:
        """Yield each row with its place among all rows, from 0."""
        for place, record in enumerate(self.records):
            if is_blank(record.question):
                self.blank += 1
                continue
            has = record.id is not None
            if self.with_ids is None:
                self.with_ids = has
            if has != self.with_ids:
                problem = f"{'an' if has else 'no'} id, unlike other rows; give all questions an id, or none"
                raise DataError(f"{self.where} {record.line}: {problem}")
            yield place, record


def whole_rows(
    path: str | Path, columns: Sequence[str], faults: Faults, parse: Callable[[Row], T], others: bool = True
) -> tuple[list[str], Iterator[Whole[T]]]:
    """Open a file whose rows are written again with more columns.

    Args:
        path: a file or data set as in `read_pairs`, or a .txt file, whose lines are the first of the columns.
        columns: that must be there.
        faults: counts the faulty rows.
        parse: returns what is needed of a row, or raises Refused.
        others: False if no other columns are needed.

    Returns:
        The names of all columns, and for each row its cells, what `parse` makes of it, and "", or None and the reason
        why it is faulty. A row that cannot be read has its text in the first cell.

    Raises:
        DataError: there is no such file or column, or two columns have one name.
    """
    file = _open_questions(path, columns[0], None if others else columns)
    check_has(file, path, columns)
    names = file.names if others else list(columns)
    if file.varies and others:
        later = (list(record) for _, record in open_table(path).records if not isinstance(record, str))
        names = list(dict.fromkeys(itertools.chain(names, *later)))
    check_once(file.names, f"{path}, line 1", names)

    def rows() -> Iterator[Whole[T]]:
        for record, parsed, fault in faults.beside(file.records, parse):
            row = {names[0]: getattr(record, "text", "")} if isinstance(record, str) else record
            yield [row.get(name) for name in names], parsed, fault

    return names, rows()


def blocks_of(rows: Iterable[Whole[T]], most: int) -> Iterator[list[Whole[T]]]:
    """Yield the rows of `whole_rows` in blocks of at most so many rows, or of fewer if they are long."""
    block, size = [], 0
    for row in rows:
        block.append(row)
        size += sum(len(cell) for cell in row[0] if isinstance(cell, str | bytes))
        if len(block) == most or size > ROOM:
            yield block
            block, size = [], 0
    if block:
        yield block


def count_rows(path: str | Path, column: str) -> int:
    """Count the rows of a file, faulty ones too."""
    return sum(1 for _ in whole_rows(path, [column], Faults(str(path)), lambda row: None, others=False)[1])


def check_columns(path: str | Path, columns: Sequence[str]) -> list[str]:
    """Return all columns of a file. Raise DataError if it lacks one of these; the first is that of the questions."""
    file = _open_questions(path, columns[0], None)
    if file.varies and not set(columns) <= set(file.names):  # a later row may have it
        later = (name for _, record in file.records if not isinstance(record, str) for name in record)
        file = dataclasses.replace(file, names=list(dict.fromkeys(itertools.chain(file.names, later))))
    check_has(file, path, columns)
    return file.names


def _is_text(path: str | Path) -> bool:
    return not names_data_set(path) and source_of(path).suffix == ".txt"


def _open_questions(path: str | Path, column: str, wanted: Collection[str] | None) -> File:
    """Open a file with a column of questions, which are the lines of a .txt file."""
    if not _is_text(path):
        return open_table(path, wanted)
    return File([column], enumerate(({column: text.rstrip("\r\n")} for text in text_lines(path)), 1))
