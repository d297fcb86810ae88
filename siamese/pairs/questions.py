"""Files of questions that need not fit in memory: reading and encoding them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from siamese.errors import DataError
from siamese.pairs.formats import text_lines
from siamese.pairs.reading import open_records


@dataclass(frozen=True)
class QuestionRow:
    """A question of a file."""

    line: int  # or row, in a Parquet file
    id: str | None  # None where the file has no ids, or an empty one here
    question: str


def read_questions(path: str | Path, column: str = "question") -> Iterator[str]:
    """The questions of a file, one after the other; see `read_records`."""
    return (record.question for record in read_records(path, column))


def read_records(path: str | Path, column: str = "question", id_column: str | None = None) -> Iterator[QuestionRow]:
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
            yield QuestionRow(line, None, text.rstrip("\r\n"))
        return
    file = open_records(path)
    for name in (column, *([id_column] if id_column is not None else [])):
        if name not in file.names:
            raise DataError(f"{path}, line 1: no column {name!r}; it has {', '.join(map(repr, file.names[:20]))}")
    for line, record in file.records:
        if isinstance(record, str):
            raise DataError(f"{path}, line {line}: {record}; every row is needed, so mend or remove it")
        id = record.get(id_column or "id")
        yield QuestionRow(line, None if id in (None, "") else str(id), str(record.get(column) or ""))
