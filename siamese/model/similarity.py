"""Cosines of vectors, texts that are the same, and thresholds to compare similarities with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from siamese.errors import UserError
from siamese.text.cleaning import clean

ROUNDING = 1e-4  # of the cosine of two vectors of one text that were computed in different batches


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


def may_be_same(similarity: np.ndarray) -> np.ndarray:
    """Return whether each cosine allows for the same text: near 1, or 0 as without a known word; (n,) bool."""
    return (similarity > 1 - ROUNDING) | (similarity == 0)


def same(similarity: np.ndarray, questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
    """Return whether the two texts of each pair are equal once they are clean, and not empty; (n,) bool.

    `similarity` (n,) spares cleaning most of them.
    """
    found = may_be_same(similarity)
    for i in np.flatnonzero(found).tolist():
        one, other = clean(questions1[i]), clean(questions2[i])
        found[i] = bool(one) and one == other
    return found


def check_threshold(threshold: float) -> float:
    """Return a threshold as a float. Raise UserError if it is not from 0 to 1.

    Below 0, a question without a known word would be a duplicate of everything, since its similarity to anything is 0.
    """
    if type(threshold) is bool or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError(f"threshold {threshold!r}: expected a number from 0 to 1")
    return float(threshold)
