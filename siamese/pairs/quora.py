"""Download Quora's public release of question pairs once, resume broken downloads, and check the file at each use."""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from siamese.errors import DataError
from siamese.system.files import sha256 as checksum
from siamese.system.files import sync_file, sync_folder
from siamese.system.locking import locked

URL = "http://qim.fs.quoracdn.net/quora_duplicate_questions.tsv"
SIZE = 58_176_133  # bytes
SHA256 = "b3350dbb1d98db1f5abca85d736ba514bf4da253fae53939303d79fe921ec7c8"
NAME = "quora_duplicate_questions.tsv"
RETRIES = 3  # after an attempt without a byte
PAUSE = 2.0  # seconds before a retry
TIMEOUT = 30.0  # seconds to connect, and to wait for the next bytes
LIMIT = 3600.0  # seconds in total, since a server that sends a byte now and then would never end
MOST_CHARACTERS = 300  # of a reason that may quote a server
BYTES_AT_A_TIME = 1 << 16


class _Failure(Exception):
    def __init__(self, reason: str, retry: bool = True) -> None:
        super().__init__(reason)
        self.retry = retry  # whether another attempt may succeed


def fetch(
    folder: str | Path = "data/quora", url: str = URL, size: int = SIZE, sha256: str = SHA256,
    progress: Callable[[int, int], None] | None = None,
) -> Path:  # fmt: skip
    """Return the path of the release in `folder`; download it if there is no good copy.

    A broken download leaves a file that ends in `.part`, which the next call resumes. Only one process at a time
    downloads to a folder.

    Args:
        folder: where the release is kept.
        url, size, sha256: the address of the file, its bytes and its checksum.
        progress: called with (bytes so far, size). The first number falls if a server cannot resume and starts over.

    Raises:
        DataError: the file cannot be downloaded or is not the release; the message says what to do by hand.
        UserError: another process is downloading it.
    """
    path = Path(folder) / NAME
    part = path.with_name(NAME + ".part")

    def is_good(file: Path) -> bool:
        return file.is_file() and file.stat().st_size == size and checksum(file) == sha256

    try:
        if is_good(path):
            return path
        with locked(path.parent, "wait for its end"):
            _download(url, part, size, progress or (lambda done, size: None))
            sync_file(part)
            if not is_good(part):
                part.unlink()
                raise _Failure(f"the download did not have the SHA-256 {sha256} and was deleted")
            os.replace(part, path)
            sync_folder(path.parent)
        return path
    except (_Failure, OSError) as error:
        reason = str(error) if isinstance(error, _Failure) else f"cannot use {path.parent}: {error}"
        # A server may answer with several lines or control characters.
        reason = " ".join("".join(c if c.isprintable() else " " for c in reason[:MOST_CHARACTERS]).split())
        if os.path.isfile(part) and (kept := os.path.getsize(part)):
            reason += f"; the next try resumes at {kept:,} of {size:,} bytes"
        if os.path.isfile(path):
            reason += f"; {path} exists but is not the published file"
        advice = f"By hand: save that address with a browser as {path}, or give a copy by --data PATH"
        raise DataError(f"{url}: {reason}\n{advice}") from error


def _download(url: str, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
    """Resume the download to `part`, up to `size` bytes."""
    end = time.monotonic() + LIMIT
    retries = 0
    while (have := _size(part)) < size:
        try:
            return _receive(url, part, have, size, end, progress)
        except _Failure as failure:
            retries = 0 if _size(part) > have else retries + 1
            if retries > RETRIES or not failure.retry:
                raise
            time.sleep(PAUSE)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _receive(url: str, part: Path, have: int, size: int, end: float, progress: Callable[[int, int], None]) -> None:
    response, done = _open(url, have, size, end)
    with response:
        part.touch()
        with open(part, "r+b") as file:  # in place, so that a server that starts over removes nothing
            file.seek(done)
            while done < size:
                if time.monotonic() > end:
                    raise _too_slow()
                try:
                    block = response.read1(min(BYTES_AT_A_TIME, size - done))
                except (OSError, HTTPException) as error:
                    raise _Failure(f"the connection broke: {error}") from error
                if not block:
                    raise _Failure("the connection ended early")
                file.write(block)
                done += len(block)
                progress(done, size)


def _open(url: str, have: int, size: int, end: float) -> tuple[HTTPResponse, int]:
    """Return a response with the file from a byte to its end, and the number of that byte: `have` or 0."""
    try:
        response = _answer(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), end)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:
            return _open(url, 0, size, end)
        raise _Failure(f"the server answered {error}", retry=error.code >= 500 or error.code == 429) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _Failure(f"no answer: {getattr(error, 'reason', error)}") from error
    headers = response.headers
    is_plain = headers["Content-Encoding"] in (None, "identity") and headers["Transfer-Encoding"] is None
    if is_plain and response.status == 206 and headers["Content-Range"] == f"bytes {have}-{size - 1}/{size}":
        return response, have
    if is_plain and response.status == 200 and headers["Content-Length"] == str(size):
        return response, 0
    response.close()
    if have and response.status == 206:
        return _open(url, 0, size, end)
    shown = ("Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding")
    offer = ", ".join(f"{name} {headers[name]}" for name in shown if headers[name]) or "without a length"
    raise _Failure(f"the server offers something else ({offer}; expected {size} bytes as they are)", retry=False)


def _answer(request: Request, end: float) -> HTTPResponse:
    """Return the server's response, without its body.

    The library may wait forever for an address or between two bytes of the headers. So it runs in a thread, which is
    abandoned when the time is up.
    """
    answer: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            answer.set_result(build_opener(_Redirects).open(request, timeout=TIMEOUT))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    if not wait([answer], end - time.monotonic()).done:
        raise _too_slow()
    return answer.result()


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https alone, without reading their pages, which may never end."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        fp.close()
        if not newurl.lower().startswith(("http://", "https://")):  # the library would follow ftp:// too
            raise HTTPError(newurl, code, f"{msg} - Redirection to url '{newurl}' is not allowed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _too_slow() -> _Failure:
    return _Failure(f"the download did not end within {LIMIT:,g} seconds", retry=False)
