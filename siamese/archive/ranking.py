"""Find the questions of an archive with the largest sum of similarity and weighted BM25, among all of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROWS_AT_A_TIME = 16_384  # their similarities to 256 queries take 16 MB
WEIGHT = 0.3  # chosen on dev sets, see reports/archive/retrieval.md
ROUNDING = 2e-6  # of a similarity in float32
SLACK = 20  # rows found beyond k, if they are equal to the k-th but for rounding
LEAST = float(np.finfo(np.float32).min)

Added = tuple[np.ndarray, np.ndarray]


class Words(NamedTuple):
    """What words say for a query."""

    rows: np.ndarray  # (m,) int64, ascending, of questions that share a word with it
    bm25: np.ndarray  # (m,) float64, above 0
    whole: float = 1.0  # BM25 of a question of mean length that has all its words, above 0


NO_WORDS = Words(np.zeros(0, np.int64), np.zeros(0))


def word_score(words: Words, n: int) -> np.ndarray:
    """Return what words add to the similarity, (m,) float64: WEIGHT · BM25 / log((n − ½) / 1½) · min(1, BM25 / whole).

    The last factor is the share of the query's words, by their weights, that a question has: two of nine words count
    less than two of two. A question that has all of a query's words, one of which no other of the n questions has, thus
    gets about WEIGHT for that word. In a small archive BM25 values words less, but they matter as much to the reader.
    """
    return WEIGHT / max(1.0, math.log(max(n - 0.5, 1) / 1.5)) * words.bm25 * np.minimum(1, words.bm25 / words.whole)


def best(
    vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, added: Sequence[Added], k: int,
    among: np.ndarray | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Find the k rows with the largest sum of product and what words add for each query, comparing it with all rows.

    Args:
        vectors: (n, d) float32, rows of length 1 or 0.
        blank: (n,) bool, the rows of length 0, which only words find.
        queries: (m, d) float32.
        added: for each query, the rows to which words add, (w,) ascending, and how much, (w,) above 0.
        k: rows to find, 1 or more.
        among: (a,) ascending, the rows that may be found; None: all.

    Returns:
        For each query its row numbers, ascending: the k best, fewer if there are fewer, and up to SLACK that are equal
        to the last of them but for rounding, of which the first are taken.
    """
    n = len(vectors) if among is None else len(among)
    found = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
    least = [LEAST] * len(queries)
    if among is not None:
        added = [_places(*each, among) for each in added]
    for start in range(0, n, ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME) if among is None else among[start : start + ROWS_AT_A_TIME]
        products = queries @ vectors[part].T
        products[:, blank[part]] = -np.inf
        for i, row in enumerate(products):
            places, more = added[i]
            if n > ROWS_AT_A_TIME:
                first, end = np.searchsorted(places, (start, start + ROWS_AT_A_TIME))
                places, more = places[first:end] - start, more[first:end]
            if len(places):
                similar = row[places]
                row[places] = np.where(similar == -np.inf, 0, similar) + more
            near = np.flatnonzero(row >= least[i])
            values, rows = row[near], start + near
            if start:
                values, rows = np.append(found[i][0], values), np.append(found[i][1], rows)
            if len(values) > k:
                kept = largest(values, k)
                values, rows = values[kept], rows[kept]
                least[i] = np.partition(values, -k)[-k] - ROUNDING
            found[i] = values, rows
    return [rows if among is None else among[rows] for _, rows in found]


def cosines(vector: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the cosines of a vector, (d,), and others, (n, d); (n,) float64, 0 for vectors of length 0.

    It is `siamese.model.similarity.cosine` without what that needs for many pairs.
    """
    one, others = vector.astype(np.float64), vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("d,d->", one, one) * np.einsum("nd,nd->n", others, others))
    dots = np.einsum("nd,d->n", others, one)
    found: np.ndarray = np.clip(np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0), -1, 1)
    return found


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k largest values, ascending, and of up to SLACK others that are equal to the k-th."""
    if len(values) <= k:
        return np.arange(len(values))
    last = np.partition(values, -k)[-k]
    near = np.flatnonzero(values >= last - ROUNDING)
    if len(near) > k + SLACK:
        sure = values[near] > last + ROUNDING
        near = np.sort(np.append(near[sure], near[~sure][: k + SLACK - np.count_nonzero(sure)]))
    return near


def _places(rows: np.ndarray, values: np.ndarray, among: np.ndarray) -> Added:
    """Return the places in `among` of the rows that it has, and their values."""
    places = np.searchsorted(among, rows)
    there = np.flatnonzero(places < len(among))
    there = there[among[places[there]] == rows[there]]
    return places[there], values[there]
