"""Read the file of a database beside SQLite: the mark that our transactions leave in it, and its checksum.

The mark is in the first page, which each transaction of ours writes: the beginning of the archive's id, as SQLite's
`application_id`, and the number of transactions, as its `user_version`. A file that was copied over that of an open
archive is found by it, since SQLite goes on with the pages that it remembers; so is a log of another archive, which
SQLite would merge.
"""

import os
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from siamese.archive import vectors

_BYTES_AT_A_TIME = 1 << 20
MARK = 7  # hexadecimal digits of the id
_ROW = 512  # bytes, the smallest page of SQLite
_VERSION, _APPLICATION = 60, 68  # bytes of the first page at which SQLite keeps these numbers
_LOG, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")  # https://sqlite.org/fileformat2.html#walformat

Mark = tuple[int, int]  # beginning of the id, 0 in files of version 0.1.0, and number of transactions

# Closing any file of a database releases all locks that SQLite holds on it in this process, as POSIX wants it. So each
# database has one file here, which is closed after the last connection.
_files: dict[tuple[int, int], list[int]] = {}  # by device and inode: descriptor and number of users
_lock = threading.Lock()


class Content:
    """The file of a database, opened until `close`."""

    def __init__(self, path: Path) -> None:
        with _lock:
            about = os.stat(path)
            self._key = about.st_dev, about.st_ino
            if self._key not in _files:
                _files[self._key] = [os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), 0]
            _files[self._key][1] += 1
            self._file = _files[self._key][0]

    def close(self) -> None:
        with _lock:
            _files[self._key][1] -= 1
            if not _files[self._key][1]:
                os.close(_files.pop(self._key)[0])

    def mark(self) -> Mark:
        with _lock:
            os.lseek(self._file, 0, os.SEEK_SET)
            return _mark(os.read(self._file, _ROW))

    def sums(self) -> np.ndarray:
        """Return the sums of the whole file, see `sums_of`."""
        with _lock:
            os.lseek(self._file, 0, os.SEEK_SET)
            parts = iter(lambda: os.read(self._file, _BYTES_AT_A_TIME), b"")
            return np.concatenate([sums_of(part) for part in parts] or [sums_of(b"")])


def mark(meta: Mapping[str, Any]) -> Mark:
    """Return the mark of an archive with this id after so many transactions."""
    return int(meta["id"][:MARK], 16), meta["changes"]


def _mark(page: bytes) -> Mark:
    found = page.ljust(_ROW, b"\0")
    return struct.unpack_from(">I", found, _APPLICATION)[0], struct.unpack_from(">I", found, _VERSION)[0]


def sums_of(data: bytes) -> np.ndarray:
    """Return a sum for each _ROW bytes of whole pages, as of vectors; `checksum` makes them one."""
    whole = data.ljust(-(-len(data) // _ROW) * _ROW, b"\0")  # a file that was cut off
    return vectors.sums(np.frombuffer(whole, np.float32).reshape(-1, _ROW // 4))


def checksum(sums: np.ndarray) -> int:
    return crc32(sums.tobytes())


def logged(sums: np.ndarray, log: Path) -> np.ndarray | None:
    """Return the sums after the transactions in the log, from those before; None if it holds none."""
    pages: dict[int, np.ndarray] = {}
    size = None
    for page, committed, data in _frames(log):
        pages[page - 1] = sums_of(data)
        if committed:
            rows = len(data) // _ROW  # of a page
            size = committed * rows
            sums = np.concatenate((sums[:size], np.zeros(max(0, size - len(sums)), sums.dtype)))
            for number, found in ((n, pages[n]) for n in pages if n < committed):
                sums[number * rows : (number + 1) * rows] = found
            pages.clear()
    return None if size is None else sums


def marks_in(log: Path) -> list[Mark] | None:
    """Return the marks that the transactions in a log leave, in order; None if it holds no transaction."""
    marks, whole = [], None
    for page, committed, data in _frames(log):
        if page == 1:
            marks.append(_mark(data))
        if committed:
            whole = list(marks)
    return whole


def _frames(log: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number of each page in a log, the pages of the database if it ends a transaction, and its content."""
    try:
        file = open(log, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file:
        start = file.read(_LOG.size)
        if len(start) < _LOG.size:
            return
        _, _, size, _, *salts, _, _ = _LOG.unpack(start)
        if not (_ROW <= size <= 1 << 16 and size & (size - 1) == 0):
            return
        while len(frame := file.read(_FRAME.size + size)) == _FRAME.size + size:
            page, committed, *salt, _, _ = _FRAME.unpack_from(frame)
            if salt != salts or not page:  # left from an earlier log
                return
            yield page, committed, frame[_FRAME.size :]
