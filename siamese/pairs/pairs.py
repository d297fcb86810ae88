"""Labelled pairs of questions."""

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamese.text.ragged import Texts

PARTS = ("train", "validation", "test")  # the values of a column `split`


@dataclass(frozen=True)
class Columns:
    """The names of a file's columns; the defaults are Quora's."""

    question1: str = "question1"
    question2: str = "question2"
    label: str = "is_duplicate"
    question: str = "question"  # with `group`: a file of questions instead of pairs
    group: str = "group"


@dataclass(frozen=True, repr=False)
class Pairs:
    """n labelled pairs."""

    question1: Texts
    question2: Texts
    labels: np.ndarray  # (n,) int8: 1 duplicates, 0 not, -1 no label
    unseen: np.ndarray | None = None  # (n,) bool: neither question is in the training data, where the file says so
    split: np.ndarray | None = None  # (n,) str: one of PARTS or "", where the file has a column `split`
    id: Texts | None = None  # a name of each pair, where the file has a column `id`
    rows: int = 0  # in the file
    faults: list[str] = field(default_factory=list)  # the first few faulty rows, with line and reason
    skipped: int = 0  # how many rows were faulty

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Pairs({len(self):,} pairs, {self.duplicates:,} duplicates)"

    @property
    def duplicates(self) -> int:
        """The number of pairs with the label 1."""
        return int((self.labels == 1).sum())

    def take(self, which: np.ndarray) -> "Pairs":
        """The pairs with the given numbers, or where a (n,) bool array is true."""
        which = np.flatnonzero(which) if which.dtype == bool else which
        columns = {name: getattr(self, name) for name in ("question1", "question2", "labels", "unseen", "split", "id")}
        taken: dict[str, Any] = {
            name: values[which] if isinstance(values, np.ndarray) else values.take(which)
            for name, values in columns.items()
            if values is not None
        }
        return dataclasses.replace(self, **taken)

    def part(self, name: str) -> "Pairs | None":
        """The pairs of one part of the file's own split, or None where it has none."""
        if self.split is None or not (self.split == name).any():
            return None
        return self.take(self.split == name)

    @classmethod
    def of(cls, question1: Iterable[str], question2: Iterable[str], labels: Iterable[int]) -> "Pairs":
        """Pairs from Python values."""
        values = np.array(list(labels), np.int8)
        return cls(Texts.of(question1), Texts.of(question2), values, rows=len(values))


def checksum(pairs: Pairs) -> str:
    """A hash of the questions and labels, which says whether two runs have the same data."""
    digest = hashlib.sha256()
    for column in (pairs.question1, pairs.question2):
        digest.update(column.values.tobytes())
        digest.update(column.starts.tobytes())
    digest.update(pairs.labels.tobytes())
    return digest.hexdigest()
