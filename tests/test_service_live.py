"""The service on a real socket: slow and greedy clients, the end by a signal, kills while it writes."""

import csv
import http.client
import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import posix, python

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.cli import entry
from siamese.errors import UserError
from siamese.service.app import Settings, make_app
from siamese.service.connections import listen, make_server
from siamese.service.limits import Limits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODEL = SiameseModel.pretrained()
TOKEN = "a-token-of-the-tests"
SHORT = Limits(arrival=0.3, departure=0.4, connections=6, ending=5)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"question1": "How are you?", "question2": "How do you do?"}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@contextmanager
def running(archive: Path | None, limits: Limits) -> Iterator[Any]:
    """A server in a thread; `server.port` is its port."""
    listening = listen("127.0.0.1", 0)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # else the kernel takes megabytes for a client
    server: Any = make_server(make_app(MODEL, archive, Settings(TOKEN, limits=limits)), limits)
    server.port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def short() -> Iterator[Any]:
    with running(None, SHORT) as server:
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
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Send a byte now and then until there is an answer; the answer."""
    for byte in data:
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 0.03)[0]:
            return rest(connection)
    raise AssertionError("it was patient to the end")


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        one.request(method, path, None if body is None else json.dumps(body), headers)
        answer = one.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


# Clients that keep it waiting


def test_a_head_that_drips_is_cut(connection: socket.socket, short: Any) -> None:
    begun = time.monotonic()
    assert drip(connection, HEAD * 2).startswith(b"HTTP/1.1 408 ")
    assert SHORT.arrival * 0.8 < time.monotonic() - begun < 10 * SHORT.arrival


def test_a_body_that_drips_is_cut(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    answer = drip(connection, b" " * 1_000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_a_second_head_that_drips_is_cut(connection: socket.socket) -> None:
    connection.sendall(WHOLE)
    answer = connection.recv(65_536)
    while not answer.endswith(b"}"):
        answer += connection.recv(65_536)
    assert drip(connection, HEAD * 2).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_says_nothing_is_left(connection: socket.socket) -> None:
    assert rest(connection) == b""


def test_slow_clients_keep_nobody_else_waiting(short: Any) -> None:
    until(lambda: not short.server_state.connections)
    slow = [socket.create_connection(("127.0.0.1", short.port)) for _ in range(SHORT.connections - 1)]
    for one in slow:
        one.sendall(HEAD + b"Content-Length: 1000\r\n\r\n ")
    assert ask(short.port, "POST", "/predict", json.loads(BODY))[0] == 200
    for one in slow:
        one.close()


def test_a_client_that_does_not_take_its_answer_is_cut(short: Any, connection: socket.socket) -> None:
    body = json.dumps({"questions": [f"How are you {i}?" for i in range(1_000)]}).encode()  # 3 MB in answer
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    head = HEAD.replace(b"/predict", b"/encode")
    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    until(lambda: bool(short.server_state.total_requests) and len(short.server_state.connections) == 1)
    until(lambda: not short.server_state.connections)
    assert not rest(connection).endswith(b"}")


def test_more_connections_than_allowed_are_told_to_come_again() -> None:
    with running(None, Limits(connections=3)) as server:
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


# Clients that send too much, or something else


def chunked(size: int, count: int) -> Iterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(count):
        yield b"%x\r\n" % size + b" " * size + b"\r\n"
    yield b"0\r\n\r\n"


def test_a_body_without_a_length_is_measured(connection: socket.socket) -> None:
    for part in chunked(65_536, 17):
        connection.sendall(part)
    assert rest(connection).startswith(b"HTTP/1.1 413 ")  # the rest was read and thrown away


def test_a_body_without_an_end_is_cut(connection: socket.socket) -> None:
    with pytest.raises(ConnectionError):
        for part in chunked(65_536, 16 * 40):  # 40 MiB
            connection.sendall(part)


def test_a_body_announced_too_large_is_not_asked_for(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
    assert rest(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\n\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", HEAD + b"Content-Length: -1\r\n\r\n",
     b"GET /" + b"a" * 100_000,
     HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ids=["tls", "no host", "negative", "endless", "two lengths"],
)  # fmt: skip
def test_what_is_no_request_is_refused(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert re.match(rb"HTTP/1\.1 4\d\d ", rest(connection))


def test_requests_in_a_row_are_answered_in_their_order(connection: socket.socket) -> None:
    connection.sendall(WHOLE + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", rest(connection)) == [b"200", b"404"]


def test_no_part_of_an_answer_waits_for_the_client_to_confirm_the_last(short: Any, connection: socket.socket) -> None:
    # Nagle's algorithm and delayed confirmations would make 40 ms of every answer.
    until(lambda: len(short.server_state.connections) == 1)
    (other_end,) = short.server_state.connections
    accepted = other_end.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Two who write


def test_two_clients_that_add_at_once(tmp_path: Path) -> None:
    Archive.create(tmp_path / "archive", MODEL, "pretrained").close()
    with running(tmp_path / "archive", Limits()) as server:
        answers: dict[str, str] = {}

        def add(name: str) -> None:
            for i in range(15):
                question = f"How old is {name} {i}?"
                status, answer = ask(server.port, "POST", "/questions", {"questions": [question]})
                assert status == 201
                answers[answer["ids"][0]] = question

        both = [threading.Thread(target=add, args=(name,)) for name in ("Anna", "Bert")]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert len(answers) == 30
        search = {"questions": ["How old is Anna?"], "k": 100, "legs": "vectors"}
        hits = ask(server.port, "POST", "/search", search)[1]["hits"][0]
        assert {hit["id"]: hit["question"] for hit in hits} == answers


# The command


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "run.py", "serve", "--port", "0", "--model", "pretrained", *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    line = process.stdout.readline()
    found = re.fullmatch(r"serving on http://.*:(\d+), until Ctrl-C\n", line)
    assert found, line
    return int(found[1])


@posix
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_end_it_answers_what_it_was_asked_before(number: int, code: int) -> None:
    process = started()
    port = port_of(process)
    long = json.dumps({"questions": [f"{i} " + "How are you? " * 150 for i in range(300)]}).encode()  # takes a second
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
def test_it_ends_while_clients_hold_connections_open(tmp_path: Path) -> None:
    process = started()
    port = port_of(process)
    with socket.create_connection(("127.0.0.1", port)) as silent, socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(HEAD[:20])
        assert ask(port, "GET", "/health")[0] == 200
        process.terminate()
        assert process.wait(20) == 143
        assert rest(silent) == b""


STUCK = """
import functools, sys, time
from siamese.model import SiameseModel
from siamese.service import app
from siamese.service.limits import Limits
from siamese.cli import main

