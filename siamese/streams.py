"""Files of questions that need not fit in memory: reading and encoding them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from siamese.errors import DataError
from siamese.files import replacing
from siamese.huggingface import open_rows
from siamese.model import SiameseModel
from siamese.reading import text_lines

BLOCK = 65_536  # questions that are held at a time


@dataclass(frozen=True)
class Record:
    """A question of a file."""

    line: int  # or row, in a Parquet file
    id: str | None  # None where the file has no ids, or an empty one here
    question: str


def read_questions(path: str | Path, column: str = "question") -> Iterator[str]:
    """The questions of a file, one after the other; see `read_records`."""
    return (record.question for record in read_records(path, column))


def read_records(path: str | Path, column: str = "question", id_column: str | None = None) -> Iterator[Record]:
    """The questions of a file with their lines and ids, one after the other.

    A .txt file holds one question a line; the other formats have them in a
    column. Empty questions are kept, so that the i-th result belongs to
    question i.

    Args:
        path: the file.
        column: the questions' column.
        id_column: the ids' column; None: `id`, where there is one.

    Raises:
        DataError: no such file or column, a row that cannot be read.
    """
    if Path(path).suffix.lower() == ".txt":
        if id_column is not None:
            raise DataError(f"{path}: one question a line, so there is no column {id_column!r} of ids")
        for line, text in enumerate(text_lines(path), 1):
            yield Record(line, None, text.rstrip("\r\n"))
        return
    file = open_rows(path)
    for name in (column, *([id_column] if id_column is not None else [])):
        if name not in file.names:
            raise DataError(f"{path}, line 1: no column {name!r}; it has {', '.join(map(repr, file.names[:20]))}")
    for line, record in file.records:
        if isinstance(record, str):
            raise DataError(f"{path}, line {line}: {record}; every row is needed, so mend or remove it")
        id = record.get(id_column or "id")
        yield Record(line, None if id in (None, "") else str(id), str(record.get(column) or ""))


def encode_file(
    model: SiameseModel,
    path: str | Path,
    out: str | Path,
    column: str = "question",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the vectors of a file's questions as a .npy array (n, d) float32; the number of questions.

    The file is read twice, first to count; at most 65,536 questions are held.
    """
    total = sum(1 for _ in read_questions(path, column))
    questions, done = read_questions(path, column), 0
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
    with replacing(out) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (total, model.dimensions)})
        while block := list(islice(questions, BLOCK)):
            file.write(model.encode(block).astype(np.float32, copy=False).tobytes())
            done += len(block)
            progress(done, total)
    return total
