"""CSV files for other programs, in one form everywhere."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from siamese.system.files import replacing


@contextmanager
def writing_csv(path: str | Path | None, names: Sequence[str]) -> Iterator[Any]:
    """Write a CSV file whole or not at all; None prints it.

    Args:
        path: the file.
        names: of the columns, the first row.

    Returns:
        A `csv.writer` for the other rows.
    """
    if path is None:
        yield _writer(sys.stdout, names)
        return
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        yield _writer(file, names)


def _writer(file: Any, names: Sequence[str]) -> Any:
    # Text is always quoted: Python 3.11 would leave a lone carriage return bare, which ends a row for a reader.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(names)
    return writer
