"""The two files of an archive, and atomic changes of both.

`archive.sqlite` holds texts, ids and the index of words, `vectors.f32` one vector for each question. A change is one
SQLite transaction, so other processes see all of it or nothing. Vectors are written and synced before the transaction
commits. Rows beyond those that the database counts are left over from a crash; the next change cuts them off.

A removed question leaves a hole: a row of `blank` without a question, whose bytes count as zeros in the checksum of
their block. The next transaction moves the last questions into the holes, which overwrites the removed vectors, and
then cuts the file. A reader whose older snapshot needs what was overwritten finds a wrong checksum and begins again.
"""

import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.archive import content, payloads, rows, tables, vectors, words
from siamese.archive.rows import Rows
from siamese.archive.seal import Seal
from siamese.archive.sqlite import DATABASE, PATIENCE, WAL, connect, refusing, state
from siamese.archive.tables import Meta
from siamese.archive.vectors import BLOCK, VECTORS, WAITING
from siamese.errors import ArchiveError
from siamese.system.files import sync_file, sync_folder
from siamese.system.outputs import refuse_links
from siamese.system.program import program

LISTS = "lists.npz"  # from version 0.1, which compared a query with only a part of a large archive
FILES = (DATABASE, VECTORS, WAITING, LISTS, WAL, f"{DATABASE}-shm", f"{DATABASE}-journal")


