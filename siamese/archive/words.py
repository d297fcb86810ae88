"""The questions of an archive by their words: BM25 by SQLite's full-text index (FTS5), in the archive's transactions.

Words are runs of letters, digits and marks, without case and accents, by their stems (Porter 1980, English); a script
that puts no spaces between words, as Chinese does, is found by whole runs only. BM25: Robertson, Zaragoza 2009.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np

from siamese.errors import UserError

LETTERS = 10_000  # of a question that are looked at
MOST_WORDS = 64  # of a question that are looked up, the rarest
BUDGET = 5_000  # questions that hold a rare word, counted for each word; on Quora's more find nothing better
FREQUENT = 1_000  # questions: counting them takes so long that it is remembered

_PLAIN = "unicode61 remove_diacritics 2 categories ''L* M* N* Co''"
_SCHEMA = f"""
CREATE VIRTUAL TABLE words USING fts5(
    question, content='questions', content_rowid='row', tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE word_counts USING fts5vocab(words, 'row');
"""
# The same cut of a question that is asked: as it stands, for the query, and by stems, for the counts.
_ASKED = f"""
CREATE VIRTUAL TABLE temp.asked USING fts5(question, tokenize='{_PLAIN}');
CREATE VIRTUAL TABLE temp.asked_words USING fts5vocab(temp, asked, 'instance');
CREATE VIRTUAL TABLE temp.stemmed USING fts5(question, tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE temp.stemmed_words USING fts5vocab(temp, stemmed, 'instance');
"""


def create(connection: sqlite3.Connection) -> None:
    """Make the index over the table `questions`, empty; UserError where this SQLite has no FTS5."""
    try:
        connection.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        raise UserError(
            f"this Python's SQLite ({sqlite3.sqlite_version}) is built without FTS5, which archives need"
        ) from None


def add(connection: sqlite3.Connection, first: int) -> None:
    """Index the questions from row `first` on."""
    connection.execute(
        "INSERT INTO words(rowid, question) SELECT row, question FROM questions WHERE row >= ?", (first,)
    )


def remove(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Take questions, by row and text, out of the index, so that the file keeps none of their words."""
    connection.executemany("INSERT INTO words(words, rowid, question) VALUES ('delete', ?, ?)", rows)
    # FTS5 only marks what is deleted, until its parts are merged.
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")


class Words:
    """Asks the index; `forget` what is remembered of it when it has changed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.counts: dict[str, int] = {}
        connection.executescript(_ASKED)

    def forget(self) -> None:
        self.counts.clear()

    def scores(self, question: str) -> tuple[np.ndarray, np.ndarray]:
        """The questions that share a rare word with this one, by BM25 over all of its words.

        To look at all that share any word takes a hundred times as long: "what" alone is in a large part of them.

        Returns:
            (m,) int64 rows, in order, and (m,) float64 scores, above 0.
        """
        rare, frequent = self.words(question)
        rows, scores = self._match(_any(rare))
        if frequent and len(rows):
            # FTS5 scores what it matches by all the words of the query, so that the rare ones count twice.
            scores = self._match(f"({_any(rare)}) AND ({_any(rare + frequent)})")[1] - scores
        return rows, scores

    def _match(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        sql = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY rowid"
        found = np.array(self.connection.execute(sql, (query,)).fetchall() if query else [], np.float64).reshape(-1, 2)
        return found[:, 0].astype(np.int64), found[:, 1]

    def words(self, question: str) -> tuple[list[str], list[str]]:
        """A question's words that the archive has, rare and frequent ones, the rarest first.

        The rare ones are those that few enough questions hold, BUDGET in all; at least one word is.
        """
        counts = sorted((self._count(stem), word) for stem, word in self._cut(question).items())
        counts = [(count, word) for count, word in counts if count][:MOST_WORDS]
        words = [word for _, word in counts]
        rare = max(1, int((np.cumsum([count for count, _ in counts]) <= BUDGET).sum()))
        return words[:rare], words[rare:]

    def _cut(self, question: str) -> dict[str, str]:
        """Each distinct stem of the question, and the word it is of."""
        text = question[:LETTERS].encode("utf-8", "replace").decode()
        cut = []
        for table in ("asked", "stemmed"):
            self.connection.execute(f"DELETE FROM temp.{table}")
            self.connection.execute(f"INSERT INTO temp.{table} VALUES (?)", (text,))
            cut.append(dict(self.connection.execute(f'SELECT "offset", term FROM temp.{table}_words')))
        words, stems = cut
        return {stems[place]: word for place, word in words.items()}

    def _count(self, stem: str) -> int:
        """How many questions hold the stem."""
        if stem in self.counts:
            return self.counts[stem]
        row = self.connection.execute("SELECT doc FROM word_counts WHERE term = ?", (stem,)).fetchone()
        count = row[0] if row else 0
        if count >= FREQUENT:
            self.counts[stem] = count
        return count


def _any(words: list[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)  # what FTS5 takes for a word holds no quotes
