"""The approximate join: only vectors that share a cell are compared.

K-means on part of the vectors learns the centres of k cells (on the sphere: a centre is the normalized mean of its
vectors). Each vector belongs to the p cells with the nearest centres. Within a cell the join is exact. A pair that
shares several cells belongs to the first of them, so it is found once, and cells can be joined in any order, by any
number of machines.

The recall is measured before anything is joined: all pairs of a sample of questions are found exactly, and a pair
counts as found if its vectors share a cell. One half of the sample chooses p, the smallest with enough recall. The
other half gives the recall that is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siamese.errors import UserError
from siamese.mining.exact import TILE, Vectors, candidates, cells_above, scored
from siamese.mining.found import Recall, Wanted

RECALL = 0.99  # of the pairs above the threshold, to be reached
MOST_CELLS = 32  # of a vector
CELLS = 2.0  # n vectors have CELLS · √n cells: assigning and joining then take about equally long
SHAPE = 256  # a cell's vectors are padded to a multiple of it
LEARNED_ON = 64  # vectors per cell, to learn the centres
ROUNDS = 8  # of k-means
SAMPLE = 16_384  # least questions whose pairs are found exactly; with a quarter the interval is wrong in 7 of 100
ENOUGH = 1_000  # questions of the sample with pairs; if there are fewer, the sample grows,
SHARE = 0.1  # up to this share of all questions
UNPROVEN = 4  # cells of a vector, if the sample has too few pairs to choose
TAIL = 0.025  # probability outside either end of the recall's 95 % interval
NORMAL = 1.96  # the same in standard errors


@dataclass(frozen=True)
class Cells:
    """The vectors of all cells, or of the cells that one worker joins, which are those from `first` on."""

    of: np.ndarray  # (n, p) int32, the cells of each of n vectors
    members: np.ndarray  # the vectors of one cell after the other, ascending in each
    starts: np.ndarray  # (cells + 1,) where the vectors of each cell start
    first: int = 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def between(cls, of: np.ndarray, first: int, stop: int) -> "Cells":
        """Collect the cells from `first` up to `stop` from the p cells of each vector, (n, p) int32."""
        order = np.argsort(of.ravel(), kind="stable")
        starts = np.searchsorted(of.ravel()[order], np.arange(first, stop + 1))
        return cls(of, (order // of.shape[1]).astype(np.int32), starts, first)

    def join(self, vectors: Vectors, cell: int, wanted: Wanted, split: int | None = None) -> np.ndarray:
        """Return every wanted pair that belongs to a cell; found.PAIR, ordered by first and second.

        Args:
            vectors: the n vectors.
            cell: from `first` on.
            wanted: the pairs to find.
            split: if given, only pairs of one of the first `split` vectors with one of the others.
        """
        members = self.members[self.starts[cell - self.first] : self.starts[cell - self.first + 1]]
        # Padded with zeros: torch needs time for products of each new shape, and memory that it keeps.
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
    """Return the lowest cell that two vectors share, the largest int32 if none; (m, p) and (m, p) to (m,)."""
    shared = np.full(len(cells1), np.iinfo(np.int32).max, np.int32)
    for column in cells1.T:
        within = (cells2 == column[:, None]).any(axis=1)
        np.minimum(shared, np.where(within, column, shared), out=shared)
    return shared


def cells_for(n: int) -> int:
    """Return the number of cells for n vectors."""
    return max(1, int(CELLS * n**0.5))


def learned_on(n: int, count: int, seed: int) -> np.ndarray:
    """Return which of n vectors the centres of `count` cells are learned from."""
    return np.random.default_rng(seed).permutation(n)[: count * LEARNED_ON]


def learn(x: Tensor, count: int) -> Tensor:
    """Learn the centres of cells by k-means on the sphere (Dhillon and Modha 2001); (count, d) float32, of length 1.

    Args:
        x: (m, d) float32, vectors in random order.
        count: of cells, m at most.
    """
    centres = x[:count].clone()
    for _ in range(ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, torch.from_numpy(nearest(x, centres, 1)[:, 0]).long(), x)
        # A cell that loses all its vectors keeps its centre.
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(sums, dim=1), centres)
    return centres


def nearest(vectors: Tensor, centres: Tensor, p: int) -> np.ndarray:
    """Return the p cells with the nearest centres, (k, d) float32, nearest first; (n, p) int32."""
    parts = [np.empty((0, p), np.int32)]
    for part in vectors.split(4 * TILE):
        products = part.float() @ centres.T  # in bfloat16 many would be equal, and their order would depend on p
        cells = products.argmax(1, keepdim=True) if p == 1 else products.topk(p, dim=1).indices
        parts.append(cells.int().numpy())
    return np.concatenate(parts)


def make_cells(vectors: Vectors, lowest: int, seed: int) -> tuple[Cells, Recall]:
    """Make cells that lose few of the pairs of `lowest` millionths or more, and measure their recall.

    Raises:
        UserError: MOST_CELLS cells of a vector are not enough.
    """
    n, count = len(vectors), cells_for(len(vectors))
    centres = learn(vectors.rounded[torch.from_numpy(learned_on(n, count, seed))].float(), count)
    first, second = sampled_pairs(vectors, lowest, seed)
    most = min(MOST_CELLS, len(centres))
    near1, near2 = (nearest(vectors.rounded[torch.from_numpy(rows)], centres, most) for rows in (first, second))
    p, found = choose(first, cells_needed(near1, near2), n, most, seed)
    return Cells.between(nearest(vectors.rounded, centres, p), 0, len(centres)), found


def choose(first: np.ndarray, needed: np.ndarray, n: int, most: int, seed: int) -> tuple[int, Recall]:
    """Choose p on one half of a sample, and measure the recall on the other half.

    Args:
        first: (m,) the sampled question of each pair.
        needed: (m,) the p that it takes to find the pair.
        n: number of vectors.
        most: largest p.
        seed: of the halves.

    Returns:
        The smallest p with enough recall, and its recall.

    Raises:
        UserError: `most` is not enough.
    """
    half = np.random.default_rng(seed).permutation(n) % 2 == 0
    choosing = half[first]
    p = fewest_cells(first[choosing], needed[choosing], most)
    return p, recall(first[~choosing], needed[~choosing] <= p)


def fewest_cells(question: np.ndarray, needed: np.ndarray, most: int) -> int:
    """Return the smallest p with enough recall; arguments and errors as in `choose`."""
    for p in range(1, most + 1):
        found = recall(question, needed <= p)
        if found.low >= RECALL:  # not only the estimate, so that other pairs are likely to agree
            return p
        if found.value == 1:  # more cells would show no more
            return max(p, min(UNPROVEN, most))
    if found.value < RECALL:
        raise UserError(
            f"--approximate: {most} cells a question are not enough to find {RECALL:.0%} of the pairs; "
            "give a higher --threshold, or leave --approximate out"
        )
    return most


def pairs_above(
    vectors: Vectors, rows: np.ndarray, lowest: int, start: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of `lowest` millionths or more of one of TILE rows at most with the vectors from `start` on."""
    left, right, level = vectors.rounded[torch.from_numpy(rows)], vectors.rounded[start:], vectors.level(lowest)
    for i, j in cells_above(left, right, lambda: level):
        first, second = rows[i], j + start
        enough = vectors.millionths(first, second) >= lowest
        yield first[enough], second[enough]


