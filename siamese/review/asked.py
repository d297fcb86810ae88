"""The mined pairs that a person is asked about, and the part of them that is hers."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from siamese.errors import UserError
from siamese.mining.found import MILLION, score_of
from siamese.mining.questions import Questions
from siamese.mining.tables import read_pairs
from siamese.text.keys import identity

T = TypeVar("T", list[int], np.ndarray)


@dataclass
class Asked:
    """The pairs of a file that `mine` wrote, without those of a question with a copy of itself."""

    questions: Questions
    pairs: np.ndarray  # (n,) found.PAIR or found.JUDGED, in the file's order
    probability: np.ndarray  # (n,) float64, of being duplicates

    @classmethod
    def read(cls, path: str | Path) -> "Asked":
        """Read the file.

        Raises:
            DataError: it is no file of mined pairs.
            UserError: there is no pair in it.
        """
        questions, pairs, probabilities = read_pairs(path, None)
        if not len(pairs):
            raise UserError(f"{path}: no pairs, so there is nothing to review; mine with a lower --threshold")
        keys = np.array([identity(text) for text in questions.texts], np.uint64)
        pairs = pairs[keys[pairs["first"]] != keys[pairs["second"]]]
        return cls(questions, pairs, np.array([probabilities[s] for s in score_of(pairs).tolist()], float))

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def keys(self) -> list[int]:
        """The identity of each question."""
        return [identity(text) for text in self.questions.texts]

    @cached_property
    def similarity(self) -> np.ndarray:
        """The cosine of each pair, (n,) float64."""
        return self.pairs["millionths"] / MILLION


@dataclass(frozen=True)
class Part:
    """One of several equal parts of what is to be reviewed, for several people."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Return the part that a text such as "1/2" names, or raise a UserError."""
        if found := re.fullmatch(r"(\d{1,6})/(\d{1,6})", text):
            number, count = map(int, found.groups())
            if 1 <= number <= count:
                return cls(number, count)
        raise UserError(f"--part {text}: expected a part such as 1/2, the first of two")

    def of(self, ranked: T) -> T:
        """Return every `count`-th of a ranking, so that each part has its share of the best and the worst."""
        return ranked[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"part {self.number}/{self.count}" if self.count > 1 else ""


WHOLE = Part()
