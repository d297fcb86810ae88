"""The approximate join: only vectors that share a cell are compared.

The centres of k cells are learned by k-means on a part of the vectors (on the sphere: a centre is the mean of its
vectors, brought to length 1), and each vector belongs to the p cells with the nearest centres. Within a cell the join
is exact. A pair that shares several cells belongs to the first of them, so that it is found once, and cells can be
joined in any order, by any number of machines.

How many pairs that loses is measured before anything is joined: for a sample of the questions all their pairs are found
exactly, and a pair would be found if its two vectors share a cell. p is the smallest with which enough of them do, on
one half of the sample; the recall that is reported is that of the other half.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.errors import UserError
from siamese.mining.exact import TILE, Vectors, candidates, cells_above, scored
from siamese.mining.found import Wanted

RECALL = 0.99  # of the pairs above the threshold that shall be found
MOST_CELLS = 32  # that a vector may belong to
CELLS = 2.0  # of n vectors there are CELLS · √n cells: finding them and joining them then cost about as much
SHAPE = 256  # a cell's vectors are filled up to a multiple of it
LEARNED_ON = 64  # vectors a cell, to learn its centre
ROUNDS = 8  # of k-means
SAMPLE = 16_384  # questions, at least, whose pairs are found exactly; with a quarter the interval fails in 7 of 100
ENOUGH = 1_000  # of these that have pairs; where they are fewer, more are sampled,
SHARE = 0.1  # but no more than this share of all
UNPROVEN = 4  # cells a vector, where the sample has too few pairs to choose by
TAIL = 0.025  # outside either end of the recall's 95 % interval
NORMAL = 1.96  # standard errors that leave as much outside


@dataclass(frozen=True)
class Recall:
    """The share of the exact pairs that is found, on questions that no choice was made on, with a 95 % interval."""

    value: float
    low: float
    high: float
    pairs: int  # that it was measured on

    def __str__(self) -> str:
        return f"{self.value:.4f} (95 % interval {self.low:.4f} to {self.high:.4f}, on {self.pairs:,} exact pairs)"


@dataclass(frozen=True)
class Cells:
    """Which of n vectors lie in which of the cells from `first` on: all cells, or those that one worker joins."""

    of: np.ndarray  # (n, p) int32, the cells of each vector
    members: np.ndarray  # the vectors of each cell, in ascending order
    starts: np.ndarray  # (cells + 1,) where those of a cell begin
    first: int = 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def between(cls, of: np.ndarray, first: int, stop: int) -> "Cells":
        """The cells from `first` up to `stop`, by the p cells of each vector, (n, p) int32."""
        order = np.argsort(of.ravel(), kind="stable")
        starts = np.searchsorted(of.ravel()[order], np.arange(first, stop + 1))
        return cls(of, (order // of.shape[1]).astype(np.int32), starts, first)

    def join(self, vectors: Vectors, cell: int, wanted: Wanted, split: int | None = None) -> np.ndarray:
        """Every pair that is wanted and belongs to a cell; found.PAIR, ordered by first and second.

        Args:
            vectors: the n vectors.
            cell: from `first` on.
            wanted: which pairs are.
            split: where it is given, only pairs of one of the first `split` vectors with one of the others.
        """
        members = self.members[self.starts[cell - self.first] : self.starts[cell - self.first + 1]]
        # Filled up with zeros: for products of each new shape torch takes time, and memory that it keeps.
        rounded = vectors.rounded.new_zeros(-(-len(members) // SHAPE) * SHAPE, vectors.rounded.shape[1])
        rounded[: len(members)] = vectors.rounded[torch.from_numpy(members).long()]
        left, right = (len(rounded), 0) if split is None else (int(np.searchsorted(members, split)),) * 2
        found = candidates(rounded, 0, left, lambda: vectors.level(wanted.lowest), right)

        def own() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for i, j in found:
                inside = j < len(members)  # and i < j
                first, second = members[i[inside]], members[j[inside]]
                belongs = first_shared(self.of[first], self.of[second]) == cell
                yield first[belongs], second[belongs]

        return scored(vectors, own(), wanted)


def first_shared(cells1: np.ndarray, cells2: np.ndarray) -> np.ndarray:
    """The lowest cell that two vectors share; (m, p) and (m, p) to (m,), the largest int32 where they share none."""
    shared = np.full(len(cells1), np.iinfo(np.int32).max, np.int32)
    for column in cells1.T:
        within = (cells2 == column[:, None]).any(axis=1)
        np.minimum(shared, np.where(within, column, shared), out=shared)
    return shared


def cells_for(n: int) -> int:
    """How many cells n vectors have."""
    return max(1, int(CELLS * n**0.5))


def learned_on(n: int, count: int, seed: int) -> np.ndarray:
    """Which of n vectors the centres of `count` cells are learned on."""
    return np.random.default_rng(seed).permutation(n)[: count * LEARNED_ON]


def learn(x: Tensor, count: int) -> Tensor:
    """The centres of cells, by k-means on the sphere (Dhillon and Modha 2001); (count, d) float32, of length 1.

    Args:
        x: (m, d) float32, vectors in random order.
        count: of cells, m at most.
    """
    centres = x[:count].clone()
    for _ in range(ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, torch.from_numpy(nearest(x, centres, 1)[:, 0]).long(), x)
        # A cell that has lost all its vectors keeps its centre.
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(sums, dim=1), centres)
    return centres


def nearest(vectors: Tensor, centres: Tensor, p: int) -> np.ndarray:
    """The p cells with the nearest of the centres, (k, d) float32, nearest first; (n, p) int32."""
    parts = [np.empty((0, p), np.int32)]
    for part in vectors.split(4 * TILE):
        products = (
            part.float() @ centres.T
        )  # in bfloat16 many would be equal, and which of them come first depends on p
        cells = products.argmax(1, keepdim=True) if p == 1 else products.topk(p, dim=1).indices
        parts.append(cells.int().numpy())
    return np.concatenate(parts)


def make_cells(vectors: Vectors, lowest: int, seed: int) -> tuple[Cells, Recall]:
    """Cells that lose few of the pairs of `lowest` millionths or more, and how few, measured.

    Raises:
        UserError: MOST_CELLS cells a vector are not enough.
    """
    n, count = len(vectors), cells_for(len(vectors))
    centres = learn(vectors.rounded[torch.from_numpy(learned_on(n, count, seed))].float(), count)
    first, second = sampled_pairs(vectors, lowest, seed)
    most = min(MOST_CELLS, len(centres))
    near1, near2 = (nearest(vectors.rounded[torch.from_numpy(rows)], centres, most) for rows in (first, second))
    p, found = choose(first, cells_needed(near1, near2), n, most, seed)
    return Cells.between(nearest(vectors.rounded, centres, p), 0, len(centres)), found


def choose(first: np.ndarray, needed: np.ndarray, n: int, most: int, seed: int) -> tuple[int, Recall]:
    """The cells a vector that one half of a sample shows to be enough, and the recall that the other half shows.

    Args:
        first: (m,) which of the n vectors was sampled, of each of its pairs.
        needed: (m,) the cells a vector that it takes to find the pair.
        n: vectors.
        most: cells a vector.
        seed: of the halves.

    Raises:
        UserError: `most` are not enough.
    """
    half = np.random.default_rng(seed).permutation(n) % 2 == 0
    choosing = half[first]
    p = fewest_cells(first[choosing], needed[choosing], most)
    return p, recall(first[~choosing], needed[~choosing] <= p)


def fewest_cells(question: np.ndarray, needed: np.ndarray, most: int) -> int:
    """The smallest p with which enough pairs are found.

    Args:
        question: (m,) the sampled question of each pair.
        needed: (m,) the p that it takes to find the pair.
        most: of p.

    Raises:
        UserError: that is not enough.
    """
    for p in range(1, most + 1):
        found = recall(question, needed <= p)
        if found.low >= RECALL:  # not only the estimate, so that other pairs are likely to agree
            return p
        if found.value == 1:  # and more cells would show no more
            return max(p, min(UNPROVEN, most))
    if found.value < RECALL:
        raise UserError(
            f"--approximate: {most} cells a question are not enough to find {RECALL:.0%} of the pairs; "
            "the exact way (without it) or a higher --threshold will"
        )
    return most


def sampled_pairs(vectors: Vectors, lowest: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of `lowest` millionths or more that a sample of the vectors has: the sampled one, and the other."""
    rows, level = np.random.default_rng(seed).permutation(len(vectors)), vectors.level(lowest)
    found, having = [(np.empty(0, np.int64),) * 2], 0
    for start in range(0, len(rows), TILE):
        if sampled_enough(start, having, len(rows)):
            break
        part = rows[start : start + TILE]
        for i, j in cells_above(vectors.rounded[torch.from_numpy(part)], vectors.rounded, lambda: level):
            enough = (vectors.millionths(part[i], j) >= lowest) & (part[i] != j)
            found.append((part[i][enough], j[enough]))
        having = len(np.unique(np.concatenate([first for first, _ in found])))
    first, second = (np.concatenate(column) for column in zip(*found))
    return first, second


