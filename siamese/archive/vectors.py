"""The file of an archive's vectors: a header, then the rows.

The header has the random id that the database has too, and seals the database: it holds the checksum of its content
after the last transaction. The database in turn has a checksum for each block of rows. Nothing is memory-mapped, since
a mapped file that shrinks kills the process. Files of version 0.1.0 have no header and no checksums.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np

from siamese.errors import ArchiveError
from siamese.system.outputs import no_follow

VECTORS = "vectors.f32"
WAITING = ".vectors.f32"  # a new file, until the transaction that has its id is committed
BLOCK = 1_024  # rows that share a checksum
HEADER = 64  # bytes
UNIT = 0.01  # greatest error of a squared length
_FIELDS, _SEAL = struct.Struct("<8s16s"), struct.Struct("<qI")  # a mark and the id; transactions and checksum
_MARK = b"archive\2"


def header(id: str, changes: int = -1, database: int = 0) -> bytes:
    """Return the header: the id, and the checksum of the database after so many transactions."""
    seal = _SEAL.pack(changes, database)
    return (_FIELDS.pack(_MARK, bytes.fromhex(id)) + seal + crc32(seal).to_bytes(4, "little")).ljust(HEADER, b"\0")


def seal(file: IO[bytes]) -> tuple[int, int]:
    """Return the number of transactions and the database's checksum from a header, (-1, 0) if it was torn."""
    file.seek(_FIELDS.size)
    fields, own = file.read(_SEAL.size), file.read(4)
    return (*_SEAL.unpack(fields),) if own == crc32(fields).to_bytes(4, "little") else (-1, 0)


def start(meta: Mapping[str, Any]) -> int:
    """Return the byte at which row 0 begins."""
    return HEADER if "id" in meta else 0


@contextmanager
def opened(folder: Path, meta: Mapping[str, Any], mode: str = "rb") -> Iterator[IO[bytes]]:
    """Open the vectors that belong to a database with these counts and this id.

    Raises:
        ArchiveError: there are none, or they are shorter than the database says.
    """
    for path in (folder / VECTORS, folder / WAITING):
        try:
            file = open(path, mode, buffering=0, opener=no_follow)  # noqa: SIM115
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror}") from None
        with file:
            if "id" in meta and file.read(_FIELDS.size) != header(meta["id"])[: _FIELDS.size]:
                continue
            size, expected = os.fstat(file.fileno()).st_size, start(meta) + meta["rows"] * meta["dimensions"] * 4
            if size < expected:
                raise ArchiveError(f"{path}: {size:,} bytes; expected {meta['rows']:,} vectors, {expected:,} bytes")
            yield file
            return
    raise ArchiveError(
        f"{folder / VECTORS}: missing, or of another archive than the database beside it; the folder was replaced, or "
        "copied while in use: open it again, or restore both files together (`archive copy` makes safe copies)"
    )


def read(file: IO[bytes], place: int, rows: np.ndarray) -> None:
    """Fill `rows`, (n, d) contiguous float32, from a byte of the file on."""
    file.seek(place)
    data = rows.data.cast("B") if rows.size else memoryview(b"")
    while len(data):
        if not (count := file.readinto(data)):  # type: ignore[attr-defined]
            raise ArchiveError(f"{file.name}: ends within the vectors: cut off, or changed by another program")
        data = data[count:]


def checksum(rows: np.ndarray, before: int = 0) -> int:
    """Return the checksum of rows, (n, d) contiguous float32, that follow others with the checksum `before`.

    It is the CRC-32 of a sum for each row, which takes a third of the time of a CRC-32 of all bytes.
    """
    return crc32(sums(rows).tobytes(), before)


def sums(rows: np.ndarray) -> np.ndarray:
    """Return for each row, (n, d) contiguous float32, its words times odd numbers, modulo 2^64 (2^32 if d is odd).

    Any changed word changes it.
    """
    words = rows.view("<u8" if rows.shape[1] % 2 == 0 else "<u4")
    odd = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    found: np.ndarray = words @ odd.astype(words.dtype)
    return found


def check(rows: np.ndarray) -> None:
    """Raise ArchiveError if a row's length is neither 1 nor 0, as with NaN and infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("nd,nd->n", rows, rows)
    if not ((np.abs(squares - 1) < UNIT) | (squares == 0)).all():
        raise ArchiveError("a vector that is not of length 1")


def write(path: Path, id: str, rows: np.ndarray) -> list[int]:
    """Write a new file, sync it, and return the checksums of its blocks."""
    path.unlink(missing_ok=True)  # of a process that was killed
    sums = []
    try:
        with open(path, "xb") as file:
            file.write(header(id))
            for first in range(0, len(rows), BLOCK):
                data = np.ascontiguousarray(rows[first : first + BLOCK], "<f4")
                file.write(data.data)
                sums.append(checksum(data))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # a full disk
        path.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    return sums
