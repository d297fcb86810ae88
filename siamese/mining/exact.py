"""The exact join: every pair of vectors above a threshold, by products of blocks over half of the matrix.

A product in bfloat16 takes a quarter of the time of one in float32, and its error has a proven bound. So products above
the threshold minus that bound are the candidates, whose cosines are computed again in float64. No pair is lost.

The bound. Let a, b be rows of the matrix, with lengths between l and L, and a', b' the rows rounded to bfloat16. Let
e ≥ |a' − a|, |b' − b| be the largest rounding error of a row, which is measured. Then

    |a'·b' − a·b|  =  |(a' − a)·b' + a·(b' − b)|  ≤  e (L + e) + L e              (Cauchy and Schwarz)
    |sum as computed − a'·b'|  ≤  γ (L + e)²,  γ = 2 d ε                          (Higham 2002, section 3.1)
    |a·b − cos(a, b)|  ≤  max(L² − 1, 1 − l²)                                     (as |cos| ≤ 1)

with dimension d and ε = 2⁻²³, twice float32's unit roundoff, for hardware that does not round to nearest. The sum of
the three is the slack. Rounding the result to bfloat16 loses nothing: it is monotone, so a sum above the level is at or
above it when both are rounded. float32 is the same with e = 0.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    import torch
except ImportError:  # numpy multiplies instead, in float32
    torch = None  # type: ignore[assignment]

from siamese.mining.found import MILLION, Wanted, check_room
from siamese.model.similarity import cosine

TILE = 1_024  # rows and columns of a product, whose 2 MB in bfloat16 stay in the cache for the scan
ROWS = 4_096  # rows of a unit of work
PART = 65_536  # vectors or candidates that are processed at a time, to bound memory


@dataclass(frozen=True)
class Vectors:
    """n vectors prepared for joins."""

    exact: np.ndarray  # (n, d) float32, of length 1 but for rounding, or 0
    rounded: Any  # (n, d) bfloat16 or float32: a tensor, or an array without torch
    squares: np.ndarray  # (n,) float64, the squared lengths
    slack: float  # the largest error of a product of rounded vectors, against their cosine

    def __len__(self) -> int:
        return len(self.exact)

    @classmethod
    def of(cls, exact: np.ndarray, dtype: "torch.dtype | None") -> "Vectors":
        """Round vectors and measure the error.

        Args:
            exact: (n, d) float32.
            dtype: torch.bfloat16 or torch.float32; None for a float32 array without torch.
        """
        rounded: Any = exact if dtype is None else torch.from_numpy(exact).to(dtype)
        error, squares = 0.0, np.empty(len(exact))
        for start in range(0, len(exact), PART):
            part = slice(start, start + PART)
            squares[part] = np.einsum("nd,nd->n", exact[part], exact[part], dtype=np.float64)
            if dtype is not None and dtype != torch.float32:
                moved = rounded[part].double() - torch.from_numpy(exact[part]).double()
                error = max(error, float(moved.norm(dim=1).max()))
        lengths = np.sqrt(squares[squares > 0]) if squares.any() else np.ones(1)
        low, high = float(lengths.min()), float(lengths.max())
        sums = 2 * exact.shape[1] * 2.0**-23 * (high + error) ** 2
        slack = error * (2 * high + error) + sums + max(high**2 - 1, 1 - low**2)
        return cls(exact, rounded, squares, slack)

    def millionths(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the cosines of pairs of rows in millionths, computed in float64; (m,) int64."""
        return np.rint(cosine(self.exact, first, second, self.squares) * MILLION).astype(np.int64)

    def level(self, lowest: int) -> float:
        """Return a value that the rounded product of every pair of `lowest` millionths or more reaches."""
        return (lowest - 0.5) / MILLION - self.slack


