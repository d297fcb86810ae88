"""Fetching Quora's release, from a real server on this machine that behaves well or badly."""

import hashlib
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from siamese import quora
from siamese.errors import DataError
from siamese.quora import NAME, fetch

CONTENT = random.Random(1).randbytes(200_000)
SIZE = len(CONTENT)
HALF = SIZE // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<html><body>Please log in to this network.</body></html>"


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        answer(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, content: bytes) -> None:
        self.server.sent += len(content)  # first, for the client may be done before this thread goes on
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


Answer = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """Gives its answers one after the other, and the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/questions.tsv"
        self.answers: list[Answer] = [serves()]
        self.ranges: list[str | None] = []  # the Range header of each request
        self.sent = 0  # bytes of bodies

    def handle_error(self, *arguments: object) -> None:
        pass  # clients that hang up are part of the tests


def serves(
    content: bytes = CONTENT, until: int | None = None, ranges: bool = True, end: Answer | None = None
) -> Answer:
    """Answer with `content`, its first bytes left out on request; the connection ends at byte `until`, after `end`."""

    def answer(handler: Handler) -> None:
        start = 0
        if ranges and handler.headers["Range"]:
            start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.head(206, Content_Length=len(content) - start, Content_Range=where)
        else:
            handler.head(200, Content_Length=len(content))
        handler.body(content[start:until])
        if end:
            end(handler)

    return answer


def says(status: int, body: bytes = b"", **headers: object) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(status, **headers)
        handler.body(body)

    return answer


def resets(handler: Handler) -> None:
    """End a connection with RST, as a router does that lost it."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stalls(handler: Handler) -> None:
    time.sleep(1.5)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quora, "PAUSE", 0.01)
    monkeypatch.setattr(quora, "TIMEOUT", 0.5)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / f"{NAME}.part"


def get(url: str, folder: Path, sha256: str = SHA256, progress: Callable[[int, int], None] | None = None) -> Path:
    path = fetch(folder, url, SIZE, sha256, progress)
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == [NAME]  # nothing else is left
    return path


def fails(url: str, folder: Path, sha256: str = SHA256) -> str:
    """The first line of the error: what happened. The second is checked here."""
    with pytest.raises(DataError) as error:
        fetch(folder, url, SIZE, sha256)
    what, advice = str(error.value).splitlines()
    assert what.startswith(f"{url}: ")
    assert str(folder / NAME) in advice and "browser" in advice and "--data PATH" in advice
    assert not (folder / NAME).is_file()
    return what


def test_the_release_is_the_published_one() -> None:
    assert quora.URL == "http://qim.fs.quoracdn.net/quora_duplicate_questions.tsv"
    assert quora.SIZE == 58_176_133
    assert quora.SHA256 == "b3350dbb1d98db1f5abca85d736ba514bf4da253fae53939303d79fe921ec7c8"


def test_clean_download_into_a_new_folder(server: Server, tmp_path: Path) -> None:
    get(server.url, tmp_path / "data" / "quora")
    assert server.ranges == [None]
    assert server.sent == SIZE


def test_a_good_file_makes_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    get(server.url, tmp_path)
    assert server.ranges == []


@pytest.mark.parametrize("bad", [b"", CONTENT[:-1], CONTENT[:-1] + b"?", CONTENT + b"\n"])
def test_a_bad_file_is_replaced(server: Server, tmp_path: Path, bad: bytes) -> None:
    (tmp_path / NAME).write_bytes(bad)
    get(server.url, tmp_path)
    assert server.ranges == [None]


def test_a_bad_file_is_not_used_without_the_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(PAGE)
    server.answers = [says(404)]
    with pytest.raises(DataError, match=f"404.*{NAME} is there but is not the published file"):
        fetch(tmp_path, server.url, SIZE, SHA256)
    assert (tmp_path / NAME).read_bytes() == PAGE  # perhaps somebody's: kept until the right one is here


