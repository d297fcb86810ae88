"""Labelled pairs from Python: a DataFrame, a file or `Pairs`. pandas is not imported."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from siamese.errors import DataError
from siamese.pairs.formats import Faults, File, Row
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import QUORA, pairs_of_rows, read_pairs


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame, or another table of named columns."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: str, /) -> Iterable[Any]: ...


PairsLike = Pairs | Frame | str | Path


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
    file, faults = File(names_of(data), _rows(data, columns.label)), Faults("the DataFrame", "row", True)
    return pairs_of_rows(file, faults, columns, need=need)


def name_of(data: PairsLike) -> str:
    """Return the name of pairs for a message: the path of their file, or "the pairs"."""
    return str(data) if isinstance(data, str | Path) else "the pairs"


def names_of(data: Frame) -> list[str]:
    """Return the names of the columns as text. Raise DataError if two columns have the same."""
    names = [str(name) for name in data.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"the DataFrame: two columns are called {twice[0]!r}; rename one")
    return names


def _rows(data: Frame, label: str) -> Iterator[tuple[Any, Row]]:
    """Yield each row with its index; NaN becomes None, except in labels, where a message shows the value."""
    names = [str(name) for name in data.columns]
    values = zip(*(data[name] for name in data.columns))
    for index, row in zip(getattr(data, "index", range(2**63)), values):
        yield index, {n: None if n != label and is_missing(value) else value for n, value in zip(names, row)}


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas's NA, which do not equal themselves."""
    return value is None or str(value == value) in ("False", "<NA>")
