"""`serve --workers`: processes on one socket, which write in turn, and a supervisor that replaces those that die."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Command, posix
from prometheus_client.parser import text_string_to_metric_families
from servers import port_of, started

from siamese import SiameseModel
from siamese.archive.store import Archive

pytestmark = [posix, pytest.mark.ci]

MODEL = SiameseModel.pretrained()
TOKEN = "a-token-of-the-tests"


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as one:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        one.request(method, path, None if body is None else json.dumps(body), headers)
        answer = one.getresponse()
        return answer.status, answer.read().decode()


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """Return the ids of the processes that answer."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture()
def folder(memory: Path) -> Path:
    Archive.build(memory / "archive", model=MODEL, name="pretrained").close()
    return memory / "archive"


@pytest.fixture()
def process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start two workers in a session of their own, as a terminal would, and kill what is left at the end."""
    environment = {**os.environ, "SIAMESE_TOKEN": TOKEN, "TMPDIR": str(folder.parent)}
    one = started(
        "--workers", "2", "--archive", str(folder), "--decisions", str(folder.parent / "decisions.csv"),
        "--log-format", "json", start_new_session=True, env=environment,
    )  # fmt: skip
    yield one
    if one.poll() is None:
        os.killpg(one.pid, signal.SIGKILL)
    one.communicate()


def test_workers_write_in_turn_and_are_replaced_when_they_die(process: subprocess.Popen[str], folder: Path) -> None:
    port = port_of(process)
    # Each begins a file of counts with its first request.
    until(lambda: ask(port, "GET", "/readyz")[0] == 200 and len(list(folder.parent.glob("*/counter_*.db"))) == 2)
    added: list[str] = []
    failed: list[str] = []

    def add(name: str) -> None:
        for i in range(12):
            pair = {"question1": f"{name} {i}?", "question2": f"{i} {name}?", "answer": "different"}
            try:
                status, text = ask(port, "POST", "/questions", {"questions": [f"How old is {name} {i}?"]})
                decided, _ = ask(port, "POST", "/decisions", {"decisions": [pair]})
            except (OSError, http.client.HTTPException):
                failed.append(name)  # in the worker that was killed
                continue
            assert (status, decided) == (201, 201)
            added.extend(json.loads(text)["ids"])

    threads = [threading.Thread(target=add, args=(name,)) for name in ("Anna", "Bert", "Cleo", "Dora")]
    for thread in threads:
        thread.start()
    until(lambda: len(added) > 8)
    before = workers_of(process)
    assert len(before) == 2
    os.kill(killed := min(before), signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert len(failed) < 6
    until(lambda: len(workers_of(process) - {killed}) == 2)
    assert len(added) == len(set(added)) >= 4 * 12 - len(failed) > 40
    found = [ask(port, "GET", f"/questions/{id}") for id in added]  # whichever worker answers
    assert {status for status, _ in found} == {200}
    families = text_string_to_metric_families(ask(port, "GET", "/metrics")[1])
    counts = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert counts["siamese_requests_total", "GET", "/questions/{id:path}", "200"] == len(added)
    assert counts["siamese_archive_questions",] >= len(added)

    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    _, log = process.communicate(timeout=30)
    assert process.returncode == 130
    assert sorted(path.name for path in folder.parent.iterdir()) == ["archive", "decisions.csv"]
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[0]["message"].startswith("using the pretrained model ")
    assert len({line["process"] for line in lines if line.get("route") == "/questions"}) >= 2
    assert [line["message"] for line in lines if line["level"] == "error"] == [
        f"process {killed} has ended (-9); another takes its place"
    ]


def test_requests_in_flight_are_answered_at_the_end(process: subprocess.Popen[str]) -> None:
    port = port_of(process)
    long = json.dumps({"questions": [f"{i} " + "How are you? " * 150 for i in range(200)]}).encode()
    head = b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        one.sendall(head + b"Content-Length: %d\r\n\r\n" % len(long))
        assert one.recv(1_000).startswith(b"HTTP/1.1 100 ")
        one.sendall(long)
        process.terminate()  # the first process alone, as a service manager may do
        with one.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            assert len(json.loads(answer.read().partition(b"\r\n\r\n")[2])["vectors"]) == 200
    _, log = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in log) == (143, False)


def test_workers_end_with_a_supervisor_that_was_killed(process: subprocess.Popen[str]) -> None:
    port = port_of(process)
    until(lambda: ask(port, "GET", "/health")[0] == 200)
    workers = workers_of(process)
    process.kill()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_is_wrong_is_said_once(folder: Path, command: Command) -> None:
    (folder / "archive.sqlite").write_bytes(b"")
    for arguments, message in (
        (["--workers", "0"], r"--workers 0: expected a number from 1 to 64"),
        (["--workers", "2", "--archive", str(folder), "--model", "pretrained"], r".*archive.*"),
    ):
        code, _, err = command("serve", "--port", "0", *arguments)
        lines = [line for line in err.splitlines() if not line.startswith("using the ")]
        assert (code, len(lines)) == (2, 1), err
        assert re.fullmatch(f"error: {message}", lines[0]), lines
