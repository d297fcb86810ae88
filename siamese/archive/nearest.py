"""The questions of an archive by meaning: a question is compared with all of them."""

import numpy as np

ROWS_AT_A_TIME = 16_384  # their similarities to 256 questions take 16 MB


def nearest(vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, k: int) -> list[np.ndarray]:
    """Find the k rows with the largest inner products with each query.

    Args:
        vectors: (n, d) float32, rows of length 1 or 0; may be a memory map.
        blank: (n,) bool, the rows of length 0, which are never found.
        queries: (m, d) float32.
        k: how many to find, 1 or more.

    Returns:
        For each query the numbers of its rows, nearest first, of equally near ones the first first; fewer than k if
        there are fewer.
    """
    found = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
    for start in range(0, len(vectors), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        products = queries @ vectors[part].T
        products[:, blank[part]] = -np.inf
        for i, row in enumerate(products):
            best, rows = found[i]
            least = best[-1] if len(best) == k else np.finfo(np.float32).min
            near = np.flatnonzero(row > least)  # of equals the earlier ones are there already
            best, rows = np.append(best, row[near]), np.append(rows, start + near)
            if len(best) > k:
                enough = best >= np.partition(best, -k)[-k]
                best, rows = best[enough], rows[enough]
            order = np.lexsort((rows, -best))[:k]
            found[i] = best[order], rows[order]
    return [rows for _, rows in found]
