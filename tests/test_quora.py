"""Download of Quora's release from a real local server that behaves well or badly."""

import gzip
import hashlib
import itertools
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import TRAIN
from files import Room

from siamese.cli import entry
from siamese.errors import DataError, UserError
from siamese.pairs import quora
from siamese.pairs.quora import NAME, fetch

pytestmark = pytest.mark.slow

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
    """Give the answers one after the other, then repeat the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/questions.tsv"
        self.answers: list[Answer] = [serves()]
        self.ranges: list[str | None] = []  # the Range header of each request
        self.sent = 0  # bytes of bodies
        self.closing = threading.Event()

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


def drips(status: str, byte: bytes) -> Answer:
    """Answer with an end that never comes: the same bytes again and again, ten times within the time-out."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(status.encode())
        while not handler.server.closing.wait(quora.TIMEOUT / 10):
            handler.wfile.write(byte)

    return answer


def pours(handler: Handler) -> None:
    """Send without end, as fast as it can."""
    while True:
        handler.body(bytes(1 << 16))


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
        server.closing.set()
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
    """Check that the download fails. Return the first line of the error; the second is checked here."""
    with pytest.raises(DataError) as error:
        fetch(folder, url, SIZE, sha256)
    what, advice = str(error.value).splitlines()
    assert what.startswith(f"{url}: ")
    assert str(folder / NAME) in advice and "browser" in advice and "--data PATH" in advice
    assert not (folder / NAME).is_file()
    return what


PART = f"{NAME}.part"
REST = CONTENT[HALF:]
WHERE = f"bytes {HALF}-{SIZE - 1}/{SIZE}"
MOVED = says(302, Location="/elsewhere")
FROM_HALF = f"bytes={HALF}-"
# What is in the folder, what the server answers, and which ranges it is asked for.
GOES_WELL: dict[str, tuple[dict[str, bytes], list[Answer], list[str | None]]] = {
    "an empty folder": ({}, [serves()], [None]),
    "a good file": ({NAME: CONTENT}, [], []),
    "a file that is cut off": ({NAME: CONTENT[:-1]}, [serves()], [None]),
    "a file with another byte": ({NAME: CONTENT[:-1] + b"?"}, [serves()], [None]),
    "a part of a byte": ({PART: CONTENT[:1]}, [serves()], ["bytes=1-"]),
    "a part but for a byte": ({PART: CONTENT[:-1]}, [serves()], [f"bytes={SIZE - 1}-"]),
    "a part that is whole": ({PART: CONTENT}, [], []),
    "no ranges": ({}, [serves(until=HALF), serves(ranges=False)], [None, FROM_HALF]),
    "a redirect": ({}, [MOVED, serves(until=HALF), MOVED, serves()], [None, None, FROM_HALF, FROM_HALF]),
    "more bytes than promised": ({}, [serves(end=lambda handler: handler.body(PAGE))], [None]),
    "more bytes without end": ({}, [serves(end=pours)], [None]),
    "a range refused": ({PART: REST}, [says(416, Content_Range=f"bytes */{HALF}"), serves()], [FROM_HALF, None]),
    "a range of which nothing is said": ({PART: REST}, [says(206, REST), serves()], [FROM_HALF, None]),
    "a range of another": ({PART: REST}, [says(206, REST, Content_Range=WHERE + "0"), serves()], [FROM_HALF, None]),
    "a range in gzip": (
        {PART: REST},
        [says(206, gzip.compress(REST), Content_Encoding="gzip", Content_Range=WHERE), serves()],
        [FROM_HALF, None],
    ),
}


@pytest.mark.parametrize("case", GOES_WELL)
def test_what_is_asked_for(server: Server, tmp_path: Path, case: str) -> None:
    beforehand, answers, ranges = GOES_WELL[case]
    server.answers = list(answers)
    folder = tmp_path / "data" / "quora"
    if beforehand:
        folder.mkdir(parents=True)
    for name, content in beforehand.items():
        (folder / name).write_bytes(content)
    get(server.url, folder)
    assert server.ranges == ranges


def test_a_bad_file_is_not_used_without_the_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(PAGE)
    server.answers = [says(404)]
    with pytest.raises(DataError, match=f"404.*{NAME} exists but is not the published file"):
        fetch(tmp_path, server.url, SIZE, SHA256)
    assert (tmp_path / NAME).read_bytes() == PAGE  # perhaps somebody's: kept until the right one is here