def sampled_enough(sampled: int, having: int, n: int) -> bool:
    """Whether so many of n vectors are sample enough, where `having` of them have pairs."""
    return sampled >= SAMPLE and (having >= ENOUGH or sampled >= SHARE * n)


def cells_needed(near1: np.ndarray, near2: np.ndarray) -> np.ndarray:
    """The smallest p with which two vectors share a cell; (m, most) and (m, most), nearest first, to (m,) int."""
    most = near1.shape[1]
    needed = np.full(len(near1), most + 1)
    for p in range(most, 0, -1):
        shares = first_shared(near1[:, :p], near2[:, :p]) < np.iinfo(np.int32).max
        needed[shares] = p
    return needed


def recall(question: np.ndarray, found: np.ndarray) -> Recall:
    """The share of pairs that is found, with a 95 % interval.

    A question's pairs are found or lost together, so its pairs are one draw: the
    share is a ratio of two sums over questions (Cochran 1977, chapter 6). Where
    next to nothing was lost, the interval is no shorter than that of as many
    questions which all lost nothing.

    Args:
        question: (m,) the sampled question of each pair.
        found: (m,) bool.
    """
    if not len(found):
        return Recall(1.0, 0.0, 1.0, 0)  # nothing is known
    _, number = np.unique(question, return_inverse=True)
    pairs, hits = np.bincount(number), np.bincount(number, found)
    share, n = float(hits.sum() / pairs.sum()), len(pairs)
    error = float(np.sqrt(((hits - share * pairs) ** 2).sum() * n / max(n - 1, 1)) / pairs.sum())
    low = min(share - NORMAL * error, TAIL ** (1 / n))
    return Recall(share, max(low, 0.0), min(share + NORMAL * error, 1.0), len(found))