def test_progress_counts_to_the_size(server: Server, tmp_path: Path, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    calls: list[tuple[int, int]] = []
    get(server.url, tmp_path, progress=lambda done, size: calls.append((done, size)))
    done = [HALF, *(call[0] for call in calls)]
    assert all(0 < b - a <= quora.BLOCK for a, b in itertools.pairwise(done))
    assert done[-1] == SIZE
    assert {call[1] for call in calls} == {SIZE}


# Resuming


@pytest.mark.parametrize("have", [1, HALF, SIZE - 1])
def test_a_part_of_an_earlier_call_is_resumed(server: Server, tmp_path: Path, part: Path, have: int) -> None:
    part.write_bytes(CONTENT[:have])
    get(server.url, tmp_path)
    assert server.ranges == [f"bytes={have}-"]
    assert server.sent == SIZE - have


def test_a_finished_part_needs_no_request(server: Server, tmp_path: Path, part: Path) -> None:
    part.write_bytes(CONTENT)
    get(server.url, tmp_path)
    assert server.ranges == []


def test_a_dropped_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [serves(until=50_000), serves(until=120_000), serves()]
    get(server.url, tmp_path)
    assert server.ranges == [None, "bytes=50000-", "bytes=120000-"]
    assert server.sent == SIZE  # no byte twice


def test_a_silent_connection_is_given_up_and_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [serves(until=HALF, end=stalls), serves()]
    get(server.url, tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_reset_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [serves(until=HALF, end=resets), serves()]
    get(server.url, tmp_path)
    assert len(server.ranges) == 2  # from which byte is open: a reset may overtake the last ones


def test_a_server_that_never_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quora, "TIMEOUT", 0.1)
    server.answers = [stalls]
    assert "timed out" in fails(server.url, tmp_path)
    assert len(server.ranges) == 4


def test_a_connection_that_always_drops_keeps_the_part(server: Server, tmp_path: Path, part: Path) -> None:
    server.answers = [serves(until=HALF)]
    assert "ended early; the next try goes on from 100,000 of 200,000 bytes" in fails(server.url, tmp_path)
    assert server.ranges == [None] + 3 * [f"bytes={HALF}-"]
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.sent == SIZE


def test_a_server_that_ignores_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.answers = [serves(until=HALF), serves(ranges=False)]
    get(server.url, tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert server.sent == HALF + SIZE


REST = CONTENT[HALF:]


@pytest.mark.parametrize(
    "wrong",
    [
        says(416, Content_Range=f"bytes */{HALF}"),
        says(206, REST, Content_Length=HALF),
        says(206, REST, Content_Length=HALF, Content_Range=f"bytes 0-{HALF - 1}/{SIZE}"),
        says(206, REST, Content_Length=HALF, Content_Range=f"bytes {HALF}-{SIZE - 1}/{SIZE + 1}"),
    ],
)
def test_a_wrong_range_is_not_used(server: Server, tmp_path: Path, part: Path, wrong: Answer) -> None:
    part.write_bytes(CONTENT[:HALF])
    server.answers = [wrong, serves()]
    get(server.url, tmp_path)
    assert server.ranges == [f"bytes={HALF}-", None]


def test_two_at_once_share_the_part(server: Server, tmp_path: Path) -> None:
    def slowly(handler: Handler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        serves(until=start)(handler)
        for i in range(start, SIZE, 10_000):
            handler.body(CONTENT[i : i + 10_000])
            time.sleep(0.005)

    server.answers = [slowly]
    with ThreadPoolExecutor() as pool:
        for path in pool.map(lambda _: fetch(tmp_path, server.url, SIZE, SHA256), range(3)):
            assert path == tmp_path / NAME
    get(server.url, tmp_path)


# Wrong content


def test_a_wrong_checksum_deletes_the_part(server: Server, tmp_path: Path, part: Path) -> None:
    wrong = hashlib.sha256(b"another file").hexdigest()
    assert "SHA-256" in fails(server.url, tmp_path, wrong)
    assert not part.exists()
    assert len(server.ranges) == 1


@pytest.mark.parametrize("bad", [bytes(HALF), bytes(SIZE), bytes(SIZE + 1)])
def test_a_bad_part_is_found_out_and_the_next_call_is_fine(
    server: Server, tmp_path: Path, part: Path, bad: bytes
) -> None:
    part.write_bytes(bad)
    assert "SHA-256" in fails(server.url, tmp_path)
    assert not part.exists()
    get(server.url, tmp_path)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (serves(CONTENT[:-1]), "(no type, 199999 bytes; expected 200000 bytes)"),
        (serves(CONTENT + b"\n", ranges=False), "(no type, 200001 bytes; expected 200000 bytes)"),
        (says(200, CONTENT), "(no type, unstated bytes; expected 200000 bytes)"),
        (says(200, PAGE, Content_Length=len(PAGE), Content_Type="text/html"), f"text/html, {len(PAGE)} bytes;"),
        (says(200, PAGE, Content_Type="text/html"), "text/html, unstated bytes;"),
        (says(204), "something else"),
        (says(404), "the server answered HTTP Error 404: Not Found"),
        (says(403, PAGE, Content_Length=len(PAGE)), "the server answered HTTP Error 403: Forbidden"),
        (says(302, Location="/questions.tsv"), "the server answered HTTP Error 302: "),
        (says(302, Location="file:///etc/hostname"), "the server answered HTTP Error 302: "),
    ],
)
@pytest.mark.parametrize("have", [0, HALF])
def test_a_wrong_answer_leaves_the_part_alone(
    server: Server, tmp_path: Path, part: Path, answer: Answer, reason: str, have: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quora, "PAUSE", -1)  # nothing that waiting could mend: a retry would be a ValueError
    if have:
        part.write_bytes(CONTENT[:have])
    server.answers = [answer]
    assert reason in fails(server.url, tmp_path)
    assert (part.read_bytes() if part.exists() else b"") == CONTENT[:have]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.ranges[-1] == (f"bytes={have}-" if have else None)


TOO_LONG = CONTENT + PAGE
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(TOO_LONG), TOO_LONG)  # as HTTP cuts a body whose length is not known


