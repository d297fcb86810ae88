"""Open tables with named columns: files, data sets and DataFrames."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from siamese.errors import DataError
from siamese.pairs.formats import File, Row, open_file
from siamese.pairs.huggingface import names_data_set, open_data_set


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame, or another table of named columns."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: str, /) -> Iterable[Any]: ...


def open_table(
    path: str | Path, wanted: Collection[str] | None = None, label: str | None = None, duplicate: str | None = None
) -> File:
    """Open a file or a data set, hf:NAME.

    Args:
        path: the file or data set.
        wanted: names of columns; None: all.
        label, duplicate: of pairs, as in `open_data_set`.

    Raises:
        DataError: it cannot be read.
    """
    if names_data_set(path):
        return open_data_set(str(path), label, duplicate if label else None, wanted)
    return open_file(path, wanted)


def names_of(data: Frame) -> list[str]:
    """Return the names of the columns as text. Raise DataError if two columns have the same."""
    names = [str(name) for name in data.columns]
    check_once(names, "the DataFrame", names)
    return names


def column_of(data: Frame, name: str) -> Iterable[Any]:
    """Return a column. Raise DataError if there is none of this name, or two columns have the same."""
    if name not in (names := names_of(data)):
        raise DataError(f"the DataFrame: no column {name!r}; it has {', '.join(map(repr, names[:20]))}")
    return data[name]


def rows_of(data: Frame) -> Iterator[tuple[Any, Row]]:
    """Yield each row with its index."""
    names = [str(name) for name in data.columns]
    values = zip(*(data[name] for name in data.columns))
    for index, row in zip(getattr(data, "index", range(2**63)), values):
        yield index, dict(zip(names, row))


def check_has(file: File, path: str | Path, columns: Iterable[str]) -> None:
    """Raise DataError unless an open file has each of these columns once."""
    for name in columns:
        if name not in file.names:
            raise DataError(f"{path}, line 1: no column {name!r}; it has {', '.join(map(repr, file.names[:20]))}")
    check_once(file.names, f"{path}, line 1", columns)


def check_once(names: Sequence[str], place: str, wanted: Iterable[str]) -> None:
    """Raise DataError, which begins with `place`, if two of the names are the same wanted one."""
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise DataError(f"{place}: two columns are called {twice[0]!r}; rename one")
