"""Read records from CSV, TSV, JSON lines or Parquet files, with the line and the fault of each."""

import csv
import itertools
import json
import os
import stat
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from siamese.errors import DataError, UserError
from siamese.pairs.cells import Refused
from siamese.system.optional import optional

SUFFIXES = ".csv, .tsv, .jsonl or .parquet"
FAULTS_SHOWN = 5  # faulty rows that a message describes
ROWS_AT_A_TIME = 8_192  # rows of a data set in memory as objects
PARQUET_ROWS = 256  # rows of a Parquet file in memory as objects; a small file can hold large ones
MOST_LINES = 100  # lines of one row of a CSV or TSV file
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
    path = _existing(path)
    readers = {".csv": _delimited, ".tsv": _delimited, ".jsonl": _json_lines, ".ndjson": _json_lines}
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, wanted)
    if suffix not in readers:
        raise DataError(f"{path}: cannot tell the format from {path.suffix!r}; expected {SUFFIXES}")
    return readers[suffix](path)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file; expected a {SUFFIXES} file")
    if not path.is_file():
        raise DataError(f"{path}: a folder, expected a {SUFFIXES} file")
    return path


def text_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file. Raise DataError if it changes meanwhile, or with the line if it is not UTF-8."""
    path = _existing(path)
    check_unchanged = watched(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
        check_unchanged()
    except UnicodeDecodeError:
        with open(path, "rb") as binary:
            for number, line in enumerate(binary, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    where, reason = f"{path}, line {number}", f"not UTF-8 text ({error.reason})"
                    raise DataError(f"{where}: {reason}; expected a {SUFFIXES} file in UTF-8") from None
        raise


class _Rereadable:
    """Lines that can be read again from the second one after the last mark."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.pending, self.read, self.number = lines, deque[str](), list[str](), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.read) == MOST_LINES:  # otherwise a file of stray quotes takes quadratic time
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


def _delimited(path: Path) -> File:
    lines = _Rereadable(text_lines(path))
    # Strict, so that a stray quote is an error instead of a field that swallows what follows.
    reader = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)

    def records() -> Records:
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
                if len(row) == len(names):
                    yield line, dict(zip(names, row))
                    continue
                if not row:
                    continue  # an empty line
                fault = f"{len(row)} fields, expected {len(names)}"
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


def _json_lines(path: Path) -> File:
    def records() -> Records:
        for number, line in enumerate(text_lines(path), 1):
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


def _parquet(path: Path, wanted: Collection[str] | None) -> File:
    parquet = optional("pyarrow.parquet", f"{path}: a Parquet file")
    check_unchanged = watched(path)

    def records() -> Records:
        with refusing(str(path), "not a Parquet file"):  # pages are read when their rows are
            batches = file.iter_batches(PARQUET_ROWS, columns=None if wanted is None else list(wanted))
            yield from enumerate(itertools.chain.from_iterable(batch.to_pylist() for batch in batches), 1)
        check_unchanged()

    with refusing(str(path), "not a Parquet file"):
        file = parquet.ParquetFile(path)
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


def watched(path: str | Path) -> Callable[[], None]:
    """Return a function that raises DataError if a file has changed by then, so that what was read may be neither."""

    def state() -> tuple[int, ...]:
        try:
            found = os.stat(path)
        except OSError:
            return ()
        return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else ()

    def check() -> None:
        if state() != before:
            raise DataError(f"{path}: changed while it was read; run the command again")

    before = state()
    return check
