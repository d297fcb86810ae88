"""Lock a folder for one run at a time."""

import errno
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from siamese.errors import UserError
from siamese.system.files import remove_leftovers
from siamese.system.outputs import refuse_links

LOCK = ".lock"
WAIT = 0.1  # seconds; a holder that is ending may remove the file that this process has opened
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}  # errors of a file system without locks


@contextmanager
def locked(folder: str | Path, advice: str = "wait for its end, or choose another --out") -> Iterator[None]:
    """Lock a folder within the block.

    Creates the folder and its parents; removes those it created if they end up empty. The operating system releases the
    lock when the process ends, even if it crashes. On a file system without locks, nothing is locked. Temporary files
    of killed processes are removed.

    Args:
        folder: the folder.
        advice: what to do if it is in use, for the message.

    Raises:
        UserError: another process has locked the folder, or it is a file; the lock's file is a link.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; expected a folder")
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder, advice):
            yield
    finally:
        with suppress(OSError):  # not empty
            for path in new:
                path.rmdir()


def without_locks(folder: Path) -> bool:
    """Return whether the folder is on a file system without locks, as far as can be tested."""
    with suppress(OSError, ImportError), tempfile.TemporaryFile(dir=folder) as file:
        import fcntl  # not on Windows

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in NO_LOCKS
    return False


@contextmanager
def _held(folder: Path, advice: str) -> Iterator[None]:
    path = folder / LOCK
    refuse_links(folder, LOCK)
    lock = FileLock(path, timeout=WAIT, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder}: in use by {_holder(path)}; {advice}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        remove_leftovers(folder)
        yield
    finally:
        if os.name == "posix":  # before the release, since nobody else can lock a file without a name
            path.unlink(missing_ok=True)
        lock.release()


def _sign(file: int) -> None:
    """Write the process into the lock file, after the first byte, which other processes cannot read on Windows."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):  # the disk is full; the lock works without the text
        os.write(file, f"\nprocess {os.getpid()} on {socket.gethostname()} since {since}\n".encode())


def _holder(path: Path) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(1)
            return file.read().decode().strip() or "another process"
    except OSError:
        return "another process"
