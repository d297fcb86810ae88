"""Quora's public release of question pairs: fetched once, resumed when broken off, checked at every use."""

import os
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from siamese.errors import DataError
from siamese.files import sha256 as checksum
from siamese.files import sync_folder

URL = "http://qim.fs.quoracdn.net/quora_duplicate_questions.tsv"
SIZE = 58_176_133  # bytes
SHA256 = "b3350dbb1d98db1f5abca85d736ba514bf4da253fae53939303d79fe921ec7c8"
NAME = "quora_duplicate_questions.tsv"
RETRIES = 3  # after the first try
PAUSE = 2.0  # seconds before a retry
TIMEOUT = 30.0  # seconds to connect, and to wait for the next bytes
BLOCK = 1 << 16  # bytes, the most that is read at once


class _Failure(Exception):
    def __init__(self, reason: str, retry: bool = True) -> None:
        super().__init__(reason)
        self.retry = retry  # another try may do better


def fetch(
    folder: str | Path = "data/quora",
    url: str = URL,
    size: int = SIZE,
    sha256: str = SHA256,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The path of the release in `folder`, downloaded unless a good copy is there.

    What has arrived is kept beside it in a file that ends in `.part`, from which the next call goes on.
    `progress` is called with (bytes so far, size) as bytes arrive; the first number falls where a server
    cannot go on and starts over.

    Raises:
        DataError: it cannot be had or is not the file; the message says what to do by hand.
    """
    path = Path(folder) / NAME
    part = path.with_name(NAME + ".part")

    def is_good(file: Path) -> bool:
        return file.is_file() and file.stat().st_size == size and checksum(file) == sha256

    try:
        if is_good(path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, size, progress or (lambda done, size: None))
        try:
            with open(part, "r+b") as file:
                os.fsync(file.fileno())
            if not is_good(part):
                part.unlink()
                raise _Failure(f"what arrived does not have the SHA-256 {sha256} and was deleted")
            os.replace(part, path)
            sync_folder(path.parent)
        except FileNotFoundError:  # another process may have finished the same part first
            if not is_good(path):
                raise
        return path
    except (_Failure, OSError) as error:
        reason = str(error) if isinstance(error, _Failure) else f"cannot use {path.parent}: {error}"
        reason = " ".join(reason.split())  # some of the library's have several lines
        if os.path.isfile(part) and (kept := os.path.getsize(part)):
            reason += f"; the next try goes on from {kept:,} of {size:,} bytes"
        if os.path.isfile(path):
            reason += f"; {path} is there but is not the published file"
        advice = f"By hand: save that address with a browser as {path}, or pass --data PATH of a copy"
        raise DataError(f"{url}: {reason}\n{advice}") from error


def _download(url: str, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
    """Fill `part` up to `size` bytes, going on from what it holds."""
    for tries_left in range(RETRIES, -1, -1):
        have = part.stat().st_size if part.exists() else 0
        if have >= size:
            return
        try:
            return _receive(url, part, have, size, progress)
        except _Failure as failure:
            if not tries_left or not failure.retry:
                raise
        time.sleep(PAUSE)


def _receive(url: str, part: Path, have: int, size: int, progress: Callable[[int, int], None]) -> None:
    response, done = _open(url, have, size)
    with response:
        part.touch()
        with open(part, "r+b") as file:  # in place: two processes at once write the same bytes to the same places
            file.seek(done)
            while done < size:
                try:
                    block = response.read1(min(BLOCK, size - done))
                except (OSError, HTTPException) as error:
                    raise _Failure(f"the connection broke: {error}") from error
                if not block:
                    raise _Failure("the connection ended early")
                file.write(block)
                done += len(block)
                progress(done, size)


def _open(url: str, have: int, size: int) -> tuple[HTTPResponse, int]:
    """A response that brings the file from some byte to its end, and the number of that byte: `have` or 0."""
    try:
        request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:
            return _open(url, 0, size)
        raise _Failure(f"the server answered {error}", retry=error.code >= 500 or error.code == 429) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _Failure(f"no answer: {getattr(error, 'reason', error)}") from error
    if response.status == 206 and response.headers["Content-Range"] == f"bytes {have}-{size - 1}/{size}":
        return response, have
    if response.status == 200 and response.headers["Content-Length"] == str(size):
        return response, 0
    response.close()
    if have and response.status == 206:
        return _open(url, 0, size)
    offer = f"{response.headers['Content-Type'] or 'no type'}, {response.headers['Content-Length'] or 'unstated'} bytes"
    raise _Failure(f"the server offers something else ({offer}; expected {size} bytes)", retry=False)
