"""Read labelled pairs, questions in groups, or questions alone: from files, data sets or DataFrames, without pandas."""

import dataclasses
import itertools
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from siamese.errors import DataError
from siamese.pairs.cells import Refused, is_missing, label_in, needed, part_of, text_of
from siamese.pairs.formats import Faults, File, Row, open_file
from siamese.pairs.groups import from_groups
from siamese.pairs.huggingface import names_data_set, open_data_set
from siamese.pairs.pairs import PARTS, Columns, Pairs
from siamese.pairs.sources import source_of, text_lines
from siamese.text.cleaning import is_blank
from siamese.text.ragged import Texts

ROOM = 1 << 25  # characters of a block of rows

T = TypeVar("T")
Whole = tuple[list[Any], T | None, str]  # the cells of a row, what was made of it, and its fault or ""
QUORA = Columns()
IN_COLUMN = ("", *PARTS)  # the parts that a row may belong to


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame, or another table of named columns."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: str, /) -> Iterable[Any]: ...


PairsLike = Pairs | Frame | str | Path


def read_pairs(
    path: str | Path, columns: Columns = QUORA, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
) -> Pairs:
    """Read pairs from a CSV, TSV, JSON, Parquet or Excel file, or from a data set.

    A file with the columns `question` and `group` holds questions instead. Those of one group are duplicates, and
    `from_groups` makes pairs of them.

    Args:
        path: the file, whose ending names the format; or a data set, hf:NAME, as in `siamese.pairs.huggingface`.
        columns: the names of the columns. Others are ignored, except `unseen`, `split` and `id`.
        labelled: False if no label is needed.
        need: labels that must occur at least once.

    Raises:
        DataError: there is no such file, its format or encoding is another, a column is missing, more than 1 % of the
            rows (and more than two) are faulty, or a needed label does not occur.
    """
    names = {*dataclasses.astuple(columns), "id", "unseen", "split"} - {None}
    file = _open(path, names, columns.label if labelled else None, columns.duplicate)
    _check_once(file.names, f"{path}, line 1", names)
    return _pairs_of_rows(file, Faults(str(path)), columns, labelled=labelled, need=need)


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
    _check_columns(file, path, [column] if id_column is None else [column, id_column])
    _check_once(file.names, f"{path}, line 1", file.names if keep is None else keep)
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


def _open(
    path: str | Path, wanted: Collection[str] | None = None, label: str | None = None, duplicate: str | None = None
) -> File:
    if names_data_set(path):
        return open_data_set(str(path), label, duplicate if label else None, wanted)
    return open_file(path, wanted)


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
    _check_columns(file, path, columns)
    names = file.names if others else list(columns)
    if file.varies and others:
        later = (list(record) for _, record in _open(path).records if not isinstance(record, str))
        names = list(dict.fromkeys(itertools.chain(names, *later)))
    _check_once(file.names, f"{path}, line 1", names)

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
    _check_columns(file, path, columns)
    return file.names


def _is_text(path: str | Path) -> bool:
    return not names_data_set(path) and source_of(path).suffix == ".txt"


def _open_questions(path: str | Path, column: str, wanted: Collection[str] | None) -> File:
    """Open a file with a column of questions, which are the lines of a .txt file."""
    if not _is_text(path):
        return _open(path, wanted)
    return File([column], enumerate(({column: text.rstrip("\r\n")} for text in text_lines(path)), 1))


def _check_columns(file: File, path: str | Path, columns: Iterable[str]) -> None:
    for name in columns:
        if name not in file.names:
            raise DataError(f"{path}, line 1: no column {name!r}; it has {', '.join(map(repr, file.names[:20]))}")
    _check_once(file.names, f"{path}, line 1", columns)


def _check_once(names: Sequence[str], place: str, wanted: Iterable[str]) -> None:
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise DataError(f"{place}: two columns are called {twice[0]!r}; rename one")


def pairs_of(data: PairsLike, columns: Columns = QUORA, *, need: tuple[int, ...] = (0, 1)) -> Pairs:
    """Return labelled pairs from a DataFrame, a file or `Pairs`.

    Args:
        data: `Pairs`, returned as they are; a DataFrame with the columns question1, question2, is_duplicate and
            optionally unseen, split and id (or question and group); the path of a file, or hf:NAME.
        columns: the names of the columns.
        need: labels that must occur at least once, in a DataFrame or a file.

    Raises:
        DataError: a column is missing; a DataFrame has a question that is missing, NaN, empty or not text, or a label
            that is not 0 or 1; a file cannot be used, as in `read_pairs`.
    """
    if isinstance(data, Pairs):
        return data
    if isinstance(data, str | Path):
        return read_pairs(data, columns, need=need)
    if not hasattr(data, "columns"):
        raise DataError(f"pairs: {type(data).__name__} cannot be read; give Pairs, a DataFrame or the path of a file")
    file, faults = File(names_of(data), _rows(data)), Faults("the DataFrame", "row", True)
    return _pairs_of_rows(file, faults, columns, need=need)


