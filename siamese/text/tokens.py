"""Token ids of questions, and the padding of the published editions."""

from array import array
from collections.abc import Iterable

import numpy as np

from siamese.text.ragged import Ragged


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
