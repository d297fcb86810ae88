"""Batches (b1, b2) of duplicate questions, and labelled non-duplicates beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from siamese.text import Tokens


@dataclass(frozen=True)
class PairTokens:
    """Labelled pairs, ready for training: every question as token ids."""

    first: Tokens  # n questions
    second: Tokens  # n questions
    labels: np.ndarray  # (n,) int8, 1 for duplicates
    clusters: np.ndarray  # (n,) int64: the duplicate cluster of the pair's first question


@dataclass(frozen=True)
class Batch:
    """B pairs of duplicates, b1[i] with b2[i], and M labelled non-duplicates.

    `b1, b2 = batch` gives the duplicates alone.
    """

    b1: Tokens  # B questions
    b2: Tokens  # B questions
    clusters: np.ndarray  # (B,) int64: equal numbers mean the same question
    n1: Tokens  # M questions
    n2: Tokens  # M questions; n1[i] and n2[i] are labelled as not duplicates

    def __iter__(self) -> Iterator[Tokens]:
        return iter((self.b1, self.b2))

    @property
    def same(self) -> np.ndarray:
        """(B, B) bool: off the diagonal, the pairs of a row and a column known to be duplicates."""
        same = self.clusters[:, None] == self.clusters[None, :]
        np.fill_diagonal(same, False)
        return same


def number_of_batches(duplicates: int, batch_size: int, drop_last: bool, wrap: bool = False) -> int:
    """How many batches an epoch has."""
    if wrap:  # Trax's epoch ends with the batch that reaches past the end
        return -(-duplicates // batch_size)
    whole, rest = divmod(duplicates, batch_size)
    # A single pair has no negatives, so a rest of one is left out as well.
    return whole + (rest >= 2 and not drop_last)


def data_generator(
    pairs: PairTokens,
    batch_size: int,
    *,
    seed: int,
    epoch: int = 0,
    shuffle: bool = True,
    swap: bool = True,
    drop_last: bool = False,
    wrap: bool = False,
    negatives: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of one epoch.

    Args:
        pairs: duplicates and, where there are any, non-duplicates.
        batch_size: duplicates a batch, 2 or more.
        seed, epoch: the order and the swapping depend on these two alone, so
            that an epoch can be made again.
        shuffle: in a new order, else as they come.
        swap: exchange the two sides of each pair with probability ½.
        drop_last: leave out the last batch where it is smaller than the others.
        wrap: fill the last batch from a new shuffle instead (the published Trax
            generator; such a batch can hold a pair twice).
        negatives: spread the labelled non-duplicates evenly over the batches.
    """
    random = np.random.default_rng((seed, epoch))
    duplicates, others = np.flatnonzero(pairs.labels == 1), np.flatnonzero(pairs.labels == 0)
    n, count = len(duplicates), number_of_batches(len(duplicates), batch_size, drop_last, wrap)
    if count == 0:
        return
    if wrap:
        # One endless stream of shuffles; an epoch begins where the last one ended.
        begin, end = epoch * count * batch_size, (epoch + 1) * count * batch_size
        shuffles = [np.random.default_rng((seed, k)) for k in range(begin // n, -(-end // n))]
        stream = np.concatenate([k.permutation(duplicates) if shuffle else duplicates for k in shuffles])
        duplicates = stream[begin % n :]
    elif shuffle:
        duplicates = random.permutation(duplicates)
    others = random.permutation(others) if negatives else others[:0]
    shares = np.array_split(others, count)
    for i in range(count):
        chosen = duplicates[i * batch_size : (i + 1) * batch_size]
        b1, b2 = sides(pairs, chosen, random if swap else None)
        n1, n2 = sides(pairs, shares[i], random if swap else None)
        yield Batch(b1, b2, pairs.clusters[chosen], n1, n2)


def sides(pairs: PairTokens, which: np.ndarray, random: "np.random.Generator | None") -> tuple[Tokens, Tokens]:
    """The first and the second questions of some pairs, exchanged at random where `random` is given."""
    b1, b2 = pairs.first.take(which), pairs.second.take(which)
    if random is None:
        return b1, b2
    n, swapped = len(which), random.random(len(which)) < 0.5
    both, i = b1.join(b2), np.arange(n)
    return both.take(np.where(swapped, n + i, i)), both.take(np.where(swapped, i, n + i))


def pad(b1: Tokens, b2: Tokens, padding: str, pad_id: int) -> tuple[Tokens, Tokens]:
    """Fill questions up as the published editions did.

    "power-of-two": both sides to the next power of two of the longest question
    of either (Trax); "longest": each side to its own longest (TensorFlow);
    "none": as they are.
    """
    if padding == "none":
        return b1, b2
    longest1, longest2 = (max(1, int(b.lengths.max(initial=0))) for b in (b1, b2))
    if padding == "power-of-two":
        longest1 = longest2 = 1 << (max(longest1, longest2) - 1).bit_length()
    return b1.padded(longest1, pad_id), b2.padded(longest2, pad_id)
