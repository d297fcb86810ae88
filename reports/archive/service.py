"""How many requests a second the service answers, and how fast, beside FastAPI without anything in it.

    python -m reports.archive.service [--seconds 5] [--archive DIR] [--out PATH]

Client processes send the next request on each of their connections when the answer to the last is there (a closed
loop), so a connection more is a request more at a time. Server and clients share the machine.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from siamese.system.files import write_text

CONNECTIONS = (1, 8, 64)
CLIENTS = 2  # processes
WARM_UP = 0.5  # seconds of each client before it counts
PAIR = {"question1": "How can I lose weight quickly?", "question2": "What is the fastest way to lose weight?"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reports.archive.service", description="Measure the service.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--archive", metavar="DIR", help="to search (default: one made of data/questions.csv)")
    parser.add_argument("--out", default="models/service.md", metavar="PATH", help="the report (%(default)s)")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare()
    with tempfile.TemporaryDirectory() as folder:
        archive = options.archive or _build(Path(folder) / "archive")
        rows = []
        for name, command, path, body in (
            ("FastAPI alone, a constant answer", ["-m", "reports.archive.service", "--bare"], "/predict", PAIR),
            ("`POST /predict`", _serve(archive), "/predict", PAIR),
            ("`POST /explain`", _serve(archive), "/explain", PAIR),
            ("`POST /search`", _serve(archive), "/search", {"questions": [PAIR["question1"]]}),
        ):
            with serving(command) as port:
                for connections in CONNECTIONS:
                    rows.append((name, connections, *load(port, path, body, connections, options.seconds)))
                    print(_row(*rows[-1]), flush=True)
        questions = _questions(archive)
    write_text(options.out, report(rows, questions, options.seconds))
    print(f"{options.out} written")


def load(port: int, path: str, body: object, connections: int, seconds: float) -> tuple[float, float, float]:
    """Requests per second, and the 50th and 99th percentile of the time to an answer in milliseconds."""
    content = json.dumps(body).encode()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    clients = min(CLIENTS, connections)
    with ProcessPoolExecutor(clients, get_context("spawn")) as pool:
        shares = [connections // clients + (i < connections % clients) for i in range(clients)]
        times = list(pool.map(client, [port] * clients, [request] * clients, shares, [seconds] * clients))
    found = np.concatenate(times)
    p50, p99 = np.percentile(found, [50, 99])
    return len(found) / seconds, 1e3 * float(p50), 1e3 * float(p99)


def client(port: int, request: bytes, connections: int, seconds: float) -> np.ndarray:
    """The seconds to each answer; an answer other than 200 is a RuntimeError."""
    times: list[float] = []

    async def one(begin: float, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode("latin-1"))
            length = re.search(rb"content-length: (\d+)", head)
            assert length
            await reader.readexactly(int(length[1]))
            if sent >= begin:
                times.append(time.perf_counter() - sent)
        writer.close()

    async def all_of_them() -> None:
        begin = time.perf_counter() + WARM_UP
        await asyncio.gather(*(one(begin, begin + seconds) for _ in range(connections)))

    asyncio.run(all_of_them())
    return np.array(times)


@contextmanager
def serving(command: list[str]) -> Iterator[int]:
    """A server in a process of its own; its port."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().split(",")[0].rsplit(":", 1)[1])
        finally:
            process.terminate()


def bare() -> None:
    """FastAPI with an endpoint that checks its JSON and answers the same each time."""
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


def report(rows: list[tuple[str, int, float, float, float]], questions: int, seconds: float) -> str:
    """The report, in Markdown."""
    heading = "| endpoint | connections | requests/s | 50th percentile, ms | 99th percentile, ms |"
    lines = [
        "# The service under load",
        "",
        "Written by `python -m reports.archive.service`. "
        f"{CLIENTS} client processes on the same machine ({os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}) send a request on each connection as soon as the "
        f"last is answered, {seconds:g} seconds each. A server is one process. Searched are {questions:,} questions.",
        "",
        heading,
        re.sub("[^|]+", "---", heading),
        *(_row(*row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, connections: int, rate: float, p50: float, p99: float) -> str:
    return f"| {name} | {connections} | {rate:,.0f} | {p50:.1f} | {p99:.1f} |"


def _serve(archive: str) -> list[str]:
    main = "from siamese.cli import main; main(['serve', '--port', '0', '--archive', {!r}])"
    return ["-c", main.format(archive)]


def _build(folder: Path) -> str:
    from siamese import SiameseModel
    from siamese.archive.store import Archive
    from siamese.pairs.reading import read_pairs

    pairs = read_pairs("data/questions.csv")
    with Archive.create(folder, SiameseModel.pretrained(), "pretrained") as archive:
        archive.add(sorted({*pairs.question1, *pairs.question2}))
    return str(folder)


def _questions(folder: str) -> int:
    from siamese.archive.store import Archive

    with Archive.open(folder) as archive:
        return len(archive)


if __name__ == "__main__":
    main()
