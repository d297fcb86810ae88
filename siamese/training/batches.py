"""Batches (b1, b2) of duplicate questions, with labelled non-duplicates beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.text.ragged import Tokens


@dataclass(frozen=True)
class PairTokens:
    """n labelled pairs as token ids."""

    first: Tokens  # n questions
    second: Tokens  # n questions
    labels: np.ndarray  # (n,) int8, 1 for duplicates
    clusters: np.ndarray  # (n,) int64: duplicate cluster of the pair's first question
    targets: np.ndarray | None = None  # (n, 2, d): a teacher's vectors of the two questions


@dataclass(frozen=True)
class Share:
    """The share that process `rank` of `count` processes has of everything they divide."""

    rank: int = 0
    count: int = 1

    def of(self, n: int) -> slice:
        """Return the part of n things that belongs to this process; all parts in order make up the whole."""
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def collected(self, own: Any) -> list[Any]:
        """Gather an object from each process, in the order of their ranks. Here there is one process."""
        return [own]


@dataclass(frozen=True)
class Batch:
    """B pairs of duplicates (b1[i], b2[i]) and M labelled non-duplicates (n1[i], n2[i]), or a process's share of both.

    `b1, b2 = batch` unpacks the duplicates.
    """

    b1: Tokens  # B questions, or a share of them
    b2: Tokens
    clusters: np.ndarray  # (B,) int64, of the whole batch; equal numbers mean the same question
    n1: Tokens  # M questions, or a share of them
    n2: Tokens
    targets: np.ndarray | None = None  # (2B + 2M, d): a teacher's vectors of b1, b2, n1 and n2, stacked
    share: Share = Share()
    others: int | None = None  # M of the whole batch; None: len(n1)

    def __iter__(self) -> Iterator[Tokens]:
        return iter((self.b1, self.b2))

    @property
    def sizes(self) -> tuple[int, int]:
        """B and M of the whole batch."""
        return len(self.clusters), len(self.n1) if self.others is None else self.others

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of b1, b2, n1 and n2, stacked, among those of the whole batch."""
        b, m = self.sizes
        i, j = np.arange(b)[self.share.of(b)], np.arange(m)[self.share.of(m)]
        return np.concatenate((i, b + i, 2 * b + j, 2 * b + m + j))

    def same(self, rows: slice = slice(None)) -> np.ndarray:
        """Return (B, B) bool, or some rows of it: True for known duplicates off the diagonal."""
        same = self.clusters[rows, None] == self.clusters[None, :]
        i = np.arange(len(same))
        same[i, np.arange(len(self.clusters))[rows]] = False
        return same


def number_of_batches(duplicates: int, batch_size: int, drop_last: bool, wrap: bool = False) -> int:
    """Return the number of batches of an epoch."""
    if wrap:  # an epoch of Trax ends with the batch that reaches past the end
        return -(-duplicates // batch_size)
    whole, rest = divmod(duplicates, batch_size)
    # A single pair has no negatives, so a rest of one is dropped, too.
    return whole + (rest >= 2 and not drop_last)


def data_generator(
    pairs: PairTokens, batch_size: int, *, seed: int, epoch: int = 0, shuffle: bool = True, swap: bool = True,
    drop_last: bool = False, wrap: bool = False, negatives: bool = False, start: int = 0, share: Share = Share(),
) -> Iterator[Batch]:  # fmt: skip
    """Yield the batches of one epoch.

    Args:
        pairs: duplicates and non-duplicates.
        batch_size: duplicates per batch, 2 or more.
        seed, epoch: determine the order and the swapping, so an epoch can be repeated.
        shuffle: use a new order for each epoch.
        swap: exchange the two sides of each pair with probability ½.
        drop_last: drop the last batch if it is smaller than the others.
        wrap: fill the last batch from the next shuffle instead, as the published Trax generator does; such a batch can
            hold a pair twice.
        negatives: spread the labelled non-duplicates evenly over the batches.
        start: skip the first `start` batches.
        share: yield only a process's part of each batch.
    """
    random = np.random.default_rng((seed, epoch))
    duplicates, others = np.flatnonzero(pairs.labels == 1), np.flatnonzero(pairs.labels == 0)
    n, count = len(duplicates), number_of_batches(len(duplicates), batch_size, drop_last, wrap)
    if count == 0:
        return
    if wrap:
        # One endless stream of shuffles; each epoch begins at the end of the last one.
        begin, end = epoch * count * batch_size, (epoch + 1) * count * batch_size
        shuffles = [np.random.default_rng((seed, k)) for k in range(begin // n, -(-end // n))]
        stream = np.concatenate([k.permutation(duplicates) if shuffle else duplicates for k in shuffles])
        duplicates = stream[begin % n :]
    elif shuffle:
        duplicates = random.permutation(duplicates)
    others = random.permutation(others) if negatives else others[:0]
    shares = np.array_split(others, count)
    if swap and start:  # draw what the skipped batches would have drawn
        random.random(len(duplicates[: start * batch_size]) + sum(map(len, shares[:start])))
    for i in range(start, count):
        chosen = duplicates[i * batch_size : (i + 1) * batch_size]
        # Draw for the whole batch, so that it is the same for any number of processes.
        swapped = [random.random(len(part)) < 0.5 if swap else False for part in (chosen, shares[i])]
        b1, b2, b_targets = _sides(pairs, chosen, swapped[0], share)
        n1, n2, n_targets = _sides(pairs, shares[i], swapped[1], share)
        targets = None if b_targets is None or n_targets is None else np.concatenate((b_targets, n_targets))
        yield Batch(b1, b2, pairs.clusters[chosen], n1, n2, targets, share, len(shares[i]))


def _sides(
    pairs: PairTokens, which: np.ndarray, swapped: np.ndarray | bool, share: Share
) -> tuple[Tokens, Tokens, np.ndarray | None]:
    """Return the first and second questions of a share of the pairs, and their targets, stacked, if there are any.

    `swapped` (n,) marks the pairs to exchange.
    """
    part = share.of(len(which))
    which, swapped = which[part], np.broadcast_to(swapped, len(which))[part]
    both, i, n = pairs.first.take(which).join(pairs.second.take(which)), np.arange(len(which)), len(which)
    b1, b2 = both.take(np.where(swapped, n + i, i)), both.take(np.where(swapped, i, n + i))
    if pairs.targets is None:
        return b1, b2, None
    i, side = np.tile(which, 2), np.concatenate((swapped, ~swapped)).astype(int)
    return b1, b2, pairs.targets[i, side]
