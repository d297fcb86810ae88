"""The service on a real socket: slow and greedy clients, shutdown by a signal, kills during writes."""

import http.client
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Command, posix, python
from servers import port_of, running, started

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.service.app import make_app
from siamese.service.connections import listen
from siamese.service.limits import Limits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODEL = SiameseModel.pretrained()
TOKEN = "a-token-of-the-tests"
SHORT = Limits(arrival=0.3, departure=0.4, connections=6, shutdown=5)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"question1": "How are you?", "question2": "How do you do?"}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def short() -> Iterator[Any]:
    with running(make_app(MODEL, limits=SHORT), SHORT) as server:
        yield server


@pytest.fixture()
def connection(short: Any) -> Iterator[socket.socket]:
    until(lambda: not short.server_state.connections)
    with socket.create_connection(("127.0.0.1", short.port), 5) as one:
        yield one


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def rest(connection: socket.socket) -> bytes:
    """Receive until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Send a byte every 30 ms until an answer comes, and return the answer."""
    for byte in data:
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 0.03)[0]:
            return rest(connection)
    raise AssertionError("the server read everything")


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        one.request(method, path, None if body is None else json.dumps(body), headers)
        answer = one.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def test_a_slow_head_gets_408(connection: socket.socket, short: Any) -> None:
    begun = time.monotonic()
    assert drip(connection, HEAD * 2).startswith(b"HTTP/1.1 408 ")
    assert SHORT.arrival * 0.8 < time.monotonic() - begun < 10 * SHORT.arrival


