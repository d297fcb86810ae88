"""One run at a time in a folder."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from siamese.errors import UserError

LOCK = ".lock"
FAR = 1 << 30  # Windows locks bytes, and nobody else can read these; past the text, that stays readable


@contextmanager
def locked(folder: str | Path, advice: str = "wait for its end, or choose another --out") -> Iterator[None]:
    """Hold a folder for the length of the block.

    Where it is not there, it and those above it are made, and those that stay empty removed.

    The operating system holds the lock and ends it with the process, however
    that ends; the file only tells others who it is. On a file system without
    locks nothing is held.

    Raises:
        UserError: another process holds it, the message says which, since when, and the advice; or it is a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file, expected a folder")
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder, advice):
            yield
    finally:
        with suppress(OSError):  # others use it
            for path in new:
                path.rmdir()


@contextmanager
def _held(folder: Path, advice: str) -> Iterator[None]:
    path = folder / LOCK
    file = _take(path)
    if file is None:
        raise UserError(f"{folder}: in use by {_holder(path)}; {advice}")
    try:
        with file:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            with suppress(OSError):  # a full disk: the lock holds without its text
                file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
            try:
                yield
            finally:
                if os.name == "posix":  # while it is locked, so that nobody holds a file without a name
                    path.unlink(missing_ok=True)
    finally:
        if os.name != "posix":  # Windows removes no open file: not this one before it is closed, nor a taken one
            with suppress(OSError):  # others use it
                path.unlink(missing_ok=True)


def _take(path: Path) -> IO[bytes] | None:
    """The file, open, locked and empty; None where another process has it."""
    while True:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            if not _lock(file):
                file.close()
                return None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):  # not just removed by the last holder
                    file.truncate(0)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: IO[bytes]) -> bool:
    """Lock an open file; whether no other process has it."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(file.fileno(), FAR, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system that has no locks: the run is worth more than the lock
        return True
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
