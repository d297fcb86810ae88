"""The rows of vectors within one transaction of an archive: their blocks with checksums, and the holes.

The database has a checksum for each block of rows. `append` adds rows, `blot` lets those of removed questions count as
zeros, and `fill` moves the last rows into such holes.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamese.archive import vectors, words
from siamese.archive.sqlite import DATABASE
from siamese.archive.vectors import BLOCK, VECTORS
from siamese.errors import ArchiveError


@dataclass(frozen=True)
class Rows:
    """The vectors that a transaction changes."""

    folder: Path
    connection: sqlite3.Connection
    meta: dict[str, Any]  # the table of counts
    file: IO[bytes]  # of the vectors, open for writing

    def append(self, rows: np.ndarray) -> None:
        """Write the vectors of new questions, (n, d), after the last row."""
        vectors.check(rows)
        data = np.ascontiguousarray(rows, "<f4")
        self._write(self.meta["rows"], data)
        while len(data):
            block, inside = divmod(self.meta["rows"], BLOCK)
            part, data = data[: BLOCK - inside], data[BLOCK - inside :]
            sum = vectors.checksum(part, self._sum_of(block) if inside else 0)
            self.connection.execute("INSERT OR REPLACE INTO sums VALUES (?, ?)", (block, sum))
            self.meta["rows"] += len(part)

    def blot(self, rows: Sequence[int]) -> None:
        """Let the vectors of removed questions count as zeros; the next transaction overwrites them."""
        for number, some in groupby(sorted(rows), lambda row: row // BLOCK):
            block = self._block(number)
            block[[row % BLOCK for row in some]] = 0
            self._sum({number: block})
        self.connection.executemany("INSERT OR REPLACE INTO blank VALUES (?, 0)", ((row,) for row in rows))

    def fill(self) -> None:
        rows = self.meta["questions"]
        last = self.connection.execute(
            "SELECT row, question FROM questions WHERE row >= ? ORDER BY row", (rows,)
        ).fetchall()
        low = [row for row in holes(self.connection) if row < rows]
        if len(low) != len(last):
            raise ArchiveError(f"{self.folder / DATABASE}: damaged: {len(last)} questions for {len(low)} empty rows")
        moves = [(new, old, text) for new, (old, text) in zip(low, last)]
        needed = {row // BLOCK for new, old, _ in moves for row in (new, old)}
        needed |= {rows // BLOCK}  # the new last one
        blocks = {block: self._block(block) for block in needed if block * BLOCK < self.meta["rows"]}
        words.move(self.connection, moves)
        self.connection.execute("DELETE FROM blank WHERE row NOT IN (SELECT row FROM questions)")
        for new, old, _ in moves:
            vector = blocks[new // BLOCK][new % BLOCK] = blocks[old // BLOCK][old % BLOCK]
            self._write(new, vector)
            sql = "UPDATE questions SET row = ?1, crc = crc(?1, id, question, payload) WHERE row = ?2"
            self.connection.execute(sql, (new, old))
            self.connection.execute("UPDATE blank SET row = ? WHERE row = ?", (new, old))
        self.connection.execute("DELETE FROM sums WHERE block * ? >= ?", (BLOCK, rows))
        self._sum({block: data[: rows - block * BLOCK] for block, data in blocks.items() if block * BLOCK < rows})
        self.meta["rows"] = rows

    def cut(self) -> None:
        self.file.truncate(vectors.start(self.meta) + self.meta["rows"] * self.meta["dimensions"] * 4)

    def _sum(self, blocks: Mapping[int, np.ndarray]) -> None:
        sums = ((block, vectors.checksum(np.ascontiguousarray(data))) for block, data in blocks.items())
        self.connection.executemany("INSERT OR REPLACE INTO sums VALUES (?, ?)", sums)

    def _write(self, row: int, data: np.ndarray) -> None:
        self.file.seek(vectors.start(self.meta) + row * self.meta["dimensions"] * 4)
        left = memoryview(np.ascontiguousarray(data).tobytes())
        while len(left):  # a nearly full disk takes a part
            left = left[self.file.write(left) :]

    def _block(self, block: int) -> np.ndarray:
        """Return the rows of a block."""
        first, end = block * BLOCK, min((block + 1) * BLOCK, self.meta["rows"])
        rows = np.empty((end - first, self.meta["dimensions"]), "<f4")
        blank = self.connection.execute("SELECT row FROM blank WHERE row >= ? AND row < ?", (first, end)).fetchall()
        read(self.folder, self.meta, self.file, first, rows, [row - first for (row,) in blank], self._sum_of(block))
        return rows

    def _sum_of(self, block: int) -> int:
        found = self.connection.execute("SELECT crc FROM sums WHERE block = ?", (block,)).fetchone()
        return found[0] if found else -1


def holes(connection: sqlite3.Connection) -> list[int]:
    """Return the rows of removed questions."""
    sql = "SELECT row FROM blank WHERE row NOT IN (SELECT row FROM questions) ORDER BY row"
    return [row for (row,) in connection.execute(sql)]


def read(
    folder: Path, meta: Mapping[str, Any], file: IO[bytes], first: int, rows: np.ndarray, blank: Any, sum: int | None
) -> None:
    """Read the rows from `first` on, and check them."""
    vectors.read(file, vectors.start(meta) + first * meta["dimensions"] * 4, rows)
    rows[blank] = 0
    try:
        if sum is None:  # a checksum is taken only of vectors that were checked
            vectors.check(rows)
        elif vectors.checksum(rows) != sum or not np.isfinite(np.vdot(rows, rows)):
            raise ArchiveError("vectors with another checksum")
    except ArchiveError as error:
        place = f"{folder / VECTORS}: damaged: rows {first:,} to {first + len(rows) - 1:,}"
        raise ArchiveError(f"{place}: {error}; restore a copy") from None
