"""The questions of an archive by their vectors: the nearest by inner product, exactly, or among lists where many.

Past a million questions a query is compared with those of a few lists only (an inverted file: Sivic, Zisserman 2003),
where few are enough; else with all, still. The lists hold numbers of rows and no vectors, so that a removed question
leaves nothing in them.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from siamese.errors import ArchiveError, UserError
from siamese.system.files import replacing

try:
    import faiss
except ImportError:
    raise UserError("archives and search need faiss: pip install faiss-cpu") from None

MOST_EXACT = 1_000_000  # rows that are compared with one by one
TAIL = 0.1  # of the rows in the lists, that may be added before the lists are made anew
RECALL, K, SAMPLE = 0.99, 10, 1_000  # the share of the K nearest that is found, at least, over so many questions
WORTH = 1 / 12  # of the rows: rows picked out here and there take twelve times as long as rows in a row
ITERATIONS, POINTS = 10, 50  # of k-means, and rows a list that it looks at

Found = tuple[np.ndarray, np.ndarray]  # (m, k) similarities, the highest first, and (m, k) int64 rows, -1 for none


def exact(vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, k: int) -> Found:
    """The k nearest rows of each query, by comparing it with all.

    Args:
        vectors: (n, d) float32, rows of length 1 or 0; may be a memory map.
        blank: (n,) bool, the rows of length 0, which are never found.
        queries: (m, d) float32.
        k: how many; fewer are found where there are fewer.
    """
    if not len(vectors) or not len(queries):
        return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1)
    similarities, rows = faiss.knn(np.ascontiguousarray(queries), vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    # Blank rows are rarely among the nearest, and leaving them out from the start is slower.
    for i in np.flatnonzero((blank[rows] & (rows >= 0)).any(axis=1)):
        similarities[i], rows[i] = _best(vectors @ queries[i], blank, np.arange(len(vectors)), k)
    return similarities, rows


def _best(similarities: np.ndarray, blank: np.ndarray, rows: np.ndarray, k: int) -> Found:
    """The k best of some rows for one query: (k,) and (k,)."""
    similarities, rows = similarities[~blank], rows[~blank]
    best = np.lexsort((rows, -similarities))[:k]
    missing = k - len(best)
    return np.pad(similarities[best], (0, missing), constant_values=-np.inf), np.pad(
        rows[best], (0, missing), constant_values=-1
    )


@dataclass(frozen=True)
class Lists:
    """The first rows of an archive, by the centre that each is nearest to."""

    centres: np.ndarray  # (lists, d) float32
    rows: np.ndarray  # (n,) int32, those of the first list, of the second, ...
    starts: np.ndarray  # (lists + 1,) int64, where each begins
    probes: int = 0  # lists that a query is compared with; 0 where so many are needed that all rows are faster
    recall: float = 0.0  # measured

    @classmethod
    def make(cls, vectors: np.ndarray, blank: np.ndarray, seed: int = 0) -> "Lists":
        """Cut n rows, not all blank, into lists by k-means; choose how many a query needs for a recall of RECALL."""
        random = np.random.default_rng(seed)
        full = np.flatnonzero(~blank)
        count = min(len(full), int(2 * len(full) ** 0.5))
        some = np.sort(random.choice(full, min(len(full), POINTS * count), replace=False))
        means = faiss.Kmeans(
            vectors.shape[1], count, niter=ITERATIONS, spherical=True, seed=seed, min_points_per_centroid=1
        )
        means.train(vectors[some])
        centres = np.asarray(means.centroids)
        nearest = np.concatenate(
            [faiss.knn(part, centres, 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 0]
             for part in np.array_split(vectors, len(vectors) // 65_536 + 1)]
        )  # fmt: skip
        starts = np.concatenate(([0], np.cumsum(np.bincount(nearest, minlength=count))))
        lists = cls(centres, np.argsort(nearest, kind="stable").astype(np.int32), starts)

        asked = vectors[random.choice(full, min(len(full), SAMPLE), replace=False)]
        # Each finds itself; that is no merit. Of equal ones any will do.
        least = exact(vectors, blank, asked, K + 1)[0][:, 1:]
        probes, recall = 1, 0.0
        while probes <= WORTH * count:
            lists = replace(lists, probes=probes)
            found = lists.nearest(vectors, blank, asked, K + 1)[0][:, 1:]
            recall = float(np.mean((found >= least[:, -1:] - 1e-6).sum(axis=1).clip(max=K) / K))
            if recall >= RECALL:
                return replace(lists, recall=recall)
            probes *= 2
        return replace(lists, probes=0)

    def nearest(self, vectors: np.ndarray, blank: np.ndarray, queries: np.ndarray, k: int) -> Found:
        """As `exact`, of the rows in the lists that a query is compared with, and of all rows after those in lists."""
        covered = len(self.rows)
        probed = faiss.knn(np.ascontiguousarray(queries), self.centres, self.probes, metric=faiss.METRIC_INNER_PRODUCT)[
            1
        ]
        similarities, rows = exact(vectors[covered:], blank[covered:], queries, k)
        rows[rows >= 0] += covered
        for i, lists in enumerate(probed):
            near = np.sort(np.concatenate([self.rows[self.starts[one] : self.starts[one + 1]] for one in lists]))
            tail = rows[i] >= 0
            similarities[i], rows[i] = _best(
                np.concatenate((vectors[near] @ queries[i], similarities[i, tail])),
                np.concatenate((blank[near], np.zeros(tail.sum(), bool))),
                np.concatenate((near, rows[i, tail])), k,
            )  # fmt: skip
        return similarities, rows

    def cover(self, rows: int) -> bool:
        """Whether the lists are recent enough for an archive of so many rows."""
        return rows - len(self.rows) <= TAIL * len(self.rows)

    def save(self, path: Path) -> None:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, centres=self.centres, rows=self.rows, starts=self.starts, facts=[self.probes, self.recall])

    @classmethod
    def load(cls, path: Path, shape: tuple[int, int]) -> "Lists":
        """The lists of an archive whose vectors have this shape."""
        try:
            with np.load(path, allow_pickle=False) as file:
                probes, recall = file["facts"].tolist()
                lists = cls(file["centres"], file["rows"], file["starts"], int(probes), recall)
            if not np.array_equal(np.sort(lists.rows), np.arange(len(lists.rows))):
                raise ValueError("not each row once")
            fits = lists.centres.shape == (len(lists.starts) - 1, shape[1]) and lists.starts[-1] == len(lists.rows)
            if not fits or len(lists.rows) > shape[0]:
                raise ValueError("lists that do not fit")
            return lists
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{path}: damaged ({error}); without it the search is exact") from None
