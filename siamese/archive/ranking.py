"""Rank the questions of an archive by similarity, by BM25, or by both."""

import math

import numpy as np

CANDIDATES = 100  # questions of each leg that are ranked by both
ROWS_AT_A_TIME = 16_384  # their similarities to 256 queries take 16 MB
WEIGHT = 0.24  # chosen on validation pairs, see reports/archive/retrieval.md


def nearest(vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, k: int) -> list[np.ndarray]:
    """Find the k rows with the largest inner products with each query, comparing it with all rows.

    Args:
        vectors: (n, d) float32, rows of length 1 or 0; may be a memory map.
        blank: (n,) bool, the rows of length 0, which are never found.
        queries: (m, d) float32.
        k: rows to find, 1 or more.

    Returns:
        For each query its row numbers, nearest first, equally near ones ascending; fewer than k if there are fewer.
    """
    found = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
    for start in range(0, len(vectors), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        products = queries @ vectors[part].T
        products[:, blank[part]] = -np.inf
        for i, row in enumerate(products):
            best, rows = found[i]
            least = best[-1] if len(best) == k else np.finfo(np.float32).min
            near = np.flatnonzero(row > least)  # equal ones come later, so they lose
            best, rows = np.append(best, row[near]), np.append(rows, start + near)
            if len(best) > k:
                enough = best >= np.partition(best, -k)[-k]
                best, rows = best[enough], rows[enough]
            order = np.lexsort((rows, -best))[:k]
            found[i] = best[order], rows[order]
    return [rows for _, rows in found]


def combined(similarity: np.ndarray, bm25: np.ndarray, n: int) -> np.ndarray:
    """Return similarity + WEIGHT · BM25 / log((n − ½) / 1½): a word in only one of n questions adds about WEIGHT.

    Args:
        similarity, bm25: (m,) of the same questions.
        n: questions in the archive. In a small one BM25 values words less, but they matter as much to the reader.
    """
    return similarity + WEIGHT * bm25 / max(1.0, math.log(max(n - 0.5, 1) / 1.5))


def join(near: np.ndarray, rows: np.ndarray, bm25: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the union of the rows near by vectors and the `most` best by words, with the BM25 of each.

    Args:
        near: (a,) rows.
        rows, bm25: (m,) the rows that share a word with the query, ascending, and their BM25; others have 0.
        most: rows to take by BM25.

    Returns:
        (c,) rows and (c,) BM25.
    """
    best = np.lexsort((rows, -bm25))[:most]
    joined = np.union1d(near, rows[best])
    place = np.minimum(np.searchsorted(rows, joined), max(len(rows) - 1, 0))
    if not len(rows):
        return joined, np.zeros(len(joined))
    return joined, np.where(rows[place] == joined, bm25[place], 0.0)
