"""Labelled pairs of questions."""

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamese.errors import DataError
from siamese.text.ragged import Texts

PARTS = ("train", "validation", "test")  # the values of a column `split`


@dataclass(frozen=True)
class Columns:
    """The names of a file's columns; the defaults are Quora's."""

    question1: str = "question1"
    question2: str = "question2"
    label: str = "is_duplicate"
    question: str = "question"  # with `group`: in a file of questions instead of pairs
    group: str = "group"
    duplicate: str | None = None  # the class of duplicates, if the labels of a data set have names that do not say so


@dataclass(frozen=True, repr=False)
class Pairs:
    """n labelled pairs."""

    question1: Texts
    question2: Texts
    labels: np.ndarray  # (n,) int8: 1 duplicates, 0 not, -1 no label
    unseen: np.ndarray | None = None  # (n,) bool: neither question is in the training data, if the file says so
    split: np.ndarray | None = None  # (n,) str: one of PARTS or "", if the file has a column `split`
    id: Texts | None = None  # a name for each pair, if the file has a column `id`
    rows: int = 0  # number of rows in the file
    faults: list[str] = field(default_factory=list)  # the first few faulty rows, with line and reason
    skipped: int = 0  # number of faulty rows

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Pairs({len(self):,} pairs, {self.duplicates:,} duplicates)"

    @property
    def duplicates(self) -> int:
        """Number of pairs with the label 1."""
        return int((self.labels == 1).sum())

    def take(self, which: np.ndarray) -> "Pairs":
        """Return the pairs with the given numbers, or those for which a (n,) bool array is true."""
        which = np.flatnonzero(which) if which.dtype == bool else which
        taken: dict[str, Any] = {}
        for name in ("question1", "question2", "labels", "unseen", "split", "id"):
            if (values := getattr(self, name)) is not None:
                taken[name] = values[which] if isinstance(values, np.ndarray) else values.take(which)
        return dataclasses.replace(self, **taken)

    def part(self, name: str) -> "Pairs | None":
        """Return the pairs of one part of the file's own split, or None if it has none."""
        if self.split is None or not (self.split == name).any():
            return None
        return self.take(self.split == name)

    @classmethod
    def of(cls, question1: Iterable[str], question2: Iterable[str], labels: Iterable[int]) -> "Pairs":
        """Make pairs of Python values, as many of each. A label is 1, 0, or -1 if there is none.

        Raises:
            DataError: a question is not text, a label is another, or there are not as many of each.
        """
        first, second, given = list(question1), list(question2), list(labels)
        if not len(first) == len(second) == len(given):
            raise DataError(f"{len(first)} first and {len(second)} second questions, {len(given)} labels; give as many")
        if wrong := [value for value in (*first, *second) if not isinstance(value, str)]:
            raise DataError(f"a question is {wrong[0]!r:.40}; expected text")
        if others := [value for value in given if value not in (-1, 0, 1)]:
            raise DataError(f"a label is {others[0]!r:.40}; use 1 for duplicates, 0 for others, -1 for none")
        return cls(Texts.of(first), Texts.of(second), np.array(given, np.int8), rows=len(given))


def checksum(pairs: Pairs) -> str:
    """Return a hash of the questions and labels, by which two runs can tell that they have the same data."""
    digest = hashlib.sha256()
    for column in (pairs.question1, pairs.question2):
        digest.update(column.values.tobytes())
        digest.update(column.starts.tobytes())
    digest.update(pairs.labels.tobytes())
    return digest.hexdigest()