def sampled_pairs(vectors: Vectors, lowest: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Find all pairs of `lowest` millionths or more of a sample; (m,) the sampled vectors, (m,) the others."""
    rows = np.random.default_rng(seed).permutation(len(vectors))
    found, having = [(np.empty(0, np.int64),) * 2], 0
    for start in range(0, len(rows), TILE):
        if sampled_enough(start, having, len(rows)):
            break
        for i, j in pairs_above(vectors, rows[start : start + TILE], lowest):
            found.append((i[i != j], j[i != j]))
        having = len(np.unique(np.concatenate([first for first, _ in found])))
    first, second = (np.concatenate(column) for column in zip(*found))
    return first, second


def sampled_enough(sampled: int, having: int, n: int) -> bool:
    """Return whether a sample of n vectors is large enough, if `having` of its vectors have pairs."""
    return sampled >= SAMPLE and (having >= ENOUGH or sampled >= SHARE * n)


def cells_needed(near1: np.ndarray, near2: np.ndarray) -> np.ndarray:
    """Return the smallest p with which two vectors share a cell; (m, most) twice, nearest first, to (m,) int."""
    most = near1.shape[1]
    needed = np.full(len(near1), most + 1)
    for p in range(most, 0, -1):
        shares = first_shared(near1[:, :p], near2[:, :p]) < np.iinfo(np.int32).max
        needed[shares] = p
    return needed


def recall(question: np.ndarray, found: np.ndarray) -> Recall:
    """Return the share of pairs that is found, with a 95 % interval.

    A question's pairs are found or lost together, so they are one draw: the share is a ratio of two sums over questions
    (Cochran 1977, chapter 6). If hardly any pair was lost, the interval is at least as long as if none of these
    questions had lost one.

    Args:
        question: (m,) the sampled question of each pair.
        found: (m,) bool.
    """
    if not len(found):
        return Recall(1.0, 0.0, 1.0, 0)
    _, number = np.unique(question, return_inverse=True)
    pairs, hits = np.bincount(number), np.bincount(number, found)
    share, n = float(hits.sum() / pairs.sum()), len(pairs)
    error = float(np.sqrt(((hits - share * pairs) ** 2).sum() * n / max(n - 1, 1)) / pairs.sum())
    low = min(share - NORMAL * error, TAIL ** (1 / n))
    return Recall(share, max(low, 0.0), min(share + NORMAL * error, 1.0), len(found))
