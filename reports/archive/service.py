"""Measure how many requests a second the service answers beside a bare FastAPI endpoint, and beside another commit.

    python -m reports.archive.service [--former MODEL] [--before CHECKOUT]

A client process sends the next request on each of its connections when the last is answered (a closed loop), so there
are as many requests at a time as connections. No question is asked twice. The servers take turns in short runs, and
each ratio is the median of those of the turns, so that other work on the machine meets all of them alike.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from reports.measured import machine, table
from siamese import read_pairs

DATA = "data/questions.csv"
ARCHIVED = 2_700  # questions in the archive
WARM_UP = 0.2  # seconds of each run before it counts
AT_ONCE = 10_000  # requests that are made for each second of a run, more than are answered
BARE, PREDICT, SEARCH = "FastAPI alone", "`POST /predict`", "`POST /search`"


@dataclass
class Served:
    """A server, and what its runs have measured."""

    name: str
    path: str
    port: int
    process: int
    against: "Served | None" = None
    rates: list[float] = field(default_factory=list)  # requests per second
    costs: list[float] = field(default_factory=list)  # microseconds of the server's processor time for a request
    times: list[np.ndarray] = field(default_factory=list)  # seconds to each answer

    def row(self, connections: int) -> dict[str, object]:
        """Return the medians of the runs, and the ratio of the requests per second to those of the other server."""
        p50, p99 = 1e3 * np.percentile(np.concatenate(self.times), [50, 99])
        ratio = self.against and statistics.median(a / b for a, b in zip(self.rates, self.against.rates))
        return {
            "server": self.name, "beside": self.against.name if self.against else "", "connections": connections,
            "requests/s": statistics.median(self.rates), "ratio": ratio,
            "processor, µs": statistics.median(self.costs), "50th percentile, ms": p50, "99th percentile, ms": p99,
        }  # fmt: skip


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each server (default %(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64], help="(default 1 8 64)")
    parser.add_argument("--former", metavar="MODEL", help="a model folder to measure as well")
    parser.add_argument("--before", metavar="CHECKOUT", help="a folder with another commit of this project")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare()
    rows = []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as client:
        asked = spliced()
        for connections in options.connections:
            with ExitStack() as stack:
                servers = started(stack, Path(folder), options.former, options.before)
                for _, server in itertools.product(range(options.rounds), servers):
                    run(client, server, connections, options.seconds, asked)
            rows += [server.row(connections) for server in servers]
            print(table(rows[-len(servers) :]), file=sys.stderr)
    print(f"{table(rows)}\n{machine()}; {options.rounds} runs of {options.seconds:g} seconds each")


def started(stack: ExitStack, folder: Path, former: str | None, before: str | None) -> list[Served]:
    """Start the servers, until the stack is closed; `folder` keeps their archives."""
    servers: list[Served] = []

    def start(name: str, path: str, command: list[str], where: str = ".", beside: Served | None = None) -> Served:
        servers.append(Served(name, path, *stack.enter_context(serving(command, where)), beside))
        return servers[-1]

    plain = start(BARE, "/predict", ["-m", "reports.archive.service", "--bare"])
    for name, model in [("pretrained", "pretrained")] + ([("the former model", former)] if former else []):
        serve = ["run.py", "serve", "--port", "0", "--archive"]
        archive = build(folder / name, model, ".")
        start(f"{PREDICT}, {name}", "/predict", [*serve, archive], beside=plain)
        old = None
        if before:
            old_archive = build(folder / f"{name}, before", model, before)
            start(f"{PREDICT}, {name}, before", "/predict", [*serve, old_archive], before, plain)
            old = start(f"{SEARCH}, {name}, before", "/search", [*serve, old_archive], before)
        start(f"{SEARCH}, {name}", "/search", [*serve, archive], beside=old)
    return servers


def build(folder: Path, model: str, checkout: str) -> str:
    """Make an archive of the first questions in data/questions.csv by the code of a checkout, and return its folder."""
    if not folder.exists():
        pairs, file = read_pairs(DATA), folder.with_suffix(".txt")
        questions = list(dict.fromkeys(itertools.chain(*zip(pairs.question1, pairs.question2))))[:ARCHIVED]
        file.write_text("".join(f"{question}\n" for question in questions), "utf-8")
        command = [sys.executable, "run.py", "archive", "build", str(file), "--out", str(folder), "--model", model]
        subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return str(folder)


def spliced() -> Iterator[tuple[str, str]]:
    """Yield pairs of questions, none twice: the pairs of data/questions.csv, each with another end."""
    pairs = read_pairs(DATA)
    parts = [[question.split() for question in side] for side in (pairs.question1, pairs.question2)]
    ends = [words[len(words) // 2 :] for words in parts[0]]
    seen: set[str] = set()
    for shift, i in itertools.product(range(1, len(ends)), range(len(ends))):
        end = ends[(i + shift * 101) % len(ends)]
        one, two = (" ".join(words[i][: (len(words[i]) + 1) // 2] + end) for words in parts)
        if one != two and not {one, two} & seen:
            seen |= {one, two}
            yield one, two


def run(
    client: ProcessPoolExecutor, server: Served, connections: int, seconds: float, asked: Iterator[tuple[str, str]]
) -> None:
    """Measure a server once."""
    count = int(AT_ONCE * (seconds + WARM_UP))
    bodies: Iterator[object]
    if server.path == "/predict":
        bodies = ({"question1": one, "question2": two} for one, two in itertools.islice(asked, count))
    else:
        bodies = ({"questions": [one]} for one, _ in itertools.islice(asked, count // 4))
    requests = [_request(server.path, json.dumps(body).encode()) for body in bodies]
    cost, (times, all_of_them) = (
        _spent(server.process),
        client.submit(ask, server.port, requests, connections, seconds).result(),
    )
    server.costs.append(1e6 * (_spent(server.process) - cost) / all_of_them)
    server.rates.append(len(times) / seconds)
    server.times.append(times)


def _request(path: str, content: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def _spent(process: int) -> float:
    """Return the processor seconds of a process and all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Connection(asyncio.Protocol):
    """A client that sends the next request when the last is answered."""

    def __init__(self, requests: Iterator[bytes], begin: float, times: list[float]) -> None:
        self.requests, self.begin, self.times, self.received = requests, begin, times, b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Send the next request."""
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        """Count the answer once it is here, and send the next request."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(self.received.decode("latin-1")))
            return self.transport.close()
        if len(body) == int(length[1]):
            self.received = b""
            if (now := time.perf_counter()) >= self.begin:
                self.times.append(now - self.sent)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        if not self.done.done():
            self.done.set_result(None)


