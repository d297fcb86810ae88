"""Check that the database is what our transactions left, and not changed, exchanged or joined with a log by others.

After each transaction the header of the vectors has the checksum of the database. It is compared with the whole
database at the first look, and again if the file changed without a transaction. A transaction updates the checksum from
its pages in SQLite's log.
"""

import sqlite3
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.archive import content, vectors
from siamese.archive.sqlite import DATABASE, WAL, state
from siamese.archive.vectors import VECTORS
from siamese.errors import ArchiveError


class Seal:
    """The known content of an open archive's database."""

    def __init__(self, folder: Path, file: content.Content) -> None:
        self.folder, self._file = folder, file
        self._checked = False
        self._seen = -1, state(folder)  # transactions, and the file when they were all in it
        self._sums: tuple[int, np.ndarray] | None = None  # transactions, and the sums of the database after them

    def check_log(self) -> None:
        """Raise ArchiveError if the log, which SQLite would merge, is of another archive or of an earlier state."""
        while True:
            before = state(self.folder)
            marks = content.marks_in(self.folder / WAL)  # first, since the database only grows newer meanwhile
            id, changes = self._file.mark()
            if marks is None or not id:  # no transaction, or an archive of version 0.1.0
                return
            if {id} == {one for one, _ in marks} and marks[0][1] - 1 <= changes <= marks[-1][1]:
                return
            if before == state(self.folder):
                raise ArchiveError(
                    f"{self.folder / WAL}: of another archive than the database beside it, or of an earlier state; "
                    "remove it, or restore all files together"
                )

    def check(self, connection: sqlite3.Connection, meta: dict[str, Any], file: IO[bytes]) -> None:
        """Raise ArchiveError if another program has changed the database, as a transaction sees it.

        Without a log the transaction reads from the database alone, and SQLite lets nobody write to it.

        Args:
            connection: within the transaction.
            meta: the table.
            file: the vectors.
        """
        found = state(self.folder)
        if "id" in meta and (mark := self._file.mark())[0]:
            expected = content.mark(meta)
            if mark != expected and (mark[0] != expected[0] or not found[-1]):
                raise ArchiveError(f"{self.folder}: its database was replaced since it was opened; open it again")
        if not found[-1]:
            if meta["changes"] <= self._seen[0] and found != self._seen[1]:
                self._checked = False
            self._seen = meta["changes"], found
        if not self._checked:
            self._compare(connection, meta, file)
            self._checked = True

    def _compare(self, connection: sqlite3.Connection, meta: dict[str, Any], file: IO[bytes]) -> None:
        if "id" in meta:
            changes, checksum = vectors.seal(file)
            if changes > meta["changes"]:
                raise ArchiveError(f"{self.folder / DATABASE}: older than {VECTORS}: copied while in use, or damaged")
            if changes == meta["changes"]:
                self._sums = changes, self._sums_of_all(connection)
                if content.checksum(self._sums[1]) != checksum:
                    raise ArchiveError(f"{self.folder / DATABASE}: damaged: another checksum; restore a copy")
                return
        # Of version 0.1.0, or a crash came between the commit and its seal.
        if (found := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise ArchiveError(f"{self.folder / DATABASE}: damaged: {found.splitlines()[0]}")

    def renew(self, connection: sqlite3.Connection, meta: dict[str, Any], file: IO[bytes]) -> None:
        """Write the checksum of the database into the header of the vectors; the arguments are as in `check`."""
        sums = None
        if self._sums and self._sums[0] == meta["changes"] - 1:
            sums = content.logged(self._sums[1], self.folder / WAL)
        self._sums = meta["changes"], self._sums_of_all(connection) if sums is None else sums
        file.seek(0)
        file.write(vectors.header(meta["id"], meta["changes"], content.checksum(self._sums[1])))

    def _sums_of_all(self, connection: sqlite3.Connection) -> np.ndarray:
        if state(self.folder)[-1]:  # a part is in the log
            return content.sums_of(connection.serialize())
        return self._file.sums()
