"""The two files of an archive, and atomic changes of both.

`archive.sqlite` holds texts, ids and the index of words, `vectors.f32` one vector for each question. A change is one
SQLite transaction, so other processes see all of it or nothing. Row i of the vectors starts at byte 4 d i and never
moves. It is written and synced before the transaction commits. Rows beyond those that the database counts are left over
from a crash; the next change overwrites them.
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
LISTS = "lists.npz"  # from version 0.1, which compared a query with only a part of a large archive
PATIENCE = 1.0  # seconds that a second writer waits for the first

# `blank` has the rows whose vector is 0: questions without a known word, and removed questions. `wiped` says whether a
# removed vector has been overwritten.
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE questions(row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, question TEXT NOT NULL);
CREATE TABLE blank(row INTEGER PRIMARY KEY, wiped INTEGER NOT NULL);
"""

Meta = dict[str, Any]  # the table: format, model, fingerprint, dimensions, and counts, which a change may update


def create(folder: Path, facts: Mapping[str, Any]) -> None:
    """Create the files of an empty archive; `facts` are model, fingerprint and dimensions."""
    (folder / VECTORS).touch()
    (folder / DATABASE).touch()
    with closing(_connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # so that readers and the writer do not block each other
        connection.executescript(_SCHEMA)
        words.create(connection)
        # Rows ever used, questions, the last number given as an id, transactions.
        counts = {"rows": 0, "questions": 0, "number": 0, "changes": 0}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", {"format": FORMAT, **facts, **counts}.items())


class Database:
    """An open archive: SQL, transactions, and the vectors as of the last refresh."""

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
            raise ArchiveError(f"{folder}: an archive of format {self.facts.get('format')!r}; expected {FORMAT}")
        self.dimensions: int = self.facts["dimensions"]
        self.vectors: np.ndarray = np.zeros((0, self.dimensions), np.float32)  # (rows, d), 0 where blank
        self.blank = np.zeros(0, bool)  # (rows,)
        self._changes = -1  # of the archive, at the last refresh

    def close(self) -> None:
        self.connection.close()

    def meta(self) -> Meta:
        return dict(self.execute("SELECT key, value FROM meta"))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Turn SQLite's errors within the block into ArchiveError."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ArchiveError(f"{self.folder}: another process is writing to it; wait for its end") from None
            raise ArchiveError(f"{self.folder / DATABASE}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[Meta]:
        """Hold a snapshot of the newest state, whatever other processes commit meanwhile."""
        with self.refusing():
            self.execute("BEGIN")
            try:
                meta = self.meta()
                if meta["changes"] != self._changes:
                    self._refresh(meta)
                yield meta
            finally:
                self.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[tuple[Meta, IO[bytes]]]:
        """Change the archive atomically.

        Yields:
            The table of counts, which the block may change, and the file of vectors, to which it may write from row
            `rows` on.
        """
        with self.refusing(), open(self.folder / VECTORS, "r+b") as file:
            self.execute("BEGIN IMMEDIATE")
            try:
                self._wipe(file)
                meta = self.meta()
                file.seek(meta["rows"] * self.dimensions * 4)
                yield meta, file
                file.flush()
                sync_file(self.folder / VECTORS)  # before the transaction commits
                meta["changes"] += 1
                changed = [(value, key) for key, value in meta.items()]
                self.connection.executemany("UPDATE meta SET value = ? WHERE key = ?", changed)
                self.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, OSError) and error.filename is None:  # a full disk
                    error.filename = str(self.folder / VECTORS)
                if self.connection.in_transaction:  # SQLite rolls back by itself if the disk is full
                    self.execute("ROLLBACK")
                raise
            (self.folder / LISTS).unlink(missing_ok=True)
            # Otherwise the log keeps what was removed. If somebody is reading, the next change does it.
            self.execute("PRAGMA busy_timeout = 0")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _wipe(self, file: IO[bytes]) -> None:
        """Overwrite the vectors of removed questions."""
        for (row,) in self.execute("SELECT row FROM blank WHERE NOT wiped").fetchall():
            file.seek(row * self.dimensions * 4)
            file.write(bytes(self.dimensions * 4))
        self.execute("UPDATE blank SET wiped = 1 WHERE NOT wiped")

    def _refresh(self, meta: Meta) -> None:
        shape = (meta["rows"], self.dimensions)
        if meta["rows"]:  # an empty file cannot be mapped
            try:
                self.vectors = np.memmap(self.folder / VECTORS, "<f4", "r", shape=shape)
            except (OSError, ValueError) as error:
                raise ArchiveError(f"{self.folder / VECTORS}: {error}; expected {shape[0]:,} vectors") from None
        self.blank = np.zeros(meta["rows"], bool)
        self.blank[[row for (row,) in self.execute("SELECT row FROM blank")]] = True
        self.words.forget()
        self._changes = meta["changes"]


def _connect(path: Path) -> sqlite3.Connection:
    # A service uses it from several threads, guarded by a lock.
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=PATIENCE, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # queries leave no files
    return connection
