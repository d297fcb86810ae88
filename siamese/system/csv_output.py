"""Write tables: CSV, all in the same dialect, TSV, JSON lines or Parquet, as the ending of the file says."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamese.errors import UserError
from siamese.system.files import replacing
from siamese.system.optional import optional
from siamese.system.outputs import refuse_labels

# How cells begin that a spreadsheet computes, unless they are numbers, or that already have an apostrophe before that.
_FORMULA = re.compile(r"'*(?:[=@\t\r＝＠]|[+\-＋－](?!\d*\.?\d*$))")
KEEP_TYPES = (".jsonl", ".ndjson", ".parquet")
ROWS, ROOM = 8_192, 1 << 25  # rows and characters of a Parquet file in memory


def check_format(*paths: str | Path | None, only_csv: bool = False) -> None:
    """Raise a UserError if the ending of a file to write is that of no format of tables. A name without one is CSV.

    Args:
        paths: the files; None is none.
        only_csv: whether CSV is the only format.
    """
    for path in paths:
        suffix = "" if path is None else Path(path).suffix.lower()
        if suffix == ".parquet" and not only_csv:
            optional("pyarrow.parquet", f"{path}: a Parquet file")
        elif suffix not in ("", ".csv") and (only_csv or suffix not in (".tsv", ".jsonl", ".ndjson")):
            known = ".csv" if only_csv else ".csv, .tsv, .jsonl or .parquet"
            raise UserError(f"{path}: cannot write the format {suffix!r}; use {known}")


def names_beside(names: Sequence[str], added: Iterable[str], prefix: str) -> list[str]:
    """Return names of columns followed by added ones, which get a prefix if they are taken."""
    found = list(names)
    for name in added:
        while name in found:
            name = prefix + name
        found.append(name)
    return found


def cells_for(path: str | Path | None, cells: Iterable[Any]) -> list[Any]:
    """Return the cells of any file as those of a file to write: missing ones are None, and lists are JSON in CSV."""
    found = [None if cell != cell else cell for cell in cells]  # NaN
    if path is not None and Path(path).suffix.lower() in KEEP_TYPES:
        return found
    return [json.dumps(c, ensure_ascii=False, default=str) if isinstance(c, list | dict) else c for c in found]


@contextmanager
def writing_csv(path: str | Path | None, names: Sequence[str], escape: bool = False) -> Iterator[Any]:
    """Yield a writer of rows, as `csv.writer`, to a file that is written atomically, or None for standard output.

    Args:
        path: the file, whose ending names the format; None prints CSV.
        names: of the columns, written as the first row of CSV and TSV.
        escape: as in `csv_writer`, in CSV and TSV.

    Raises:
        UserError: the ending is that of another format, or the file has labels that a person filled in.
    """
    if path is None:
        yield csv_writer(sys.stdout, names, escape=escape)
        return
    check_format(path)
    refuse_labels(path)  # again, since a person may have filled them in meanwhile
    suffix = Path(path).suffix.lower()
    with replacing(path) as temporary:
        if suffix == ".parquet":
            with _parquet(temporary, names) as writer:
                yield writer
            return
        with open_csv(temporary) as file:
            if suffix in (".jsonl", ".ndjson"):
                yield _Rows(lambda row: file.write(_json(names, row) + "\n"))
            else:
                yield csv_writer(file, names, "\t" if suffix == ".tsv" else ",", escape)


def open_csv(path: str | Path) -> Any:
    """Open a file for `csv_writer`."""
    return open(path, "w", encoding="utf-8", newline="")


def csv_writer(file: Any, names: Sequence[str] = (), delimiter: str = ",", escape: bool = False) -> Any:
    """Return a `csv.writer` to an open file that quotes all text. If there are names, write them as the first row.

    `escape` puts an apostrophe before a text that a spreadsheet would take for a formula, as OWASP advises.
    """
    # Otherwise Python 3.11 would not quote a lone carriage return, which ends a row for a reader.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
    if names:
        writer.writerow(names)
    return _Rows(lambda row: writer.writerow(map(_escaped, row))) if escape else writer


def _escaped(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _json(names: Sequence[str], row: Sequence[Any]) -> str:
    return json.dumps(dict(zip(names, row)), ensure_ascii=False, default=str)


@dataclass
class _Rows:
    """A writer with the methods of `csv.writer`."""

    writerow: Callable[[Sequence[Any]], object]

    def writerows(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self.writerow(row)


@contextmanager
def _parquet(path: Path, names: Sequence[str]) -> Iterator[_Rows]:
    """Yield a writer of blocks of rows. The first block decides the types; a column that has several is text."""
    from pyarrow import parquet

    rows, size, writer = list[Sequence[Any]](), 0, None

    def flush() -> None:
        nonlocal size, writer
        table = _table(rows, names, writer and writer.schema.types)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
        rows.clear()
        size = 0

    def writerow(row: Sequence[Any]) -> None:
        nonlocal size
        rows.append(row)
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if len(rows) == ROWS or size > ROOM:
            flush()

    try:
        yield _Rows(writerow)
        flush()
    finally:
        if writer is not None:
            writer.close()


def _table(rows: Sequence[Sequence[Any]], names: Sequence[str], types: Sequence[Any] | None) -> Any:
    import pyarrow as pa

    columns = list(zip(*rows)) or [()] * len(names)
    return pa.table([_array(*column) for column in zip(columns, types or [None] * len(names))], names)


def _array(cells: Sequence[Any], kind: Any) -> Any:
    import pyarrow as pa

    try:
        array = pa.array(cells, kind)
        if kind is not None or not pa.types.is_null(array.type):
            return array
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if kind not in (None, pa.string()):
            raise UserError(f"a value of a column is no {kind}, unlike those before; write .csv or .jsonl") from None
    return pa.array([cell if cell is None else str(cell) for cell in cells], pa.string())
