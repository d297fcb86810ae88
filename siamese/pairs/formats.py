"""Reading files of records, CSV, TSV, JSON lines or Parquet, with the line of each and what is wrong with it."""

import csv
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamese.errors import DataError
from siamese.system.optional import optional

SUFFIXES = ".csv, .tsv, .jsonl or .parquet"
FAULTS_SHOWN = 5  # faulty rows that are described one by one
ROWS_AT_A_TIME = 8_192  # of a Parquet file that are held as objects
MOST_LINES = 100  # of the file in one row of a CSV or TSV file

Row = Mapping[str, Any]  # column to value
Check = Callable[[Row], str | None]  # what is wrong with a record, or None


@dataclass(frozen=True)
class File:
    """An open file: its columns, and its records with their lines.

    A record that cannot be read comes as a string that says why.
    """

    names: list[str]
    records: Iterator[tuple[int, Row | str]]


@dataclass
class Faults:
    """Counts the faulty rows of a file or a table, and keeps the first few with line and reason."""

    path: str
    place: str = "line"  # what the number of a row counts
    strict: bool = False  # one faulty row is too many
    rows: int = 0
    count: int = 0
    shown: list[str] = field(default_factory=list)

    def without(self, records: Iterator[tuple[int, Row | str]], check: Check) -> Iterator[Row]:
        """The records that could be read and that the check finds no fault with."""
        for line, record in records:
            self.rows += 1
            fault = record if isinstance(record, str) else check(record)
            if not fault:
                yield record  # type: ignore[misc]
                continue
            self.count += 1
            if len(self.shown) < FAULTS_SHOWN:
                self.shown.append(f"{self.path}, {self.place} {line}: {fault}")

    def check(self) -> None:
        """Raise a DataError if more than 1 % of the rows, and more than two, are faulty; if strict, if one is."""
        if self.strict and self.count:
            raise DataError(f"{self.path}: {self.count} of {self.rows} rows are faulty; mend or remove them{self}")
        if self.count > max(2, self.rows / 100):
            raise DataError(
                f"{self.path}: {self.count} of {self.rows} rows are faulty, more than 1 %; mend or remove them{self}"
            )

    def __str__(self) -> str:
        """The first few in one line below what is said of them."""
        return "\n  " + "; ".join(fault.removeprefix(f"{self.path}, ") for fault in self.shown) if self.shown else ""


def open_file(path: str | Path) -> File:
    """Open a file by its ending.

    Raises:
        DataError: no such file, a folder, an ending or a content that is none of these formats.
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _delimited(path, "," if suffix == ".csv" else "\t")
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".parquet":
        return _parquet(path)
    raise DataError(f"{path}: cannot tell the format from {path.suffix!r}; expected {SUFFIXES}")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file; expected a {SUFFIXES} file")
    if not path.is_file():
        raise DataError(f"{path}: a folder, expected a {SUFFIXES} file")
    return path


def text_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 file; DataError with the line where it is not one."""
    path = _existing(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError:
        with open(path, "rb") as binary:
            for number, line in enumerate(binary, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}, line {number}: not UTF-8 text ({error.reason}); expected a {SUFFIXES} file in UTF-8"
                    ) from None
        raise


class _Rereadable:
    """Lines that remember what was read since the last mark, and can take it back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.pending, self.read, self.number = lines, deque[str](), list[str](), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.read) == MOST_LINES:  # else a file of stray quotes takes quadratic time
            raise csv.Error(f"more than {MOST_LINES} lines in one row; is a quote not closed?")
        line = self.pending.popleft() if self.pending else next(self.lines)
        self.read.append(line)
        self.number += 1
        return line

    def mark(self) -> None:
        self.read.clear()

    def back_to_second(self) -> None:
        """Take back all but the first line since the mark."""
        self.pending.extendleft(reversed(self.read[1:]))
        self.number -= len(self.read) - 1


def _delimited(path: Path, delimiter: str) -> File:
    lines = _Rereadable(text_lines(path))
    # Strict, so that a stray quote is an error and not a field that swallows what follows.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)

    def records() -> Iterator[tuple[int, Row | str]]:
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
            lines.back_to_second()  # a stray quote costs its own line only
            yield line, fault

    names: list[str] = []
    while not any(names):
        line = lines.number + 1
        try:
            names = [name.strip() for name in next(reader)]
        except StopIteration:
            return File([], records())
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}; expected a line with the names of the columns") from None
    return File(names, records())


def _json_lines(path: Path) -> File:
    def records() -> Iterator[tuple[int, Row | str]]:
        for number, line in enumerate(text_lines(path), 1):
            if line.strip():
                try:
                    record = json.loads(line)
                    yield number, record if isinstance(record, dict) else "not a JSON object"
                except (ValueError, RecursionError) as error:
                    yield number, f"not JSON: {error}"

    for number, first in records():
        if isinstance(first, str):
            raise DataError(f"{path}, line {number}: {first}; expected one JSON object a line")
        return File(list(first), records())
    return File([], records())


def _parquet(path: Path) -> File:
    parquet = optional("pyarrow.parquet", f"{path}: a Parquet file")
    from pyarrow import ArrowException

    @contextmanager
    def refusing() -> Iterator[None]:
        try:
            yield
        except (ArrowException, ValueError, OSError, ArithmeticError) as error:
            raise DataError(f"{path}: not a Parquet file: {error}") from None

    def records() -> Iterator[tuple[int, Row | str]]:
        with refusing():  # a page is read when its rows are wanted
            rows = itertools.chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(ROWS_AT_A_TIME))
            yield from enumerate(rows, 1)

    with refusing():
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
    return File(names, records())
