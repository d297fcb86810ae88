"""Write CSV files, all in the same dialect."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from siamese.system.files import replacing


@contextmanager
def writing_csv(path: str | Path | None, names: Sequence[str]) -> Iterator[Any]:
    """Yield a `csv.writer` to a file that is written atomically, or to standard output if `path` is None.

    Args:
        path: the file, or None.
        names: of the columns, written as the first row.
    """
    if path is None:
        yield csv_writer(sys.stdout, names)
        return
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        yield csv_writer(file, names)


def csv_writer(file: Any, names: Sequence[str] = ()) -> Any:
    """Return a `csv.writer` to an open file that quotes all text. If there are names, write them as the first row."""
    # Otherwise Python 3.11 would not quote a lone carriage return, which ends a row for a reader.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    if names:
        writer.writerow(names)
    return writer
