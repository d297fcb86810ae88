"""Cosines of vectors, and thresholds to compare them with."""

import numpy as np
from numpy.typing import ArrayLike

from siamese.errors import UserError


def cosine(vectors: np.ndarray, first: ArrayLike, second: ArrayLike, squares: np.ndarray | None = None) -> np.ndarray:
    """Return the cosines of vectors[first[i]] and vectors[second[i]], (n,) float64.

    A vector and itself have exactly 1, the zero vector has 0.

    Args:
        vectors: (m, d).
        first, second: (n,) row numbers.
        squares: the squared lengths of all vectors, if the caller has them.
    """
    first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if squares is None:
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    dots = np.empty(len(first))
    for part in np.array_split(np.arange(len(first)), len(first) // 8_192 + 1):  # to bound the memory
        a, b = vectors[first[part]], vectors[second[part]]
        dots[part] = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    lengths = np.sqrt(squares[first] * squares[second])
    return np.clip(np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0), -1, 1)


def check_threshold(threshold: float) -> float:
    """Return a threshold as a float. Raise UserError if it is not from 0 to 1.

    Below 0, a question without a known word would be a duplicate of everything, since its similarity to anything is 0.
    """
    if type(threshold) is bool or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError(f"threshold {threshold!r}: expected a number from 0 to 1")
    return float(threshold)
