"""The service against clients that want all of it, on real sockets: the others are answered, and memory is given back.

`pytest -s tests/attacks` prints how many requests were tried of each kind.
"""

import json
import re
import resource
import select
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from commands import posix
from servers import port_of, running, started

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.service.app import make_app
from siamese.service.limits import LIMITS, Limits

pytestmark = [pytest.mark.ci, posix]

WAIT = 3.0  # seconds that /health may take meanwhile on a busy machine; it took up to 60 when this was written
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
QUESTION = b'{"question1": "How are you?", "question2": "How do you do?"}'
MILLION = 1_000_000  # bytes, or nearly, that each body has
TRIED: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def tried() -> Iterator[None]:
    yield
    print(f"\n{TRIED.total():,} requests tried: " + "; ".join(f"{kind} {n:,}" for kind, n in TRIED.items()))


@contextmanager
def service(*arguments: str, files: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    process = started(*arguments, stderr=subprocess.DEVNULL, preexec_fn=limit)
    try:
        yield process, port_of(process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with service() as (_, port):
        yield port


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def ask(port: int, request: bytes) -> int:
    """Return the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), 60) as one:
        one.sendall(request)
        return int(one.recv(100)[9:12])


@contextmanager
def health(port: int) -> Iterator[list[float]]:
    """Ask for /health again and again, and yield how long each answer took."""
    took, end = list[float](), threading.Event()

    def again() -> None:
        while not end.wait(0.02):
            begun = time.monotonic()
            status = ask(port, HEALTH)
            took.append(time.monotonic() - begun if status == 200 else float("inf"))

    thread = threading.Thread(target=again)
    thread.start()
    yield took
    end.set()
    thread.join()


def flood(port: int, kind: str, requests: list[bytes]) -> Counter[int]:
    """Send all these requests at once and return how often each status came."""
    TRIED[kind] += len(requests)
    statuses: Counter[int] = Counter()
    threads = [threading.Thread(target=lambda one=one: statuses.update([ask(port, one)])) for one in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.total() == len(requests)
    return statuses


def memory(process: subprocess.Popen[str]) -> float:
    """Return the megabytes that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


BODIES = {
    "lists": ("/similarity", b'{"pairs": [' + b",".join([b"[1,2]"] * 170_000) + b"]}"),
    "objects": ("/encode", b'{"questions": [' + b",".join([b'{"a":1}'] * 125_000) + b"]}"),
    "fields": ("/encode", b"{" + b",".join(b'"%d":1' % i for i in range(100_000)) + b"}"),
    "texts": ("/encode", b'{"questions": [' + b",".join([b'"["'] * 250_000) + b"]}"),
    "numbers": ("/search", b"[" + b",".join([b"1"] * 500_000) + b"]"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_heavy_bodies_delay_nobody_and_too_many_get_503(port: int, kind: str) -> None:
    with health(port) as took:
        statuses = flood(port, kind, [post(*BODIES[kind])] * 90)
    assert max(took) < WAIT, max(took)
    assert statuses.keys() <= {404, 422, 503}
    assert statuses[503] or kind == "numbers"  # there is no /search without an archive, so nothing is parsed


def test_heavy_answers_delay_nobody(port: int) -> None:
    questions = json.dumps({"questions": [f"How are you {i}?" for i in range(1_000)]}).encode()  # answered by 3 MB
    with health(port) as took:
        statuses = flood(port, "heavy answers", [post("/encode", questions)] * 40)
    assert max(took) < WAIT, max(took)
    assert statuses.keys() <= {200, 503, 504}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "archive"
    model = SiameseModel.pretrained()
    Archive.build(folder, [f"How many days has month {i}?" for i in range(5_000)], model, name="pretrained").close()
    return folder


def test_heavy_searches_do_not_delay_health(archive: Path) -> None:
    search = json.dumps({"questions": ["How many days has a month?"] * 40, "k": 1_000}).encode()
    with service("--archive", str(archive)) as (_, port), health(port) as took:
        pages = b"GET /questions?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        statuses = flood(port, "heavy searches and pages", [post("/search", search), pages] * 8)
    assert max(took) < WAIT, max(took)
    assert statuses.keys() <= {200, 503, 504}


def test_bodies_that_are_held_back_take_little_memory_and_delay_nobody() -> None:
    """The first version that was tried took 589 MB and kept them."""
    request, count = post("/predict", b" " * MILLION)[:-1], 480
    question = post("/predict", QUESTION)
    with service() as (process, port), ExitStack() as open_:
        assert ask(port, question) == 200
        before = memory(process)
        TRIED["bodies held back"] += count
        for _ in range(count):
            one = open_.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(request)
        assert ask(port, question) == 200
        assert memory(process) - before < 120
        open_.close()
        until(lambda: memory(process) - before < 60)
        assert ask(port, post("/predict", b" " * MILLION)) == 400  # there is room again


def test_answers_that_are_not_read_take_little_memory() -> None:
    questions = json.dumps({"questions": [f"How are you {i}?" for i in range(1_000)]}).encode()  # answered by 3 MB
    limits, count = Limits(bytes=8 << 20), 12
    app = make_app(SiameseModel.pretrained(), limits=limits)
    TRIED["answers not read"] += count
    with running(app, limits) as server:
        with ExitStack() as open_:
            statuses: Counter[bytes] = Counter()
            for _ in range(count):
                one = open_.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                one.connect(("127.0.0.1", server.port))
                one.sendall(post("/encode", questions))
                statuses[one.recv(12)[9:]] += 1
                assert app.state.room.left > -(4 << 20)
            assert set(statuses) == {b"200", b"503"}
            assert ask(server.port, post("/predict", QUESTION)) == 200
        until(lambda: app.state.room.left == limits.bytes)


@pytest.mark.parametrize("files, most", [(1_024, LIMITS.connections), (400, 400 - 320)])
def test_connections_stop_before_the_files_do(files: int, most: int, archive: Path) -> None:
    count = 1_500
    TRIED["connections"] += count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < count + 200:
        pytest.skip(f"this process may open no more than {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    with service("--archive", str(archive), files=files) as (process, port), ExitStack() as open_:
        many = [open_.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(count)]
        refused = 0
        until = time.monotonic() + 5
        while refused < count - most and time.monotonic() < until:
            for one in select_read(many):
                if one.recv(12) == b"HTTP/1.1 503":
                    refused += 1
                many.remove(one)
        assert refused == count - most  # those that are kept have not sent anything yet
        many[0].sendall(HEALTH)
        assert many[0].recv(12) == b"HTTP/1.1 200"  # which needs the files of the archive
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < files
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def select_read(sockets: list[socket.socket]) -> list[socket.socket]:
    poll, by_number = select.poll(), {one.fileno(): one for one in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(200)]


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "0.0.0.0"])
def test_the_address_that_serve_prints_is_answered_and_a_rebound_name_is_not(host: str) -> None:
    with service("--host", host) as (_, port):
        for name, status in ((host, 200), ("evil.example", 400), ("localhost", 200)):
            TRIED["host names"] += 1
            request = f"GET /health HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode()
            with socket.create_connection((host, port), 20) as one:
                one.sendall(request)
                assert int(one.recv(100)[9:12]) == status, name