def ask(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[np.ndarray, int]:
    """Return the seconds to each answer, and the number of all requests, including those of the warm-up.

    Raises:
        RuntimeError: an answer is not 200.
    """

    async def all_of_them() -> tuple[np.ndarray, int]:
        loop, left, times = asyncio.get_running_loop(), iter(requests), list[float]()
        begin = time.perf_counter() + WARM_UP
        made = [
            await loop.create_connection(lambda: Connection(left, begin, times), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.wait([one.done for _, one in made], timeout=WARM_UP + seconds, return_when="FIRST_EXCEPTION")
        for transport, _ in made:
            transport.close()
        await asyncio.gather(*(one.done for _, one in made))
        return np.array(times), len(requests) - sum(1 for _ in left)

    return asyncio.run(all_of_them())


@contextmanager
def serving(command: list[str], where: str) -> Iterator[tuple[int, int]]:
    """Run a server in a process of its own, in a folder, and yield its port and the number of the process."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=where
    ) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().split(",")[0].rsplit(":", 1)[1]), process.pid
        finally:
            process.terminate()


def bare() -> None:
    """Serve an endpoint that checks the JSON of two questions and always gives the same answer."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    from siamese.service.connections import listen

    class Pair(BaseModel):
        question1: str
        question2: str

    class Verdict(BaseModel):
        is_duplicate: bool
        similarity: float
        threshold: float
        probability: float

    app, verdict = FastAPI(), Verdict(is_duplicate=True, similarity=0.9, threshold=0.8, probability=0.8)

    @app.post("/predict")
    async def predict(pair: Pair) -> Verdict:
        return verdict

    listening = listen("127.0.0.1", 0)
    print(f"serving on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http="h11", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
