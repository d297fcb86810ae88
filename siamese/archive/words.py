"""Search an archive by words: BM25 (Robertson, Zaragoza 2009) from SQLite's full-text index (FTS5).

Words are runs of letters, digits and marks, without case and accents, reduced to English stems (Porter 1980). In a
script without spaces between words, such as Chinese, only whole runs match. The index changes in the archive's
transactions.
"""

import math
import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from siamese.archive import ranking
from siamese.archive.postings import MOST, Postings, word_weight
from siamese.errors import UserError

CHARACTERS = 10_000  # of a query that are read
MOST_WORDS = 64  # of a query that are looked up, the rarest
BUDGET = 5_000  # matches of a query's rare words, summed over the words; on Quora's questions more did not help
FREQUENT = 1_000  # questions with a word, from which on their count is cached
QUERIES_PAY = 500  # questions that can be read into memory in the time that a query without that takes, or less
DIGITS = 9  # of BM25 that count, so that the order of a sum does not
PIECES = 50_000  # of queries whose words are cached, of PIECE characters at most
PIECE = 64

_PLAIN = "unicode61 remove_diacritics 2 categories ''L* M* N* Co''"
_SCHEMA = f"""
CREATE VIRTUAL TABLE words USING fts5(
    question, content='questions', content_rowid='row', tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE word_counts USING fts5vocab(words, 'row');
"""
# A query is tokenized in the same way: as written, for MATCH, and by stems, for the counts.
_ASKED = f"""
CREATE VIRTUAL TABLE temp.asked USING fts5(question, content='', columnsize=0, tokenize='{_PLAIN}');
CREATE VIRTUAL TABLE temp.asked_words USING fts5vocab(temp, asked, 'instance');
CREATE VIRTUAL TABLE temp.stemmed USING fts5(question, content='', columnsize=0, tokenize='porter {_PLAIN}');
CREATE VIRTUAL TABLE temp.stemmed_words USING fts5vocab(temp, stemmed, 'instance');
CREATE VIRTUAL TABLE temp.instances USING fts5vocab(main, words, 'instance');
"""
_ASCII = re.compile("[a-z0-9]+")  # a word without case, for the tokenizer


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
    """Remove questions, given by row and text, from the index; `purge` then removes their words from the file."""
    _forget(connection, rows)


def purge(connection: sqlite3.Connection) -> None:
    """Rewrite the index, since FTS5 only marks deleted rows until its segments are merged."""
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")


