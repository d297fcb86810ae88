"""Open the SQLite file of an archive, and see whether it was replaced."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from siamese.errors import ArchiveBusyError, ArchiveError
from siamese.system.locking import without_locks

DATABASE = "archive.sqlite"
WAL = f"{DATABASE}-wal"
PATIENCE = 1.0  # seconds that a second writer waits for the first


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors within the block into ArchiveError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
            if without_locks(folder):
                raise ArchiveError(f"{folder}: on a file system without locks; copy it to one that has them") from None
            raise ArchiveBusyError(f"{folder}: another process is writing to it; wait for its end") from None
        raise ArchiveError(f"{folder / DATABASE}: {error}") from error


def state(folder: Path) -> tuple[int, ...]:
    """Return what shows whether the database was replaced (the first two), or has changed."""
    name = os.fspath(folder)  # joined as text, since this is asked three times a search
    try:
        about = os.stat(f"{name}/{DATABASE}")
    except FileNotFoundError:
        return (-1, -1)
    try:
        log = os.stat(f"{name}/{WAL}").st_size
    except FileNotFoundError:
        log = 0
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, log


def connect(path: Path, how: str = "mode=rw") -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None, timeout=PATIENCE, check_same_thread=False
    )
    connection.create_function("crc", -1, text_sum, deterministic=True)
    try:
        connection.execute("PRAGMA synchronous = FULL")  # reads the database
    except UnicodeDecodeError:  # of SQLite's message, which repeats what is damaged
        connection.close()
        raise sqlite3.DatabaseError("damaged: its tables have no readable names; restore a copy") from None
    except BaseException:
        connection.close()
        raise
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # queries leave no files
    return connection


def text_sum(row: int, id: str, question: str, payload: str = "{}") -> int:
    """Return the checksum of a question. An empty payload does not change it, so that those of format 2 stay."""
    return crc32(f"{row}\0{id}\0{question}{'' if payload == '{}' else payload}".encode())
