"""The questions of an archive by their vectors: the nearest by inner product, with faiss."""

import numpy as np

from siamese.errors import UserError

try:
    import faiss
except ImportError:
    raise UserError("archives and search need faiss: pip install faiss-cpu") from None


def exact(vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of each query, by comparing it with all.

    Args:
        vectors: (n, d) float32, rows of length 1 or 0; may be a memory map.
        blank: (b,) int64, the rows of length 0, which are never found.
        queries: (m, d) float32.
        k: how many; fewer are found where there are fewer.

    Returns:
        (m, k) similarities, the highest first, and (m, k) int64 rows, -1 where there is none.
    """
    k = min(k, len(vectors))
    if not k or not len(queries):
        return np.zeros((len(queries), k), np.float32), np.full((len(queries), k), -1)
    queries = np.ascontiguousarray(queries)
    similarities, rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    # Blank rows are rarely among the nearest, and leaving them out from the start is slower.
    for i in np.flatnonzero(np.isin(rows, blank).any(axis=1)):
        scores = vectors @ queries[i]
        scores[blank] = -np.inf
        rows[i] = np.argsort(-scores, kind="stable")[:k]
        similarities[i] = scores[rows[i]]
        rows[i, np.isinf(similarities[i])] = -1
    return similarities, rows
