"""Read records from CSV, TSV, JSON, Parquet or Excel files, with the line and the fault of each."""

import csv
import itertools
import json
import re
import zipfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from siamese.errors import DataError, UserError
from siamese.pairs.cells import Refused, is_missing
from siamese.pairs.sources import DELIMITER, FORMATS, SUFFIXES, Source, say, source_of, text_lines, watched
from siamese.system.optional import optional

FAULTS_SHOWN = 5  # faulty rows that a message describes
ROWS_AT_A_TIME = 256  # of a Parquet file or a data set in memory as objects; a small file can hold large rows
MOST_FIELD = 1 << 24  # characters of a field of a CSV or TSV file
MOST_LINES = 100  # lines of one of its rows, once REREAD characters were read again because of quotes not closed
REREAD = 1 << 28
MOST_UNPACKED = 1 << 29  # bytes of an Excel file
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Column names by which the delimiter is decided: a question may hold any of them.
KNOWN = {
    "question1", "question2", "is_duplicate", "label", "question", "group", "id", "unseen", "split", "qid1", "qid2",
    "similarity", "probability", "cluster",
}  # fmt: skip
MOST_CHARACTERS = 300  # of a reason that a library gives

T = TypeVar("T")

Row = Mapping[str, Any]  # column to value
Records = Iterator[tuple[int, Row | str]]  # the line of each record, and the record or why it cannot be read


class Unreadable(str):
    """The reason why a record cannot be read, and its text."""

    text = ""

    @classmethod
    def of(cls, reason: str, text: str) -> "Unreadable":
        unreadable = cls(reason)
        unreadable.text = text.rstrip("\r\n")
        return unreadable


@dataclass(frozen=True)
class File:
    """An open file: the names of its columns, and its records."""

    names: list[str]
    records: Records
    varies: bool = False  # later records may have other columns


@dataclass
class Faults:
    """Counts the faulty rows of a file or a table, and keeps the first few messages."""

    path: str
    place: str = "line"  # or "row": the unit of the numbers in messages
    strict: bool = False  # refuse even one faulty row
    rows: int = 0
    count: int = 0
    shown: list[str] = field(default_factory=list)
    unknown: int = 0  # questions without a word that the model knows, which are no faults

    def without(self, records: Records, parse: Callable[[Row], T]) -> Iterator[T]:
        """Yield what `parse` makes of each record, except of those that it refuses."""
        return (parsed for _, parsed, fault in self.beside(records, parse) if not fault)  # type: ignore[misc]

    def beside(self, records: Records, parse: Callable[[Row], T]) -> Iterator[tuple[Row | str, T | None, str]]:
        """Yield each record with what `parse` makes of it, or with None and the reason why it is faulty."""
        for line, record in records:
            self.rows += 1
            try:
                if isinstance(record, str):
                    raise Refused(record)
                parsed = parse(record)
            except Refused as fault:
                self.count += 1
                if len(self.shown) < FAULTS_SHOWN:
                    self.shown.append(f"{self.path}, {self.place} {line}: {fault}")
                yield record, None, str(fault)
            else:
                yield record, parsed, ""

    def check(self) -> None:
        """Raise DataError if more than 1 % of the rows, and more than two, are faulty; if strict, if one is."""
        if self.count > (0 if self.strict else max(2, self.rows / 100)):
            faulty = f"{self.count} of {self.rows} rows are faulty" + ("" if self.strict else ", more than 1 %")
            raise DataError(f"{self.path}: {faulty}; mend or remove them{self}")

    def check_any(self) -> None:
        """Raise DataError if all rows are faulty."""
        if 0 < self.rows == self.count:
            raise DataError(f"{self.path}: all {self.rows} rows are faulty{self}")

    def __str__(self) -> str:
        """Return the first few messages on a line of their own, to follow a sentence."""
        return "\n  " + "; ".join(fault.removeprefix(f"{self.path}, ") for fault in self.shown) if self.shown else ""


def open_file(path: str | Path, wanted: Collection[str] | None = None) -> File:
    """Open a file by its ending.

    Args:
        path: the file.
        wanted: the columns to read, if others may be left out; None: all.

    Raises:
        DataError: there is no such file, it is a folder, or its ending or content is not one of these formats.
    """
    source = source_of(path)
    if source.suffix == ".parquet":
        return _parquet(source, wanted)
    if source.suffix not in FORMATS:
        raise DataError(f"{path}: cannot tell the format from {source.suffix!r}; expected {SUFFIXES}")
    readers = {".csv": _delimited, ".tsv": _delimited, ".json": _json, ".xlsx": _excel}
    return readers.get(source.suffix, _json_lines)(source)