def made_ready(exact: np.ndarray, lowest: int) -> Vectors:
    """Prepare vectors for joins at `lowest` millionths or more.

    They are rounded to bfloat16 if the processor has instructions for it, which are four times as fast, and the level
    is above 0. Otherwise they stay in float32.
    """
    if torch is None:
        return Vectors.of(exact, None)
    if torch.cpu._is_avx512_bf16_supported():
        vectors = Vectors.of(exact, torch.bfloat16)
        if vectors.level(lowest) > 0:
            return vectors
    return Vectors.of(exact, torch.float32)


def cells_above(left: Any, right: Any, level: Callable[[], float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows and columns at which left · rightᵀ reaches a level, tile by tile.

    Args:
        left: (rows, d), TILE rows at most; a tensor or an array.
        right: (columns, d), of the same type.
        level: called before each tile; returns a value above 0 in bfloat16.
    """
    if torch is None:
        for start in range(0, len(right), TILE):
            cells = left @ right[start : start + TILE].T
            found = np.flatnonzero(cells.max(axis=1) >= level())
            first, second = np.nonzero(cells[found] >= level())
            yield found[first], second + start
        return
    buffer = torch.empty(len(left) * TILE, dtype=left.dtype)
    for start in range(0, len(right), TILE):
        cut = torch.tensor(level(), dtype=left.dtype)
        if left.dtype == torch.bfloat16:
            # Positive bfloat16 numbers are ordered as the integers with the same bits, which compare faster. Negative
            # ones are negative as integers too.
            assert cut > 0
            cut = cut.view(torch.int16)
        columns = right[start : start + TILE]
        product = buffer[: len(left) * len(columns)].view(len(left), len(columns))
        torch.mm(left, columns.T, out=product)
        scan = product.view(cut.dtype)
        rows = (scan.amax(1) >= cut).nonzero()[:, 0]  # most rows of a tile have none
        if len(rows):
            i, j = (scan[rows] >= cut).nonzero(as_tuple=True)
            yield rows[i].numpy(), j.numpy() + start


def candidates(
    rounded: Any, start: int, stop: int, level: Callable[[], float], others: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of rows whose product reaches a level, with start ≤ first < stop, second > first, second ≥ others."""
    for tile in range(start, stop, TILE):
        left, right = rounded[tile : min(tile + TILE, stop)], max(tile, others)
        for i, j in cells_above(left, rounded[right:], level):
            upper = i + tile < j + right
            yield i[upper] + tile, j[upper] + right


def scored(vectors: Vectors, found: Iterator[tuple[np.ndarray, np.ndarray]], wanted: Wanted) -> np.ndarray:
    """Return the candidates that are wanted; found.PAIR or found.JUDGED, ordered by first and second."""
    none = np.empty(0, np.int64)
    kept, count = [wanted.pairs(none, none, none)], 0
    waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def score() -> None:
        first, second = (np.concatenate(column) for column in zip(*waiting))
        millionths = vectors.millionths(first, second)
        enough = millionths >= wanted.lowest
        pairs = wanted.pairs(millionths[enough], first[enough], second[enough])
        kept.append(pairs)
        wanted.add(pairs)

    for columns in found:
        waiting.append(columns)
        count += len(columns[0])
        if count >= PART:  # many at a time, since most tiles have few
            score()
            waiting, count = [], 0
            check_room(sum(map(len, kept)), wanted.room)
    if waiting:
        score()
    pairs = np.concatenate(kept)
    pairs = pairs[pairs["millionths"] >= wanted.lowest]
    return pairs[np.lexsort((pairs["second"], pairs["first"]))]


def join_rows(vectors: Vectors, start: int, stop: int, wanted: Wanted) -> np.ndarray:
    """Return every wanted pair with start ≤ first < stop; found.PAIR, ordered by first and second.

    A zero vector has the similarity 0 to all others.
    """
    found = candidates(vectors.rounded, start, stop, lambda: vectors.level(wanted.lowest))
    return scored(vectors, found, wanted)