@pytest.mark.parametrize(
    "answer",
    [says(200, TOO_LONG, Content_Length=SIZE), says(200, CHUNKED, Content_Length=SIZE, Transfer_Encoding="chunked")],
)
def test_more_bytes_than_promised_are_not_written(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [answer]
    get(server.url, tmp_path)


# Errors of the server and the network


@pytest.mark.parametrize("status", [429, 500, 503])
def test_three_errors_are_survived(server: Server, tmp_path: Path, status: int) -> None:
    server.answers = [says(status)] * 3 + [serves()]
    get(server.url, tmp_path)
    assert len(server.ranges) == 4


def test_four_errors_are_not(server: Server, tmp_path: Path, part: Path) -> None:
    server.answers = [says(500)]
    assert "the server answered HTTP Error 500: Internal Server Error" in fails(server.url, tmp_path)
    assert len(server.ranges) == 4
    assert not part.exists()


def test_a_redirect_is_followed_with_its_range(server: Server, tmp_path: Path) -> None:
    moved = says(302, Location="/elsewhere")
    server.answers = [moved, serves(until=HALF), moved, serves()]
    get(server.url, tmp_path)
    assert server.ranges == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]
    assert server.sent == SIZE


def test_a_slow_drip_is_waited_for(server: Server, tmp_path: Path) -> None:
    def drips(handler: Handler) -> None:
        handler.head(200, Content_Length=SIZE)
        for i in range(0, SIZE, 10_000):  # 20 times: 0.8 s in all, more than the time-out
            handler.body(CONTENT[i : i + 10_000])
            time.sleep(0.04)

    server.answers = [drips]
    start = time.monotonic()
    get(server.url, tmp_path)
    assert time.monotonic() - start > quora.TIMEOUT
    assert server.ranges == [None]


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "refused" in fails(f"http://127.0.0.1:{port}/questions.tsv", tmp_path)


def test_no_such_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quora, "RETRIES", 0)  # a resolver may take its time
    fails("http://no-such-host.invalid/questions.tsv", tmp_path)


@pytest.mark.parametrize("url", ["questions.tsv", "http://[/", "http://127.0.0.1:port/", "nothing://127.0.0.1/"])
def test_no_address(tmp_path: Path, url: str) -> None:
    fails(url, tmp_path)


def test_what_is_no_http(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: handler.body(b"SSH-2.0-OpenSSH_9.6\r\n")]
    assert "SSH-2.0" in fails(server.url, tmp_path)


# Errors of the disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a file that cannot be written to")
def test_the_disk_is_full(server: Server, tmp_path: Path, part: Path) -> None:
    part.symlink_to("/dev/full")
    assert "No space left on device" in fails(server.url, tmp_path)
    assert len(server.ranges) == 1  # trying again would not help


def test_the_part_is_removed_under_way(server: Server, tmp_path: Path, part: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        fetch(tmp_path, server.url, SIZE, SHA256, lambda done, size: part.unlink(missing_ok=True))
    assert not (tmp_path / NAME).exists()
    get(server.url, tmp_path)


def test_the_folder_is_a_file(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "quora"
    folder.touch()
    assert "File exists" in fails(server.url, folder)


def test_the_file_is_a_folder(server: Server, tmp_path: Path, part: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert "directory" in fails(server.url, tmp_path)
    assert part.read_bytes() == CONTENT  # not lost