def create(folder: Path, facts: Mapping[str, Any]) -> None:
    """Create the files of an empty archive; `facts` as in `tables.create`."""
    (folder / DATABASE).touch()
    with refusing(folder), closing(connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # so that readers and the writer do not block each other
        tables.create(connection, facts)
        renew(connection, folder / VECTORS, np.zeros((0, facts["dimensions"]), np.float32))


class Database:
    """An open archive: SQL, transactions, and the vectors as of the last transaction that asked for them.

    Threads take turns.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        if not (folder / DATABASE).is_file():
            raise ArchiveError(f"{folder}: no archive there (no {DATABASE}); `{program()} archive build` makes one")
        refuse_links(folder, *FILES)
        self.vectors = np.zeros((0, 0), np.float32)  # (rows, d), 0 where blank
        self.blank = np.zeros(0, bool)  # (rows,)
        self._held = self.vectors  # with room for more
        self._sums: dict[int, int] = {}  # of the blocks in `vectors`
        self._id: str | None = None  # of the file that they are from
        self._changes = -1  # at the last look into the vectors
        self.facts: Meta = {}  # the table, at the last look
        self._content = content.Content(folder / DATABASE)
        self._release = weakref.finalize(self, self._content.close)
        with refusing(folder):
            try:
                self._connect()
                with self.reading() as self.facts:
                    self.dimensions: int = self.facts["dimensions"]
            except BaseException:
                self.close()
                raise

    def _connect(self) -> None:
        """Open the database, if nothing can be written there without SQLite's own files beside it."""
        self._seal = Seal(self.folder, self._content)
        self._seal.check_log()
        path = self.folder / DATABASE
        self._file, self._immutable, self._changes = state(self.folder), False, -1
        self.readonly = not (os.access(self.folder, os.W_OK) and os.access(path, os.W_OK))
        try:
            self.connection = connect(path, "mode=ro" if self.readonly else "mode=rw")
        except sqlite3.OperationalError:
            if not self.readonly:
                raise
            if self._file[-1]:
                message = "has changes that are not yet in the database; open it once where it can be written"
                raise ArchiveError(f"{self.folder}: {WAL} {message}") from None
            self._immutable = True
            self.connection = connect(path, "immutable=1")
        self.execute = self.connection.execute
        self.words = words.Words(self.connection)

    def release(self) -> None:
        """Forget the vectors, for the sake of memory, until somebody asks for them."""
        with self._lock:
            self.vectors = self._held = np.zeros((0, 0), np.float32)
            self.blank, self._sums, self._id, self._changes = np.zeros(0, bool), {}, None, -1

    def close(self) -> None:
        with self._lock:
            if hasattr(self, "connection"):
                self.connection.close()
            self._release()  # after it, see `content`

    def meta(self) -> Meta:
        meta = tables.read_meta(self.connection, self.folder)
        if self.facts and meta["fingerprint"] != self.facts["fingerprint"]:
            raise ArchiveError(f"{self.folder}: encoded with another model since it was opened; open it again")
        return meta

    def stored(self, column: str, value: object) -> tuple[int, str, str, str] | None:
        """Return row, id, text and payload of the question whose row or id is this, or None if there is none.

        Raises:
            ArchiveError: they have another checksum.
        """
        return next(self.all_stored(f"{column} = ?", (value,)), None)

    def all_stored(self, condition: str = "1", values: Sequence[Any] = ()) -> Iterator[tuple[int, str, str, str]]:
        """Yield what `stored` returns for all questions that fit a condition in SQL, which may order and limit them."""
        sql = f"SELECT row, id, question, payload, right FROM {tables.stored(self.facts)} WHERE {condition}"
        for *found, right in self.execute(sql, values):
            if not right:
                raise ArchiveError(f"{self.folder / DATABASE}: damaged: a text has another checksum; restore a copy")
            yield (*found,)

    def rows_where(self, where: Mapping[str, Any]) -> np.ndarray:
        """Return the rows, ascending int64, of the questions whose payload has all of these values.

        Call it within `reading`. An index of one of the columns makes it fast.

        Args:
            where: name to value, as in `payloads.condition`.

        Raises:
            UserError: no payload of the archive has a name.
        """
        sql, values = payloads.condition(self.connection, where, tables.columns(self.facts))
        found = self.execute(f"SELECT row FROM {tables.stored(self.facts)} WHERE {sql} ORDER BY row", values)
        return np.fromiter((row for (row,) in found), np.int64)

    @contextmanager
    def reading(self, with_vectors: bool = False) -> Iterator[Meta]:
        """Hold a snapshot of the newest state, whatever other processes commit meanwhile."""
        with self._lock, refusing(self.folder):
            meta = self._begin(with_vectors)
            try:
                yield meta
            finally:
                self.execute("ROLLBACK")
            if self._immutable and state(self.folder) != self._file:
                raise ArchiveError(f"{self.folder}: changed while it was read; try again")

    def _begin(self, with_vectors: bool) -> Meta:
        """Begin to read. A failure counts only if no other process has changed the archive meanwhile."""
        before = None
        while True:
            self._check_place()
            self.execute("BEGIN")
            try:
                meta = self.meta()
                with vectors.opened(self.folder, meta) as file:
                    self._seal.check(self.connection, meta, file)
                    if with_vectors and meta["changes"] != self._changes:
                        self._load(meta, file)
                self.facts = meta
                return meta
            except BaseException as error:
                try:
                    now = self.execute("SELECT value FROM meta WHERE key = 'changes'").fetchone()
                finally:
                    self.execute("ROLLBACK")
                if before == now or not isinstance(error, ArchiveError):
                    raise
                before = now

    def _check_place(self) -> None:
        """Raise ArchiveError if the folder has another database than the open one, or none."""
        found = state(self.folder)
        if found[:2] != self._file[:2]:
            raise ArchiveError(f"{self.folder}: replaced or removed since it was opened; open it again")
        if self._immutable and found != self._file:  # SQLite would not notice
            self.connection.close()
            self._connect()

    @contextmanager
    def writing(self, prepare: Callable[[Meta], None] = lambda meta: None) -> Iterator[Rows]:
        """Change the archive atomically; the block may change the counts in `Rows.meta`.

        `prepare` is called in the transaction, before it opens the vectors that belong to the table.
        """
        with self._lock:
            self.fill()
            with self._transaction(prepare) as change:
                yield change

    def fill(self) -> None:
        """Move the last questions into the rows of removed ones."""
        with self._lock:
            with self.reading():
                holes = rows.holes(self.connection)
            if holes:  # a transaction of its own: until it is committed, the last rows must stay as they are
                with self._transaction() as change:
                    change.fill()

    @contextmanager
    def _transaction(self, prepare: Callable[[Meta], None] = lambda meta: None) -> Iterator[Rows]:
        if self.readonly:
            raise ArchiveError(f"{self.folder}: cannot be changed: no permission to write there")
        with refusing(self.folder):
            self._check_place()
            self.execute("BEGIN IMMEDIATE")
            earlier = self.facts
            try:
                meta = self.meta()
                if meta["format"] != tables.FORMAT:
                    self._upgrade(meta)
                self.facts = meta
                prepare(meta)
                sync_folder(self.folder)  # before the transaction commits, after which only a new file will do
                with vectors.opened(self.folder, meta, "r+b") as file:
                    self._seal.check(self.connection, meta, file)
                    change = Rows(self.folder, self.connection, meta, file)
                    change.cut()
                    yield change
                    sync_file(Path(file.name))  # before the transaction commits
                    self._check_place()
                    self._seal.check(self.connection, meta, file)
                    meta["changes"] += 1
                    self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
                    self.execute(f"PRAGMA user_version = {meta['changes']}")
                    self.execute("COMMIT")
                    self._check_place()
            except BaseException as error:
                self.facts = earlier
                if isinstance(error, OSError) and error.filename is None:  # a full disk
                    error.filename = str(self.folder / VECTORS)
                if self.connection.in_transaction:  # SQLite rolls back by itself if the disk is full
                    self.execute("ROLLBACK")
                raise
            (self.folder / LISTS).unlink(missing_ok=True)
            sync_folder(self.folder)
            self._finish()
            # Otherwise the log keeps what was removed. If somebody is reading, the next change does it.
            self.execute("PRAGMA busy_timeout = 0")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
        with self.reading():  # a last look whether it was replaced
            pass

    def _finish(self) -> None:
        """Cut off rows that were moved, seal the newest state, and give a new file of vectors its name.

        Nobody else may be writing, who would lose rows.
        """
        try:
            self.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # somebody is, and does it after us
            return
        try:
            meta = self.meta()
            with vectors.opened(self.folder, meta, "r+b") as file:
                Rows(self.folder, self.connection, meta, file).cut()
                self._seal.renew(self.connection, meta, file)
            if Path(file.name).name == WAITING:
                os.replace(file.name, self.folder / VECTORS)
            else:
                (self.folder / WAITING).unlink(missing_ok=True)  # of a process that was killed
        finally:
            self.execute("ROLLBACK")

    def _upgrade(self, meta: Meta) -> None:
        """Turn an earlier format into this one."""
        if meta["format"] == 1:
            with vectors.opened(self.folder, meta) as file:
                self._load(meta, file)
            tables.add_sums(self.connection)
            meta["id"] = renew(self.connection, self.folder / WAITING, self.vectors)
        tables.add_payloads(self.connection, meta)

    def copy(self, folder: Path) -> None:
        """Copy the newest state into an empty folder, with an id of its own."""
        (folder / DATABASE).touch()
        with (
            self.reading(with_vectors=True) as meta, refusing(folder),
            closing(connect(folder / DATABASE)) as connection,
        ):  # fmt: skip
            self.connection.backup(connection)
            if meta["format"] > 1:
                renew(connection, folder / VECTORS, self.vectors)
            else:
                self.vectors.astype("<f4").tofile(folder / VECTORS)
        with closing(Database(folder)) as copied, copied.writing():
            pass

    def _load(self, meta: Meta, file: IO[bytes]) -> None:
        """Read the blocks that have changed since the last look."""
        count, sums = meta["rows"], dict[int, int]()
        if meta["format"] > 1:
            sums = dict(self.execute("SELECT block, crc FROM sums"))
        if self._id != meta.get("id"):
            self._sums = {}
        self._changes = -1  # until all is read
        if len(self._held) < count or not len(self._held):
            held = np.empty((count + (count // 8 if len(self._held) else 0), self.dimensions), "<f4")
            held[: len(self.vectors)] = self.vectors.reshape(-1, self.dimensions)
            self._held = held
        blank = np.zeros(count, bool)
        try:
            blank[[row for (row,) in self.execute("SELECT row FROM blank")]] = True
        except (IndexError, TypeError):
            raise ArchiveError(f"{self.folder / DATABASE}: damaged: a blank row that is not there") from None
        for block in range(-(-count // BLOCK)):
            part = slice(block * BLOCK, min((block + 1) * BLOCK, count))
            checksum = sums.get(block, -1) if meta["format"] > 1 else None
            if checksum is None or self._sums.get(block) != checksum:
                self._sums.pop(block, None)
                rows.read(self.folder, meta, file, part.start, self._held[part], blank[part], checksum)
        self.vectors, self.blank, self._sums, self._id = self._held[:count], blank, sums, meta.get("id")
        self.words.forget(count)
        self._changes = meta["changes"]


def renew(connection: sqlite3.Connection, path: Path, data: np.ndarray, earlier: str = "") -> str:
    """Write a new file of vectors, and its id and checksums to the database.

    Return the id. It has the same mark as the earlier id of the database, if that is given.
    """
    kept = earlier[: content.MARK]
    id = kept + secrets.token_hex(16)[len(kept) :]
    sums = vectors.write(path, id, data)
    connection.execute("DELETE FROM sums")
    connection.executemany("INSERT INTO sums VALUES (?, ?)", enumerate(sums))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('id', ?)", (id,))
    connection.execute(f"PRAGMA application_id = {content.mark({'id': id, 'changes': 0})[0]}")
    return id
