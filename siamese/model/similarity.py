"""Cosines of vectors, and the thresholds that they are compared with."""

from collections.abc import Sequence

import numpy as np

from siamese.errors import UserError


def cosine(
    vectors: np.ndarray,
    first: Sequence[int] | np.ndarray,
    second: Sequence[int] | np.ndarray,
    squares: np.ndarray | None = None,
) -> np.ndarray:
    """The cosines of vectors[first[i]] and vectors[second[i]]; (n,) float64.

    Exactly 1 for a vector and itself, 0 for the zero vector. `squares` are the
    squared lengths of all vectors, for a caller that has them.
    """
    first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if squares is None:
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    dots = np.empty(len(first))
    for part in np.array_split(np.arange(len(first)), len(first) // 8_192 + 1):  # bounds the memory
        a, b = vectors[first[part]], vectors[second[part]]
        dots[part] = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    lengths = np.sqrt(squares[first] * squares[second])
    return np.clip(np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0), -1, 1)


def check_threshold(threshold: float) -> float:
    """The threshold, or UserError where it is not from 0 to 1.

    Below 0 a question without a known word, whose similarity to everything is
    0, would be a duplicate of everything.
    """
    if type(threshold) is bool or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError(f"threshold {threshold!r}: expected a number from 0 to 1")
    return float(threshold)