def test_a_slow_body_gets_408(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    answer = drip(connection, b" " * 1_000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_a_slow_second_head_gets_408(connection: socket.socket) -> None:
    connection.sendall(WHOLE)
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(65_536)
    assert drip(connection, HEAD * 2).startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_is_closed(connection: socket.socket) -> None:
    assert rest(connection) == b""


def test_slow_clients_do_not_delay_others(short: Any) -> None:
    until(lambda: not short.server_state.connections)
    slow = [socket.create_connection(("127.0.0.1", short.port)) for _ in range(SHORT.connections - 1)]
    for one in slow:
        one.sendall(HEAD + b"Content-Length: 1000\r\n\r\n ")
    assert ask(short.port, "POST", "/predict", json.loads(BODY))[0] == 200
    for one in slow:
        one.close()


@pytest.mark.slow
@pytest.mark.ci
def test_a_client_that_does_not_read_its_answer_is_cut(short: Any, connection: socket.socket) -> None:
    body = json.dumps({"questions": [f"How are you {i}?" for i in range(1_000)]}).encode()  # the answer has 3 MB
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    head = HEAD.replace(b"/predict", b"/encode")
    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    until(lambda: bool(short.server_state.total_requests) and len(short.server_state.connections) == 1)
    until(lambda: not short.server_state.connections)
    assert not rest(connection).endswith(b"}")


def test_one_connection_too_many_gets_503() -> None:
    with running(make_app(MODEL), Limits(connections=3)) as server:
        many = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        until(lambda: len(server.server_state.connections) == 3)
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            answer = rest(one)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        many[0].close()
        until(lambda: len(server.server_state.connections) == 2)
        assert ask(server.port, "GET", "/health")[0] == 200
        for one in many:
            one.close()


def chunked(size: int, count: int) -> Iterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(count):
        yield b"%x\r\n" % size + b" " * size + b"\r\n"
    yield b"0\r\n\r\n"


def test_a_long_body_without_content_length_gets_413(connection: socket.socket) -> None:
    for part in chunked(65_536, 17):
        connection.sendall(part)
    assert rest(connection).startswith(b"HTTP/1.1 413 ")  # after reading and discarding the rest


def test_an_endless_body_is_cut(connection: socket.socket) -> None:
    with pytest.raises(ConnectionError):
        for part in chunked(65_536, 16 * 40):  # 40 MiB
            connection.sendall(part)


def test_a_body_announced_too_large_is_refused_unread(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
    assert rest(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\n\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", HEAD + b"Content-Length: -1\r\n\r\n",
     b"GET /" + b"a" * 100_000,
     HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ids=["tls", "no host", "negative", "endless", "two lengths"],
)  # fmt: skip
def test_malformed_http(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert re.match(rb"HTTP/1\.1 4\d\d ", rest(connection))


def test_pipelined_requests_are_answered_in_order(connection: socket.socket) -> None:
    connection.sendall(WHOLE + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", rest(connection)) == [b"200", b"404"]


def test_head_and_body_are_one_write_and_100_continue_is_not_kept_back(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(BODY)
    answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"}")


def test_nagles_algorithm_is_off(short: Any, connection: socket.socket) -> None:
    # With delayed acknowledgements it would add 40 ms to every answer.
    until(lambda: len(short.server_state.connections) == 1)
    (other_end,) = short.server_state.connections
    accepted = other_end.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.ci
@posix
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_a_signal_lets_requests_in_flight_finish(number: int, code: int) -> None:
    process = started()
    port = port_of(process)
    long = json.dumps(
        {"questions": [f"{i} " + "How are you? " * 150 for i in range(300)]}
    ).encode()  # takes about a second
    head = HEAD.replace(b"/predict", b"/encode") + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(long)
    with socket.create_connection(("127.0.0.1", port), 20) as one:
        one.sendall(head)
        assert one.recv(1_000).startswith(b"HTTP/1.1 100 ")  # so it is in flight
        one.sendall(long)
        process.send_signal(number)
        head, _, body = rest(one).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(json.loads(body)["vectors"]) == 300
    assert process.wait(20) == code
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert process.stderr
    log = process.stderr.read()
    assert "POST /encode 200" in log
    assert "Traceback" not in log
    assert "are you" not in log


@posix
def test_open_connections_do_not_delay_the_end() -> None:
    process = started()
    port = port_of(process)
    with socket.create_connection(("127.0.0.1", port)) as silent, socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(HEAD[:20])
        assert ask(port, "GET", "/health")[0] == 200
        process.terminate()
        assert process.wait(20) == 143
        assert rest(silent) == b""


STUCK = """
import time
from siamese.cli import main
from siamese.model import SiameseModel
from siamese.service import limits

limits.LIMITS = limits.Limits(work=0.1, shutdown=1)
SiameseModel.predict_many = lambda *_: time.sleep(60)
main(["serve", "--port", "0", "--model", "pretrained"])
"""


@posix
def test_endless_work_does_not_delay_the_end() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    port = port_of(process)
    assert ask(port, "POST", "/predict", json.loads(BODY))[0] == 504
    process.terminate()
    assert process.wait(20) == 143


@posix
@pytest.mark.parametrize(
    "host, port, message",
    [("127.0.0.1", 70_000, "--port 70000: expected a number from 0 to 65535"),
     ("127.0.0.1", -1, "--port -1: expected a number from 0 to 65535"),
     ("127.0.0.1", None, r"--host 127\.0\.0\.1 --port \d+: Address already in use"),
     ("no.such.host.invalid", 0, "--host no.such.host.invalid --port 0: .+"),
     ("192.0.2.1", 0, "--host 192.0.2.1 --port 0: Cannot assign requested address")],
)  # fmt: skip
def test_an_address_that_is_unusable(host: str, port: int | None, message: str, command: Command) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1] if port is None else port
        code, _, err = command("serve", "--host", host, f"--port={port}")
    assert code == 2
    assert re.fullmatch(f"error: {message}\n", err)


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_web_stack_the_error_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from siamese.cli import main; main(['serve'])"
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stderr == f"error: serve needs {missing}: pip install {missing}\n"


@posix
def test_a_public_address_warns_and_accepts_the_host_names_that_it_is_given() -> None:
    process = started("--host", "0.0.0.0", "--allow-host", "questions.example")
    port = port_of(process)
    for host, status in (("questions.example", 200), ("localhost:1", 200), ("0.0.0.0", 200), ("evil.example", 400),
                         ("203.0.113.1", 400)):  # fmt: skip
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as one:
            one.request("GET", "/health", headers={"Host": host})
            assert one.getresponse().status == status, host
    process.terminate()
    assert process.wait(20) == 143
    assert process.stderr
    assert process.stderr.readline().startswith("using the pretrained model")
    warning = "anyone who can reach this machine can ask, and nothing is encrypted"
    assert process.stderr.readline() == f"warning: 0.0.0.0 is not a loopback address: {warning}\n"


SERVERS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from siamese.cli import main
from siamese import model
import siamese.service.app, siamese.service.connections, siamese.service.routes_archive, siamese.service.opened
import siamese.service.processes, siamese.archive.store, threadpoolctl

loaded = model.SiameseModel.pretrained()
model.SiameseModel.load = lambda name: loaded
while True:  # each server is a fork of a process that has done the slow imports
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        print(os.getpid(), flush=True)
        main(["serve", "--archive", sys.argv[2], "--port", "0"])
"""


@pytest.mark.ci
@posix
def test_a_kill_while_two_clients_add_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    Archive.build(folder, model=MODEL, name="pretrained").close()
    chance = random.Random(1)
    answered: dict[str, str] = {}
    asked: set[str] = set()
    servers = subprocess.Popen(
        [sys.executable, "-c", SERVERS, str(ROOT), str(folder)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "SIAMESE_TOKEN": TOKEN},
    )  # fmt: skip

    def add(port: int, name: str) -> None:
        for i in range(1_000):
            questions = [f"How old is {name} {i} {letter}?" for letter in "ab"]
            asked.update(questions)
            try:
                status, answer = ask(port, "POST", "/questions", {"questions": questions})
            except (OSError, http.client.HTTPException):
                return  # killed
            assert status == 201
            assert not answered.keys() & set(answer["ids"])
            answered.update(zip(answer["ids"], questions))

    try:
        for kill in range(20):
            assert servers.stdout
            child = int(servers.stdout.readline())
            port = port_of(servers)
            clients = [threading.Thread(target=add, args=(port, f"{name} {kill}")) for name in ("Anna", "Bert")]
            before = len(answered)
            for thread in clients:
                thread.start()
            if kill % 2:  # else a busy machine might answer nobody
                until(lambda before=before: len(answered) > before)  # type: ignore[misc]
            time.sleep(chance.uniform(0.02, 0.2))
            os.kill(child, signal.SIGKILL)
            for thread in clients:
                thread.join()
    finally:
        os.killpg(servers.pid, signal.SIGKILL)
        servers.wait()
    with Archive.open(folder, MODEL) as archive:
        assert len(answered) > 20
        assert {id: archive.get(id) for id in answered} == answered  # nothing is lost
        found = archive.search(["How old is Anna?"], k=10_000, legs="vectors")[0]
        texts = [hit.question for hit in found]
        assert len(texts) == len(set(texts)) == len(archive)  # nothing is doubled
        assert set(answered.values()) <= set(texts) <= asked
        assert len(texts) % 2 == 0  # two at a time, or none
        assert len(texts) - len(answered) <= 2 * 2 * 20  # at most the request under way of each client and kill
        for hit in archive.search(texts[:50], k=1, legs="vectors"):
            assert hit[0].similarity == pytest.approx(1, abs=1e-6)  # vectors are those of their questions