def test_progress_counts_to_the_size(server: Server, tmp_path: Path, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    calls: list[tuple[int, int]] = []
    get(server.url, tmp_path, progress=lambda done, size: calls.append((done, size)))
    done = [HALF, *(call[0] for call in calls)]
    assert all(0 < b - a <= quora.BYTES_AT_A_TIME for a, b in itertools.pairwise(done))
    assert done[-1] == SIZE
    assert {call[1] for call in calls} == {SIZE}


def test_twenty_drops_at_random_points(server: Server, tmp_path: Path) -> None:
    places = sorted(random.Random(1).sample(range(1, SIZE), 20))
    server.answers = [*(serves(until=place) for place in places), serves()]
    get(server.url, tmp_path)
    assert server.ranges == [None, *(f"bytes={place}-" for place in places)]
    assert server.sent == SIZE  # no byte twice


def test_twenty_calls_that_all_fail(
    server: Server, tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each brings a little, or resets the connection, or has an error, and none loses what is there."""
    monkeypatch.setattr(quora, "RETRIES", 0)
    chance = random.Random(1)
    places = sorted(chance.sample(range(1, SIZE), 20))
    for before, place in itertools.pairwise([0, *places]):
        server.answers = [serves(until=place), chance.choice([says(500), says(404), says(200, PAGE)])]
        fails(server.url, tmp_path)
        assert place == part.stat().st_size > before
        assert part.read_bytes() == CONTENT[:place]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.sent - 20 * len(PAGE) <= SIZE


@pytest.mark.parametrize("end", [stalls, resets])
def test_a_silent_or_reset_connection_is_resumed(server: Server, tmp_path: Path, end: Answer) -> None:
    server.answers = [serves(until=HALF, end=end), serves()]
    get(server.url, tmp_path)
    assert len(server.ranges) == 2  # from which byte is open: a reset may overtake the last ones


def test_a_server_that_never_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quora, "TIMEOUT", 0.1)
    server.answers = [stalls]
    assert "timed out" in fails(server.url, tmp_path)
    assert len(server.ranges) == 4


def test_a_connection_that_always_drops_keeps_the_part(server: Server, tmp_path: Path, part: Path) -> None:
    server.answers = [serves(until=HALF)]
    assert "ended early; the next try resumes at 100,000 of 200,000 bytes" in fails(server.url, tmp_path)
    assert server.ranges == [None] + 4 * [f"bytes={HALF}-"]  # four that bring nothing
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.sent == SIZE


def test_a_file_that_changed_between_two_parts(server: Server, tmp_path: Path, part: Path) -> None:
    """The size and the checksum are known beforehand, so that no ETag has to tell."""
    other = CONTENT[:-1] + b"?"
    server.answers = [serves(until=HALF), serves(other)]
    assert "SHA-256" in fails(server.url, tmp_path)
    assert not part.exists()
    server.answers = [serves(until=HALF), serves(other + b"?")]
    assert f"Content-Length {SIZE + 1}" in fails(server.url, tmp_path)
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = [serves()]
    get(server.url, tmp_path)


def test_the_second_at_once_is_refused(server: Server, tmp_path: Path, part: Path) -> None:
    """Else it could still write into the file that the first has checked."""
    began, go_on = threading.Event(), threading.Event()

    def waits(handler: Handler) -> None:
        began.set()
        go_on.wait(10)
        handler.body(REST)

    server.answers = [serves(until=HALF, end=waits), resets]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(get, server.url, tmp_path)
        assert began.wait(10)
        for _ in range(3):
            with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*; wait for its end$"):
                fetch(tmp_path, server.url, SIZE, SHA256)
        go_on.set()
        first.result()
    get(server.url, tmp_path)
    assert server.ranges == [None]


COMMAND = """
import sys
from siamese import cli
from siamese.pairs import quora
quora.fetch.__defaults__ = (".", sys.argv[1], int(sys.argv[2]), sys.argv[3], None)
cli.main(["train", "--start-from", "none", "--data", "quora"])
"""


@pytest.mark.ci
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_a_part_that_is_resumed(
    server: Server, tmp_path: Path, part: Path, number: signal.Signals
) -> None:
    server.answers = [serves(until=HALF, end=lambda handler: time.sleep(10))]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, server.url, str(SIZE), SHA256], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < HALF:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert "Traceback" not in error
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_what_the_command_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "__defaults__", (tmp_path, server.url, SIZE, SHA256, None))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    server.answers = [serves(until=HALF), says(500)]
    with pytest.raises(SystemExit) as stop:
        entry.main([*TRAIN, "--data", "quora"])
    assert stop.value.code == 2
    bar, what, advice, end = capsys.readouterr().err.split("\n")
    assert "100k/200k" in bar
    assert what == (
        f"error: {server.url}: the server answered HTTP Error 500: Internal Server Error; "
        "the next try resumes at 100,000 of 200,000 bytes"
    )
    assert advice.startswith("By hand: ") and not end


def test_a_wrong_checksum_deletes_the_part(server: Server, tmp_path: Path, part: Path) -> None:
    wrong = hashlib.sha256(b"another file").hexdigest()
    assert "SHA-256" in fails(server.url, tmp_path, wrong)
    assert not part.exists()
    assert len(server.ranges) == 1


@pytest.mark.parametrize("bad", [bytes(HALF), bytes(SIZE + 1)])
def test_a_bad_part_is_found_out_and_the_next_call_is_fine(
    server: Server, tmp_path: Path, part: Path, bad: bytes
) -> None:
    part.write_bytes(bad)
    assert "SHA-256" in fails(server.url, tmp_path)
    assert not part.exists()
    get(server.url, tmp_path)


PACKED = gzip.compress(CONTENT)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, CONTENT)  # as HTTP cuts a body whose length is not known


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (serves(CONTENT[:-1]), "(Content-Length 199999; expected 200000 bytes"),
        (says(200, CONTENT), "(without a length; expected 200000 bytes"),
        (says(200, CONTENT, Content_Length="many"), "(Content-Length many; "),
        (says(200, CHUNKED, Content_Length=SIZE, Transfer_Encoding="chunked"), "200000, Transfer-Encoding chunked; "),
        (says(200, PACKED, Content_Length=SIZE, Content_Encoding="gzip"), "200000, Content-Encoding gzip; "),
        (
            says(200, PAGE, Content_Length=len(PAGE), Content_Type="text/html"),
            f"text/html, Content-Length {len(PAGE)};",
        ),
        (says(404), "the server answered HTTP Error 404: Not Found"),
        (says(302, Location="/questions.tsv"), "the server answered HTTP Error 302: "),
        (says(302, Location="file:///etc/hostname"), "'file:///etc/hostname' is not allowed"),
        (says(302, Location="ftp://127.0.0.1/questions.tsv"), "'ftp://127.0.0.1/questions.tsv' is not allowed"),
    ],
)
def test_a_wrong_answer_leaves_the_part_alone(
    server: Server, tmp_path: Path, part: Path, answer: Answer, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quora, "PAUSE", -1)  # nothing that waiting could mend: a retry would be a ValueError
    part.write_bytes(CONTENT[:HALF])
    server.answers = [answer]
    assert reason in fails(server.url, tmp_path)
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = [serves()]
    get(server.url, tmp_path)
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_a_part_that_never_ends_is_not_written(server: Server, tmp_path: Path, part: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.head(206, Content_Range=f"bytes {HALF}-{SIZE - 1}/{SIZE}")  # and no length
        handler.body(REST + PAGE * 1_000)
        pours(handler)

    part.write_bytes(CONTENT[:HALF])
    server.answers = [endless]
    get(server.url, tmp_path)


def test_a_redirect_with_a_page_that_never_ends(server: Server, tmp_path: Path) -> None:
    def moved(handler: Handler) -> None:
        handler.head(302, Location="/elsewhere")
        pours(handler)

    server.answers = [moved, serves()]
    get(server.url, tmp_path)
    assert server.sent < 100 << 20


def test_what_a_server_says_is_shown_in_a_line(server: Server, tmp_path: Path) -> None:
    for answer in (
        lambda handler: handler.wfile.write(b"HTTP/1.1 404 \x1b[2J\x07" + b"no " * 9_999 + b"\r\n\r\n"),
        says(200, PAGE, Content_Type="\x1b[2Jtext/" + "no" * 9_999),
        says(302, Location="file:///\x1b[2J" + "no" * 9_999),
        lambda handler: handler.wfile.write(b"\x1b[2J" + b"no" * 9_999 + b"\r\n"),
    ):
        server.answers = [answer]
        what = fails(server.url, tmp_path)
        assert what.isprintable()
        assert len(what) < 500


@pytest.mark.parametrize("status", [429, 500])
def test_three_errors_are_survived(
    server: Server, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quora, "PAUSE", 0.05)
    server.answers = [says(status)] * 3 + [serves()]
    start = time.monotonic()
    get(server.url, tmp_path)
    assert time.monotonic() - start > 3 * 0.05
    assert len(server.ranges) == 4


def test_a_slow_drip_is_waited_for(server: Server, tmp_path: Path) -> None:
    def slowly(handler: Handler) -> None:
        handler.head(200, Content_Length=SIZE)
        for i in range(0, SIZE, 10_000):  # 20 times: 0.8 s in all, more than the time-out
            handler.body(CONTENT[i : i + 10_000])
            time.sleep(0.04)

    server.answers = [slowly]
    start = time.monotonic()
    get(server.url, tmp_path)
    assert time.monotonic() - start > quora.TIMEOUT
    assert server.ranges == [None]


@pytest.mark.parametrize(
    ("slow", "kept"),
    [
        (drips("HTTP/1.1 200 OK\r\n", b"X-More: more\r\n"), 0),
        (drips("HTTP/1.1 302 Found\r\nLocation: /questions.tsv\r\n", b"X"), 0),
        (drips(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n", CONTENT[:1]), 1),
    ],
    ids=["headers", "redirect", "body"],
)
def test_a_drip_that_would_take_for_ever_ends(
    server: Server, tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch, slow: Answer, kept: int
) -> None:
    monkeypatch.setattr(quora, "LIMIT", 0.3)
    server.answers = [slow]
    start = time.monotonic()
    assert "the download did not end within 0.3 seconds" in fails(server.url, tmp_path)
    assert 0.3 < time.monotonic() - start < 3
    assert len(server.ranges) == 1
    assert part.exists() == kept


def test_a_byte_each_connection_ends_too(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quora, "LIMIT", 0.3)

    def stingy(handler: Handler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        serves(until=start + 1)(handler)

    server.answers = [stingy]
    assert "the download did not end within 0.3 seconds; the next try resumes at" in fails(server.url, tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "refused" in fails(f"http://127.0.0.1:{port}/questions.tsv", tmp_path)


@pytest.mark.parametrize("url", ["questions.tsv", "http://[/", "nothing://127.0.0.1/"])
def test_no_address(tmp_path: Path, url: str) -> None:
    fails(url, tmp_path)


def test_what_is_no_http(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: handler.body(b"SSH-2.0-OpenSSH_9.6\r\n")]
    assert "SSH-2.0" in fails(server.url, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full, where nothing can be written")
def test_the_disk_is_full(server: Server, tmp_path: Path, part: Path) -> None:
    part.symlink_to("/dev/full")
    assert "No space left on device" in fails(server.url, tmp_path)
    assert len(server.ranges) == 1  # trying again would not help


def test_the_disk_is_full_under_way(server: Server, room: Room) -> None:
    folder = room.folder / "quora"
    room.fill(but=HALF)
    assert "No space left on device; the next try resumes at" in fails(server.url, folder)
    kept = (folder / f"{NAME}.part").read_bytes()
    assert 0 < len(kept) <= HALF and CONTENT.startswith(kept)
    room.make()
    get(server.url, folder)
    assert server.ranges == [None, f"bytes={len(kept)}-"]


def test_the_part_is_removed_under_way(server: Server, tmp_path: Path, part: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        fetch(tmp_path, server.url, SIZE, SHA256, lambda done, size: part.unlink(missing_ok=True))
    assert not (tmp_path / NAME).exists()
    get(server.url, tmp_path)


def test_the_file_is_a_folder(server: Server, tmp_path: Path, part: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert "directory" in fails(server.url, tmp_path)
    assert part.read_bytes() == CONTENT  # not lost