def _forget(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    connection.executemany("INSERT INTO words(words, rowid, question) VALUES ('delete', ?, ?)", rows)


class Words:
    """Queries of the index, which is held in memory if the archive is small and asked often; the answers are the same.

    Call `forget` after a change.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._pieces: dict[str, list[tuple[str, str]]] = {}  # words and stems of pieces of queries
        _run(connection, _ASKED)
        self.forget(0)

    def forget(self, rows: int) -> None:
        """Read the index anew, of an archive that now has so many rows."""
        self._counts: dict[str, int] = {}
        self._postings: Postings | None = None
        self._rows, self._asked, self._n = rows, 0, -1

    def scores(self, question: str) -> ranking.Words:
        """Find the questions that share a rare word with a query, and their BM25 over all words of the query.

        To score all that share any word takes a hundred times as long: "what" alone is in a large part of them.
        """
        if self._n < 0:
            self._n = self.connection.execute("SELECT count(*) FROM questions").fetchone()[0]
        self._asked += 1
        if self._postings is None and self._rows <= min(MOST, self._asked * QUERIES_PAY):
            self._postings = Postings(self.connection, self._rows, self._n)
        counts = self._counted(question)
        whole = math.fsum(word_weight(count, self._n) for count, _, _ in counts)
        rare, frequent = _rare(counts)
        if self._postings is not None:
            rows, scores = self._postings.scores([stem for stem, _ in rare], [stem for stem, _ in frequent])
        else:
            rows, scores = self._match([word for _, word in rare], [word for _, word in frequent])
        return ranking.Words(rows, scores.round(DIGITS), whole or 1.0)

    def _match(self, rare: list[str], frequent: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows, scores = self._found(_any(rare))
        if frequent and len(rows):
            # FTS5 scores a match by every word of the expression, so that rare words count twice.
            scores = self._found(f"({_any(rare)}) AND ({_any(rare + frequent)})")[1] - scores
        return rows, scores

    def _found(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        sql = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY rowid"
        found = np.array(self.connection.execute(sql, (query,)).fetchall() if query else [], np.float64).reshape(-1, 2)
        return found[:, 0].astype(np.int64), found[:, 1]

    def words(self, question: str) -> tuple[list[str], list[str]]:
        """Return a query's rare and frequent words, rarest first, without those that the archive lacks.

        The rarest words are rare as long as their counts add up to BUDGET at most; one word always is.
        """
        rare, frequent = _rare(self._counted(question))
        return [word for _, word in rare], [word for _, word in frequent]

    def _counted(self, question: str) -> list[tuple[int, str, str]]:
        """Return the number of questions that have it, stem and word, for each word of a query; the rarest first."""
        return sorted((self._count(stem), stem, word) for stem, word in self._stems(question).items())

    def _stems(self, question: str) -> dict[str, str]:
        """Return a word of the query for each of its stems."""
        text = question[:CHARACTERS].encode("utf-8", "replace").decode()
        # No word goes beyond a space, whatever the tokenizer does with other characters.
        pieces = dict.fromkeys(_pieces(text)) if text else {}
        if len(self._pieces) > PIECES:
            self._pieces.clear()
        known, new = self._pieces, {}
        if missing := [piece for piece in pieces if piece not in known]:
            new = self._tokenized(missing)
            known |= {piece: new[piece] for piece in missing if len(piece) <= PIECE}
        return {stem: word for piece in pieces for word, stem in (new[piece] if piece in new else known[piece])}

    def _tokenized(self, pieces: list[str]) -> dict[str, list[tuple[str, str]]]:
        """Return words and stems of each piece."""
        stems, words = self._terms("stemmed", pieces), {}
        if not all(map(_ASCII.fullmatch, pieces)):
            words = self._terms("asked", pieces)
        found: dict[str, list[tuple[str, str]]] = {piece: [] for piece in pieces}
        for (number, place), stem in stems.items():
            if stem is None:  # an accent that stands alone, without which nothing is left
                continue
            found[pieces[number]].append((words[number, place] if words else pieces[number], stem))
        return found

    def _terms(self, table: str, pieces: list[str]) -> dict[tuple[int, int], Any]:
        """Return what a table makes of the words of each piece, by the number of the piece and the word's place.

        FTS5 gives None for an empty word.
        """
        self.connection.execute(f"INSERT INTO temp.{table}({table}) VALUES ('delete-all')")
        self.connection.executemany(f"INSERT INTO temp.{table}(rowid, question) VALUES (?, ?)", enumerate(pieces))
        rows = self.connection.execute(f'SELECT doc, "offset", term FROM temp.{table}_words')
        return {(number, place): term for number, place, term in rows}

    def _count(self, stem: str) -> int:
        """Return the number of questions with a stem."""
        if self._postings is not None:
            return self._postings.count(stem)
        if stem in self._counts:
            return self._counts[stem]
        row = self.connection.execute("SELECT doc FROM word_counts WHERE term = ?", (stem,)).fetchone()
        count = row[0] if row else 0
        if count >= FREQUENT:
            self._counts[stem] = count
        return count


def _rare(counts: list[tuple[int, str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the stem and the word of what `words` returns."""
    counts = [each for each in counts if each[0]][:MOST_WORDS]
    found, total, rare = [(stem, word) for _, stem, word in counts], 0, 0
    for count, _, _ in counts:
        total += count
        rare += total <= BUDGET
    rare = max(1, rare)
    return found[:rare], found[rare:]


def _pieces(text: str) -> Iterable[str]:
    """Yield words in ASCII, and whole runs without spaces that have other characters."""
    if text.isascii():
        yield from _ASCII.findall(text.lower())
        return
    for piece in text.split(" "):
        if piece.isascii():
            yield from _ASCII.findall(piece.lower())
        else:
            yield piece


def _any(words: list[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)  # an FTS5 word has no quotes
