"""The archive's two files, and changes of both that a crash leaves whole.

`archive.sqlite` holds texts, ids and the index of words, `vectors.f32` a row of numbers a question. SQLite decides what
is there: a change is one transaction of it, which other processes see whole or not at all. Row i of the vectors is at
byte 4 d i, is written and synced before the transaction that says so ends, and never moves; what lies behind the rows
that the database knows is what a crash left, and is written over.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.archive import words
from siamese.errors import ArchiveError
from siamese.system.files import sync_file
from siamese.system.program import program

FORMAT = 1
DATABASE, VECTORS = "archive.sqlite", "vectors.f32"
LISTS = "lists.npz"  # of version 0.1, which compared a question with a part of a large archive only
PATIENCE = 1.0  # seconds that a second writer waits for the first

# `blank` are the rows whose vector is 0: of questions without a known word, and of removed ones,
# where `wiped` says whether the vector that was there is overwritten yet.
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE questions(row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, question TEXT NOT NULL);
CREATE TABLE blank(row INTEGER PRIMARY KEY, wiped INTEGER NOT NULL);
"""

Meta = dict[str, Any]  # the table: format, model, fingerprint, dimensions, and the counts that a change may change


def create(folder: Path, facts: Mapping[str, Any]) -> None:
    """Make the files of an archive without questions; `facts` are model, fingerprint and dimensions."""
    (folder / VECTORS).touch()
    (folder / DATABASE).touch()
    with closing(_connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
        connection.executescript(_SCHEMA)
        words.create(connection)
        # Rows that were ever given, questions that are there, the last id that was a number, transactions.
        counts = {"rows": 0, "questions": 0, "number": 0, "changes": 0}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", {"format": FORMAT, **facts, **counts}.items())


class Database:
    """An open archive: SQL, transactions, and the vectors as the last look found them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / DATABASE).is_file():
            raise ArchiveError(f"{folder}: no archive there (no {DATABASE}); `{program()} archive build` makes one")
        with self.refusing():
            self.connection = _connect(folder / DATABASE)
            self.execute = self.connection.execute
            self.facts = self.meta()
            self.words = words.Words(self.connection)
        if self.facts.get("format") != FORMAT:
            raise ArchiveError(f"{folder}: an archive of format {self.facts.get('format')!r}, expected {FORMAT}")
        self.dimensions: int = self.facts["dimensions"]
        self.vectors: np.ndarray = np.zeros((0, self.dimensions), np.float32)  # (rows, d), 0 where blank
        self.blank = np.zeros(0, bool)  # (rows,)
        self._changes = -1  # of the archive, at the last look

    def close(self) -> None:
        self.connection.close()

    def meta(self) -> Meta:
        return dict(self.execute("SELECT key, value FROM meta"))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """SQLite's errors as the user's."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ArchiveError(f"{self.folder}: another process is writing to it; wait for its end") from None
            raise ArchiveError(f"{self.folder / DATABASE}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[Meta]:
        """See one state of the archive, the newest, whatever others commit meanwhile."""
        with self.refusing():
            self.execute("BEGIN")
            try:
                meta = self.meta()
                if meta["changes"] != self._changes:
                    self._look(meta)
                yield meta
            finally:
                self.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[tuple[Meta, IO[bytes]]]:
        """Change the archive, wholly or not at all.

        The block may change the counts in the table that it is given, and write rows to the file, from `rows` on.
        """
        with self.refusing(), open(self.folder / VECTORS, "r+b") as file:
            self.execute("BEGIN IMMEDIATE")
            try:
                self._wipe(file)
                meta = self.meta()
                file.seek(meta["rows"] * self.dimensions * 4)
                yield meta, file
                file.flush()
                sync_file(self.folder / VECTORS)  # before the transaction says what is there
                meta["changes"] += 1
                self.connection.executemany(
                    "UPDATE meta SET value = ? WHERE key = ?", [(v, k) for k, v in meta.items()]
                )
                self.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, OSError) and error.filename is None:  # a full disk
                    error.filename = str(self.folder / VECTORS)
                if self.connection.in_transaction:  # SQLite ends it by itself where the disk is full
                    self.execute("ROLLBACK")
                raise
            (self.folder / LISTS).unlink(missing_ok=True)
            # Else the log keeps what was removed. Where somebody reads, nobody waits: the next change does it.
            self.execute("PRAGMA busy_timeout = 0")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _wipe(self, file: IO[bytes]) -> None:
        """Overwrite the vectors of removed questions."""
        for (row,) in self.execute("SELECT row FROM blank WHERE NOT wiped").fetchall():
            file.seek(row * self.dimensions * 4)
            file.write(bytes(self.dimensions * 4))
        self.execute("UPDATE blank SET wiped = 1 WHERE NOT wiped")

    def _look(self, meta: Meta) -> None:
        shape = (meta["rows"], self.dimensions)
        if meta["rows"]:  # nothing cannot be mapped
            try:
                self.vectors = np.memmap(self.folder / VECTORS, "<f4", "r", shape=shape)
            except (OSError, ValueError) as error:
                raise ArchiveError(f"{self.folder / VECTORS}: {error}; expected {shape[0]:,} vectors") from None
        self.blank = np.zeros(meta["rows"], bool)
        self.blank[[row for (row,) in self.execute("SELECT row FROM blank")]] = True
        self.words.forget()
        self._changes = meta["changes"]


def _connect(path: Path) -> sqlite3.Connection:
    # A service guards it by a lock, and uses it from several threads.
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=PATIENCE, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # what is asked leaves no file
    return connection
