"""Two orders of the same questions, by meaning and by words, as one."""

import math

import numpy as np

CANDIDATES = 100  # of each leg, that are ranked by both
WEIGHT = 0.24  # chosen on validation pairs, see reports/archive/retrieval.md


def combined(similarity: np.ndarray, bm25: np.ndarray, n: int) -> np.ndarray:
    """similarity + WEIGHT · BM25 / log((n − ½) / 1½): a word that only one of n questions holds adds about WEIGHT.

    Args:
        similarity, bm25: (m,) of the same questions.
        n: questions in the archive; in a small one words are worth less by BM25, and as much to who asks.
    """
    return similarity + WEIGHT * bm25 / max(1.0, math.log(max(n - 0.5, 1) / 1.5))


def join(near: np.ndarray, rows: np.ndarray, bm25: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows near by vectors and the `most` best by words, each once, with the BM25 of all of them.

    Args:
        near: (a,) rows.
        rows, bm25: (m,) the rows that share a word with the question, in order, and their BM25; the others' is 0.
        most: how many of those are taken.

    Returns:
        (c,) rows and (c,) BM25.
    """
    best = np.lexsort((rows, -bm25))[:most]
    joined = np.union1d(near, rows[best])
    place = np.minimum(np.searchsorted(rows, joined), max(len(rows) - 1, 0))
    if not len(rows):
        return joined, np.zeros(len(joined))
    return joined, np.where(rows[place] == joined, bm25[place], 0.0)