class _Rereadable:
    """Lines that can be read again from the second one after the last mark."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.pending, self.read, self.number = lines, deque[str](), list[str](), 0
        self.reread = 0  # characters

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.read) >= MOST_LINES and self.reread > REREAD:  # otherwise stray quotes take quadratic time
            raise csv.Error(f"more than {MOST_LINES} lines in one row; is a quote not closed?")
        line = self.pending.popleft() if self.pending else next(self.lines)
        self.read.append(line)
        self.number += 1
        return line

    def mark(self) -> None:
        self.read.clear()

    def back_to_second(self) -> None:
        """Go back to the second line after the mark."""
        self.pending.extendleft(reversed(self.read[1:]))
        self.number -= len(self.read) - 1
        self.reread += sum(map(len, self.read))

    def heading(self) -> str:
        """Return the first line that is not blank, and go back before it."""
        line = next((line for line in self if line.strip()), "")
        self.mark()
        if line:
            self.pending.appendleft(line)
            self.number -= 1
        return line


def _delimiter(heading: str, usual: str) -> str:
    """Return the delimiter between the names of the columns: it gives the most known names, or else the most."""

    def fitness(delimiter: str) -> tuple[int, int, bool]:
        names = [name.strip(' "').lower() for name in heading.strip().split(delimiter)]
        known = len(KNOWN.intersection(names))
        return known, 0 if known else len(names), delimiter == usual

    return max(DELIMITERS, key=fitness)


def _delimited(source: Source) -> File:
    path, lines = source.path, _Rereadable(text_lines(source))
    usual = "\t" if source.suffix == ".tsv" else ","
    heading = lines.heading()
    said = re.fullmatch(r'"?sep=(.)"?\s*', heading, re.IGNORECASE)  # as Excel writes it
    if said:
        next(lines)
    delimiter = DELIMITER.get() or (said[1] if said else _delimiter(heading, usual))
    if delimiter != usual and not DELIMITER.get():
        say(path, f"columns between {DELIMITERS.get(delimiter, repr(delimiter))}")
    csv.field_size_limit(max(csv.field_size_limit(), MOST_FIELD))
    # Strict, so that a stray quote is an error instead of a field that swallows what follows.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)

    def records() -> Records:
        blank: list[int] = []  # empty lines, which are rows of a single column, except at the end
        while True:
            lines.mark()
            line = lines.number + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = str(error)
            else:
                if not row:
                    blank += [line] * (len(names) == 1)
                    continue
                fault = "" if len(row) == len(names) else f"{len(row)} fields, expected {len(names)}"
            if blank:
                yield from ((number, {names[0]: ""}) for number in blank)
                blank.clear()
            if not fault:
                yield line, dict(zip(names, row))
                continue
            text = lines.read[0]
            lines.back_to_second()  # a stray quote only costs its own line
            yield line, Unreadable.of(fault, text)

    names: list[str] = []
    while not any(names):
        line = lines.number + 1
        try:
            names = [name.strip() for name in next(reader)]
        except StopIteration:
            return File([], records())
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}; expected a line with the names of the columns") from None
    if names.count("") > 1:  # as of a spreadsheet's empty columns
        names = [name or f"column {i}" for i, name in enumerate(names, 1)]
    return File(names, records())


def _json(source: Source) -> File:
    """Read a list of objects, or JSON lines, which some call .json too."""
    start = next((line.strip() for line in text_lines(source, guess=False) if line.strip()), "")
    if not start.startswith("["):
        return _json_lines(source)
    try:
        found = json.loads("".join(text_lines(source, guess=False)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source.path}: not JSON: {error}; expected a list of objects") from None
    records = [
        record if isinstance(record, dict) else Unreadable.of("not a JSON object", json.dumps(record))
        for record in found
    ]
    if records and isinstance(records[0], str):
        raise DataError(f"{source.path}, item 1: {records[0]}; expected a list of objects")
    return File(list(records[0]) if records else [], enumerate(records, 1), varies=True)


def _excel(source: Source) -> File:
    """Read the first sheet of an Excel file that holds anything."""
    openpyxl, path = optional("openpyxl", f"{source.path}: an Excel file"), source.path
    with refusing(path, "not an Excel file"):
        file = source.open()
        if sum(one.file_size for one in zipfile.ZipFile(file).infolist()) > MOST_UNPACKED:
            raise DataError(f"{path}: unpacks to more than {MOST_UNPACKED:,} bytes; save it as .csv")
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        for sheet in book.worksheets:
            numbered = enumerate(sheet.iter_rows(values_only=True), 1)
            rows = ((line, row) for line, row in numbered if not all(map(is_missing, row)))
            if heading := next(rows, None):
                break
        else:
            return File([], iter(()))
    names = ["" if is_missing(name) else str(name).strip() for name in heading[1]]
    if len(book.sheetnames) > 1:
        say(path, f"its sheet {sheet.title!r}, one of {len(book.sheetnames)}")

    def records() -> Records:
        with file, refusing(path, "not an Excel file"):  # rows are read when they are needed
            for line, row in rows:
                cells = dict(zip(names, row))
                yield line, cells if all(map(is_missing, row[len(names) :])) else "more cells than names of columns"

    return File([name for name in names if name], records())


def _json_lines(source: Source) -> File:
    path = source.path

    def records() -> Records:
        for number, line in enumerate(text_lines(source, guess=False), 1):
            if line.strip():
                try:
                    record = json.loads(line)
                    yield number, record if isinstance(record, dict) else Unreadable.of("not a JSON object", line)
                except (ValueError, RecursionError) as error:
                    yield number, Unreadable.of(f"not JSON: {error}", line)

    for number, first in records():
        if isinstance(first, str):
            raise DataError(f"{path}, line {number}: {first}; expected one JSON object a line")
        return File(list(first), records(), varies=True)
    return File([], records())


def _parquet(source: Source, wanted: Collection[str] | None) -> File:
    path = source.path
    parquet = optional("pyarrow.parquet", f"{path}: a Parquet file")
    check_unchanged = watched(path)

    def records() -> Records:
        with refusing(path, "not a Parquet file"):  # pages are read when their rows are
            batches = file.iter_batches(ROWS_AT_A_TIME, columns=None if wanted is None else list(wanted))
            yield from enumerate(itertools.chain.from_iterable(batch.to_pylist() for batch in batches), 1)
        check_unchanged()

    with refusing(path, "not a Parquet file"):
        file = parquet.ParquetFile(source.open())
        names = list(file.schema_arrow.names)
    return File(names, records())


@contextmanager
def refusing(name: str, fault: str = "cannot be read") -> Iterator[None]:
    """Turn any error into a DataError of one line: libraries raise those of many others."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
        text = " ".join(str(reason).split()) or type(reason).__name__
        raise DataError(f"{name}: {fault}: {text[:MOST_CHARACTERS]}") from error
