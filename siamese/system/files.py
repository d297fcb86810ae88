"""Atomic and durable writing of files."""

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from siamese.system.outputs import is_stream, no_follow

UNFINISHED = ".siamese"  # ends the name of a temporary file, so that no file of a person is taken for one


@contextmanager
def replacing(path: str | Path, like: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which becomes `path` if the block ends without an error.

    A crash leaves the old file or the new one, since the data are flushed to the disk before the name is, and the name
    before the function returns. What killed processes left of `path` is removed, where the system has locks that show
    it. An older file's mode and owner are kept, a new file has those of any new file. If `path` is a device or a pipe,
    it is yielded itself. If an OSError has no filename, as on a full disk, it is set to
    `path`.

    Args:
        path: the file.
        like: the file whose mode and owner are kept, if it exists, instead of those of `path`.

    Raises:
        OSError: the file cannot be written, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise OSError(errno.EISDIR, "a folder; expected a file", str(path))
    stream = is_stream(path)
    temporary = path if stream else path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        if stream:
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        like = like or path
        old = like.stat() if like.exists() else None
        # The umask applies to a new file. Of a replaced one nobody else reads anything before it has the old mode.
        with suppress(OSError):  # the folder may not be listed
            remove_leftovers(path.parent, re.escape(path.name), in_use=True)
        locked = _create(temporary, 0o600 if old else 0o666)
        try:
            yield temporary
            sync_file(temporary)
            if old:
                if os.name == "posix" and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    with suppress(PermissionError):
                        os.chown(temporary, old.st_uid, old.st_gid)
                temporary.chmod(stat.S_IMODE(old.st_mode))
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            if locked is not None:
                os.close(locked)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # instead of the temporary name
        raise


def _create(path: Path, mode: int) -> int | None:
    """Create a file. Return it open, locked for other processes until it is closed; None without such locks."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        if not lock(file, wait=True):
            os.close(file)
            return None
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # another process took it for a leftover, before it was locked


def lock(file: int, wait: bool) -> bool:
    """Lock an open file for other processes until it is closed. Return whether that was possible."""
    try:
        import fcntl  # not on Windows

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def remove_leftovers(folder: Path, name: str = ".+", in_use: bool = False) -> None:
    """Remove the temporary files that killed processes have left in a folder.

    Args:
        folder: the folder.
        name: a regular expression for the names of the files that they would have become; by default any.
        in_use: whether other processes may be writing some, which are kept.
    """
    pattern = re.compile(rf"\.({name})\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
    for temporary in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(temporary.name):
            if in_use:
                _remove_unlocked(temporary)
            else:
                temporary.unlink(missing_ok=True)


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        file = no_follow(str(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            if lock(file, wait=False):
                path.unlink()
        finally:
            os.close(file)


def sync_file(path: Path) -> None:
    """Flush a file's data to the disk."""
    with open(path, "r+b") as file:  # Windows syncs only files that are open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk. Windows has no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
