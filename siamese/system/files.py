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

from siamese.system.outputs import is_stream

UNFINISHED = ".siamese"  # ends the name of a temporary file, so that no file of a person is taken for one


@contextmanager
def replacing(path: str | Path, like: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which becomes `path` if the block ends without an error.

    A crash leaves the old file or the new one, since the data are flushed to the disk before the name is, and the name
    before the function returns. An older file's mode and owner are kept, a new file has those of any new file. If
    `path` is a device or a pipe, it is yielded itself. If an OSError has no filename, as on a full disk, it is set to
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
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if old else 0o666))
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
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # instead of the temporary name
        raise


def remove_leftovers(folder: Path, name: str = ".+") -> None:
    """Remove the temporary files that killed processes have left in a folder. No other process may be writing them.

    Args:
        folder: the folder.
        name: a regular expression for the names of the files that they would have become; by default any.
    """
    pattern = re.compile(rf"\.({name})\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
    for temporary in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(temporary.name):
            temporary.unlink(missing_ok=True)


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
