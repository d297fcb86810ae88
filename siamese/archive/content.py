"""The checksum of a database file's content.

Closing any file of a database releases all locks that SQLite holds on it in this process, as POSIX wants it. So each
database has one file here, which is closed after the last connection.
"""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from siamese.archive import vectors

_BYTES_AT_A_TIME = 1 << 20
_ROW = 512  # bytes, the smallest page of SQLite

Key = tuple[int, int]  # device and inode

_files: dict[Key, list[int]] = {}  # descriptor and number of users
_lock = threading.Lock()


def hold(path: Path) -> Key:
    """Open the file for `checksum`, until `release`."""
    with _lock:
        about = os.stat(path)
        if (key := (about.st_dev, about.st_ino)) not in _files:
            _files[key] = [os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), 0]
        _files[key][1] += 1
    return key


def release(key: Key) -> None:
    with _lock:
        _files[key][1] -= 1
        if not _files[key][1]:
            os.close(_files.pop(key)[0])


def checksum(key: Key) -> int:
    """Return the checksum of the whole file."""
    file = _files[key][0]
    with _lock:
        os.lseek(file, 0, os.SEEK_SET)
        return checksum_of(iter(lambda: os.read(file, _BYTES_AT_A_TIME), b""))


def checksum_of(parts: Iterable[bytes]) -> int:
    """Return the checksum of a database's content, in parts of whole pages, as of vectors of _ROW bytes."""
    found = 0
    for part in parts:
        whole = part.ljust(-(-len(part) // _ROW) * _ROW, b"\0")  # a file that was cut off
        found = vectors.checksum(np.frombuffer(whole, np.float32).reshape(-1, _ROW // 4), found)
    return found
