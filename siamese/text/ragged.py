"""Rows of different lengths in one flat array: texts, or the token ids of questions and their padding."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

ROWS_AT_A_TIME = 65_536  # rows that `take` copies at a time, to bound the memory of its index


@dataclass(frozen=True, eq=False, repr=False)
class Ragged:
    """n rows, one after the other, without a Python object for each."""

    values: np.ndarray  # (total,)
    starts: np.ndarray  # (n + 1,) int64; row i is values[starts[i]:starts[i + 1]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} rows)"

    @property
    def lengths(self) -> np.ndarray:
        """The number of values in each row, (n,) int64."""
        return np.diff(self.starts)

    def take(self, which: np.ndarray) -> Self:
        """Return the rows with the given numbers, in that order."""
        lengths = self.lengths[which]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        values = np.empty(starts[-1], self.values.dtype)
        for first in range(0, len(which), ROWS_AT_A_TIME):
            part = slice(first, first + ROWS_AT_A_TIME)
            low, high = starts[first], starts[min(first + ROWS_AT_A_TIME, len(which))]
            # Value j of the result, in row r, comes from the start of row r here plus the offset of j within r.
            shift = np.repeat(self.starts[which[part]] - starts[:-1][part], lengths[part])
            values[low:high] = self.values[np.arange(low, high) + shift]
        return type(self)(values, starts)

    def join(self, other: Self) -> Self:
        """Return these rows followed by those of `other`."""
        starts = np.concatenate((self.starts, other.starts[1:] + self.starts[-1]))
        return type(self)(np.concatenate((self.values, other.values)), starts)


class Texts(Ragged, Sequence[str]):
    """Strings, stored as UTF-8 bytes and read like a list."""

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        i = range(len(self))[i]  # counts from the end if negative
        return self.values[self.starts[i] : self.starts[i + 1]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Texts":
        """Store strings, which may come from a generator."""
        buffer, starts = bytearray(), array("q", [0])
        for string in strings:
            buffer += string.encode("utf-8", "surrogatepass")
            starts.append(len(buffer))
        return cls(np.frombuffer(buffer, np.uint8), np.frombuffer(starts, np.int64))


class Tokens(Ragged):
    """The token ids of n questions."""

    def __getitem__(self, i: int) -> np.ndarray:
        i = range(len(self))[i]
        return self.ids[self.starts[i] : self.starts[i + 1]]

    @property
    def ids(self) -> np.ndarray:
        """The ids of all questions, one question after the other, (total,) int32."""
        return self.values

    @classmethod
    def of(cls, lists: Iterable[Iterable[int]]) -> "Tokens":
        """Join lists of ids, one for each question. They may come from a generator."""
        ids, starts = array("i"), array("q", [0])
        for one in lists:
            ids.extend(one)
            starts.append(len(ids))
        return cls(np.array(ids, np.int32), np.array(starts, np.int64))

    def padded(self, length: int, pad: int) -> "Tokens":
        """Return the questions, each filled up to `length` tokens with the id `pad`."""
        filled = np.full((len(self), length), pad, np.int32)
        filled[np.arange(length) < self.lengths[:, None]] = self.ids
        return Tokens(filled.ravel(), np.arange(len(self) + 1) * length)


def pad(b1: Tokens, b2: Tokens, padding: str, pad_id: int) -> tuple[Tokens, Tokens]:
    """Pad the questions of a batch as the published editions did.

    Args:
        b1, b2: the two sides of the batch.
        padding: "power-of-two": both sides to the next power of two of the longest question of either (Trax);
            "longest": each side to its own longest question (TensorFlow); "none": not at all.
        pad_id: the id of the padding.
    """
    if padding == "none":
        return b1, b2
    longest1, longest2 = (max(1, int(b.lengths.max(initial=0))) for b in (b1, b2))
    if padding == "power-of-two":
        longest1 = longest2 = 1 << (max(longest1, longest2) - 1).bit_length()
    return b1.padded(longest1, pad_id), b2.padded(longest2, pad_id)
