"""Search an archive by words: BM25 (Robertson, Zaragoza 2009) from SQLite's full-text index (FTS5).

Words are runs of letters, digits and marks, without case and accents, reduced to English stems (Porter 1980). In a
script without spaces between words, such as Chinese, only whole runs match. The index changes in the archive's
transactions.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np

from siamese.errors import UserError

CHARACTERS = 10_000  # of a query that are read
MOST_WORDS = 64  # of a query that are looked up, the rarest
BUDGET = 5_000  # matches of a query's rare words, summed over the words; on Quora's questions more did not help
FREQUENT = 1_000  # questions with a word, from which on their count is cached

_PLAIN = "unicode61 remove_diacritics 2 categories ''L* M* N* Co''"
_SCHEMA = f"""
CREATE VIRTUAL TABLE words USING fts5(
    question, content='questions', content_rowid='row', tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE word_counts USING fts5vocab(words, 'row');
"""
# A query is tokenized in the same way: as written, for MATCH, and by stems, for the counts.
_ASKED = f"""
CREATE VIRTUAL TABLE temp.asked USING fts5(question, tokenize='{_PLAIN}');
CREATE VIRTUAL TABLE temp.asked_words USING fts5vocab(temp, asked, 'instance');
CREATE VIRTUAL TABLE temp.stemmed USING fts5(question, tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE temp.stemmed_words USING fts5vocab(temp, stemmed, 'instance');
"""


def create(connection: sqlite3.Connection) -> None:
    """Create an empty index of the table `questions`. Raise UserError if this SQLite has no FTS5."""
    _run(connection, _SCHEMA)


def _run(connection: sqlite3.Connection, script: str) -> None:
    try:
        connection.executescript(script)
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        version = sqlite3.sqlite_version
        raise UserError(f"this Python's SQLite ({version}) is built without FTS5, which archives need") from None


def add(connection: sqlite3.Connection, first: int) -> None:
    """Index the questions from row `first` on."""
    sql = "INSERT INTO words(rowid, question) SELECT row, question FROM questions WHERE row >= ?"
    connection.execute(sql, (first,))


def move(connection: sqlite3.Connection, rows: Sequence[tuple[int, int, str]]) -> None:
    """Give questions another row: the new one, the old one and the text of each."""
    _forget(connection, [(old, text) for _, old, text in rows])
    sql = "INSERT INTO words(rowid, question) VALUES (?, ?)"
    connection.executemany(sql, ((new, text) for new, _, text in rows))


def remove(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Remove questions, given by row and text, from the index, so that the file keeps none of their words."""
    _forget(connection, rows)
    # FTS5 only marks deleted rows until its segments are merged.
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")


def _forget(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    connection.executemany("INSERT INTO words(words, rowid, question) VALUES ('delete', ?, ?)", rows)


class Words:
    """Queries of the index, with cached counts; call `forget` after a change."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.counts: dict[str, int] = {}
        _run(connection, _ASKED)

    def forget(self) -> None:
        self.counts.clear()

    def scores(self, question: str) -> tuple[np.ndarray, np.ndarray]:
        """Find the questions that share a rare word with a query, and their BM25 over all words of the query.

        To score all that share any word takes a hundred times as long: "what" alone is in a large part of them.

        Returns:
            (m,) int64 rows, ascending, and (m,) float64 scores, above 0.
        """
        rare, frequent = self.words(question)
        rows, scores = self._match(_any(rare))
        if frequent and len(rows):
            # FTS5 scores a match by every word of the expression, so that rare words count twice.
            scores = self._match(f"({_any(rare)}) AND ({_any(rare + frequent)})")[1] - scores
        return rows, scores

    def _match(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        sql = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY rowid"
        found = np.array(self.connection.execute(sql, (query,)).fetchall() if query else [], np.float64).reshape(-1, 2)
        return found[:, 0].astype(np.int64), found[:, 1]

    def words(self, question: str) -> tuple[list[str], list[str]]:
        """Return a query's rare and frequent words, rarest first, without those that the archive lacks.

        The rarest words are rare as long as their counts add up to BUDGET at most; one word always is.
        """
        counts = sorted((self._count(stem), word) for stem, word in self._stems(question).items())
        counts = [(count, word) for count, word in counts if count][:MOST_WORDS]
        words = [word for _, word in counts]
        rare = max(1, int((np.cumsum([count for count, _ in counts]) <= BUDGET).sum()))
        return words[:rare], words[rare:]

    def _stems(self, question: str) -> dict[str, str]:
        """Return a word of the query for each of its stems."""
        text = question[:CHARACTERS].encode("utf-8", "replace").decode()
        terms = []
        for table in ("asked", "stemmed"):
            self.connection.execute(f"DELETE FROM temp.{table}")
            self.connection.execute(f"INSERT INTO temp.{table} VALUES (?)", (text,))
            terms.append(dict(self.connection.execute(f'SELECT "offset", term FROM temp.{table}_words')))
        words, stems = terms
        return {stems[place]: word for place, word in words.items()}

    def _count(self, stem: str) -> int:
        """Return the number of questions with a stem."""
        if stem in self.counts:
            return self.counts[stem]
        row = self.connection.execute("SELECT doc FROM word_counts WHERE term = ?", (stem,)).fetchone()
        count = row[0] if row else 0
        if count >= FREQUENT:
            self.counts[stem] = count
        return count


def _any(words: list[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)  # an FTS5 word has no quotes