def name_of(data: PairsLike) -> str:
    """Return the name of pairs for a message: the path of their file, or "the pairs"."""
    return str(data) if isinstance(data, str | Path) else "the pairs"


def names_of(data: Frame) -> list[str]:
    """Return the names of the columns as text. Raise DataError if two columns have the same."""
    names = [str(name) for name in data.columns]
    _check_once(names, "the DataFrame", names)
    return names


def _rows(data: Frame) -> Iterator[tuple[Any, Row]]:
    """Yield each row with its index."""
    names = [str(name) for name in data.columns]
    values = zip(*(data[name] for name in data.columns))
    for index, row in zip(getattr(data, "index", range(2**63)), values):
        yield index, dict(zip(names, row))


def _pairs_of_rows(
    file: File, faults: Faults, columns: Columns, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
) -> Pairs:
    """Make pairs of the rows of any source; see `read_pairs`."""
    with_label = f", {columns.label}" if labelled else ""
    expected = f"{columns.question1}, {columns.question2}{with_label} (or {columns.question}, {columns.group})"
    if not file.names:
        raise DataError(f"{faults.path}: empty; expected columns {expected}")
    if {columns.question, columns.group} <= set(file.names) and columns.question1 not in file.names:
        pairs = _from_questions(file, faults, columns)
    else:
        pairs = _from_pairs(file, faults, columns, labelled, expected)
    for label, meaning in ((1, "duplicate pairs (label 1)"), (0, "non-duplicate pairs (label 0)")):
        if labelled and label in need and not (pairs.labels == label).any():
            lack = f"{faults.rows} rows and no usable {meaning}; at least one is needed"
            raise DataError(f"{faults.path}: {lack}{faults}")
    return dataclasses.replace(pairs, rows=faults.rows, faults=faults.shown, skipped=faults.count)


def _from_pairs(file: File, faults: Faults, columns: Columns, labelled: bool, expected: str) -> Pairs:
    wanted = [columns.question1, columns.question2, *([columns.label] if labelled else [])]
    if missing := [name for name in wanted if name not in file.names]:
        has = ", ".join(repr(name[:40]) for name in file.names[:20])
        lack = f"{'' if faults.strict else ', line 1'}: no column {', '.join(map(repr, missing))}; it has {has}"
        other = "other names are given by --question1, --question2, --label, or by Columns"
        raise DataError(f"{faults.path}{lack}. Expected {expected}; {other}")

    more = {name: name in file.names for name in ("id", "unseen", "split")}
    labels, unseen, parts, unknown = array("b"), array("b"), array("b"), Counter[str]()

    def parse(record: Row) -> tuple[list[str], int, bool, str]:
        texts = [needed(record.get(name), name) for name in (columns.question1, columns.question2)]
        label = label_in(record.get(columns.label), columns.label) if labelled else -1
        texts += [text_of(record.get("id"), "id", whole=True) or ""] if more["id"] else []
        new = more["unseen"] and not is_missing(record.get("unseen")) and label_in(record["unseen"], "unseen") == 1
        return texts, label, new, (text_of(record.get("split"), "split") or "") if more["split"] else ""

    def texts() -> Iterator[str]:
        for texts, label, new, split in faults.without(file.records, parse):
            labels.append(label)
            unseen.append(new)
            part = part_of(split) or ""
            if split and not part:
                unknown[split[:40]] += 1
            parts.append(IN_COLUMN.index(part))
            yield from texts

    all_texts = Texts.of(texts())  # interleaved, so that no row stays in memory as an object
    faults.check()
    if unknown:
        found = ", ".join(f"{name!r} in {count:,} rows" for name, count in unknown.most_common(5))
        raise DataError(f"{faults.path}: split is {found}; use train, validation (dev, valid, val, eval) or test")
    first = np.arange(0, len(all_texts), 3 if more["id"] else 2)
    return Pairs(
        all_texts.take(first),
        all_texts.take(first + 1),
        np.array(labels, np.int8),
        np.array(unseen, bool) if more["unseen"] else None,
        np.array(IN_COLUMN)[np.array(parts, np.int8)] if more["split"] else None,
        all_texts.take(first + 2) if more["id"] else None,
    )


def _from_questions(file: File, faults: Faults, columns: Columns) -> Pairs:
    def parse(record: Row) -> tuple[str, str]:
        question = needed(record.get(columns.question), columns.question)
        return question, needed(record.get(columns.group), columns.group, whole=True)

    groups: dict[str, list[str]] = {}
    for question, group in faults.without(file.records, parse):
        groups.setdefault(group, []).append(question)
    faults.check()
    alike: dict[str, list[str]] = {}
    for group in groups:
        alike.setdefault(" ".join(group.lower().split()), []).append(group)
    if same := [names for names in alike.values() if len(names) > 1]:
        shown = f"{len(same):,} groups differ in spaces or case alone, such as {same[0][0]!r} and {same[0][1]!r}"
        warnings.warn(f"{faults.path}: the names of {shown}; they are kept apart", stacklevel=2)
    return from_groups(groups)
