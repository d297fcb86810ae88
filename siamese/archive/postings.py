"""Hold the words of an archive in memory, with the BM25 of each question for each of its words.

For one word of one question, BM25 depends on the archive alone, so a query is a sum over the words that it has. This is
what FTS5 computes, with k1 = 1.2, b = 0.75 and a weight of at least 1e-6 for a word
(https://sqlite.org/fts5.html#the_bm25_function), for every match anew.
"""

import math
import sqlite3
from collections.abc import Sequence

import numpy as np

K1, B, LEAST = 1.2, 0.75, 1e-6  # as in FTS5
MOST = 100_000  # questions whose words are held: 20 MB, read in a second


def word_weight(count: int, n: int) -> float:
    """Return the weight in BM25 of a word that `count` of n questions have, above 0."""
    return max(LEAST, math.log(max(n - count + 0.5, 0.5) / (count + 0.5)))


class Postings:
    """The questions that have a word, for each word of an archive."""

    def __init__(self, connection: sqlite3.Connection, rows: int, n: int) -> None:
        """Read the index of words.

        Args:
            connection: of the archive, within a transaction, with `temp.instances`.
            rows: of the archive.
            n: questions in it.
        """
        words: dict[str | None, int] = {}  # FTS5 gives None for an empty word
        read = connection.execute("SELECT term, doc FROM temp.instances")
        places = ((words.setdefault(word, len(words)), row) for word, row in read)
        found: np.ndarray = np.fromiter(places, np.dtype((np.int64, 2)))
        word, row = found.T
        if len(row) and not 0 <= row.min() <= row.max() < rows:
            raise sqlite3.DatabaseError("damaged: the index of words has a row that is not there")
        pairs, times = np.unique(word * rows + row, return_counts=True)
        lengths = np.bincount(row, minlength=rows) / (max(len(row), 1) / max(n, 1))  # in mean lengths
        word, row = np.divmod(pairs, max(rows, 1))
        having = np.bincount(word, minlength=len(words))
        weight = np.array([word_weight(count, n) for count in having.tolist()])
        self.n, self.rows = rows, row.astype(np.int32)
        self.bm25 = weight[word] * (times * (K1 + 1) / (times + K1 * (1 - B + B * lengths[row])))
        ends = np.cumsum(having).tolist()
        spans = zip(words, zip([0, *ends], ends))
        self.spans = {word: span for word, span in spans if word is not None}

    def count(self, stem: str) -> int:
        """Return the number of questions with a stem."""
        start, end = self.spans.get(stem, (0, 0))
        return end - start

    def scores(self, rare: Sequence[str], frequent: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Find the questions that have one of the rare stems, and their BM25 over all the stems.

        Returns:
            (m,) int64 rows, ascending, and (m,) float64 scores.
        """
        found = self._sum(rare)
        rows = np.flatnonzero(found)
        if frequent:
            found += self._sum(frequent)
        return rows, found[rows]

    def _sum(self, stems: Sequence[str]) -> np.ndarray:
        """Return the BM25 of every row, (n,) float64."""
        parts = [slice(*self.spans[stem]) for stem in stems]
        rows = np.concatenate([self.rows[part] for part in parts] or [np.zeros(0, np.int32)])
        return np.bincount(rows, np.concatenate([self.bm25[part] for part in parts] or [np.zeros(0)]), self.n)