app.Settings = functools.partial(app.Settings, limits=Limits(work=0.1, ending=1))
SiameseModel.predict = lambda *_: time.sleep(60)
main(["serve", "--port", "0", "--model", "pretrained"])
"""


@posix
def test_work_that_does_not_end_does_not_keep_it_from_ending() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    port = port_of(process)
    assert ask(port, "POST", "/predict", json.loads(BODY))[0] == 504
    process.terminate()
    assert process.wait(20) == 143


@posix
def test_a_port_in_use_is_an_error_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SystemExit) as stop:
        entry.main(["serve", "--port", str(taken.getsockname()[1])])
    assert stop.value.code == 2
    assert re.fullmatch(r"error: --host 127\.0\.0\.1 --port \d+: Address already in use\n", capsys.readouterr().err)


@posix
@pytest.mark.parametrize(
    "host, port, message",
    [("127.0.0.1", 70_000, "--port 70000: expected a number from 0 to 65535"),
     ("127.0.0.1", -1, "--port -1: expected a number from 0 to 65535"),
     ("no.such.host.invalid", 0, "--host no.such.host.invalid --port 0: .+"),
     ("192.0.2.1", 0, "--host 192.0.2.1 --port 0: Cannot assign requested address")],
)  # fmt: skip
def test_an_address_that_cannot_be_had(host: str, port: int, message: str) -> None:
    with pytest.raises(UserError) as error:
        listen(host, port)
    assert re.fullmatch(message, str(error.value))


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_web_stack_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from siamese.cli import main; main(['serve'])"
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stderr == f"error: serve needs {missing}: pip install {missing}\n"


@posix
def test_beyond_the_loopback_it_warns_and_answers_to_any_name() -> None:
    process = started("--host", "0.0.0.0", SIAMESE_TOKEN="")
    port = port_of(process)
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as one:
        one.request("GET", "/health", headers={"Host": "questions.example"})
        assert one.getresponse().status == 200
    process.terminate()
    assert process.wait(20) == 143
    assert process.stderr
    assert process.stderr.readline().startswith("using the pretrained model")
    assert process.stderr.readline() == (
        "warning: 0.0.0.0 is no loopback address: whoever reaches this machine can ask, and nothing is encrypted\n"
    )


@posix
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_readmes_requests_get_the_readmes_answers(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n### A service\n")[1].split("\n### ")[0]
    start, requests = re.findall(r"^```shell-session\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    token, options = re.match(r"\$ SIAMESE_TOKEN=(\S+) python run\.py serve --archive archive(.*)\n", start).groups()  # type: ignore[union-attr]
    assert not options
    questions = re.search(r"`faq\.csv`:\n\n```csv\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert questions
    ids, texts = zip(*csv.reader(questions[1].splitlines()[1:]))
    with Archive.create(tmp_path / "archive", MODEL, "pretrained") as archive:
        archive.add(texts, ids)
    process = started("--archive", str(tmp_path / "archive"), SIAMESE_TOKEN=token)
    port = port_of(process)
    for command, expected in re.findall(r"^\$ (curl .*)\n(.*)\n", requests, re.MULTILINE):
        words = shlex.split(command.replace("localhost:8000", f"localhost:{port}"))
        found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        number = r"\d\.\d{6,}"  # whose last digits are the machine's
        assert re.sub(number, "#", found) == re.sub(number, "#", expected)
        rounded = [[float(digits) for digits in re.findall(number, text)] for text in (found, expected)]
        assert rounded[0] == pytest.approx(rounded[1], abs=1e-5)
    process.terminate()
    assert process.wait(10) == 143


# Killed while it adds

SERVERS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from siamese.cli import main
from siamese import model
import siamese.service.app, siamese.service.connections, siamese.archive.store, threadpoolctl

loaded = model.SiameseModel.pretrained()
model.SiameseModel.load = lambda name: loaded
while True:  # what is slow to begin is begun once; each server is a fork
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        print(os.getpid(), flush=True)
        main(["serve", "--archive", sys.argv[2], "--port", "0"])
"""


@posix
def test_killed_while_it_adds_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    Archive.create(folder, MODEL, "pretrained").close()
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
            for thread in clients:
                thread.start()
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
