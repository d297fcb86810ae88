"""Measure how many requests a second the service answers, and how fast, beside FastAPI with nothing in it.

    python -m reports.archive.service

Client processes send the next request on each of their connections when the last is answered (a closed loop), so there
are as many requests at a time as connections. Server and clients share the machine.
"""

import argparse
import asyncio
import json
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

from reports.measured import machine, table
from siamese import Archive, SiameseModel, read_pairs

CONNECTIONS = (1, 8, 64)
CLIENTS = 2  # processes
WARM_UP = 0.5  # seconds of each client before it counts
PAIR = {"question1": "How can I lose weight quickly?", "question2": "What is the fastest way to lose weight?"}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--archive", metavar="DIR", help="to search (default: one made of data/questions.csv)")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare()
    with tempfile.TemporaryDirectory() as folder:
        archive = options.archive or build(Path(folder) / "archive")
        serve = ["run.py", "serve", "--port", "0", "--archive", archive]
        servers: list[tuple[str, list[str], str, object]] = [
            ("FastAPI alone, a constant answer", ["-m", "reports.archive.service", "--bare"], "/predict", PAIR),
            ("`POST /predict`", serve, "/predict", PAIR),
            ("`POST /explain`", serve, "/explain", PAIR),
            ("`POST /search`", serve, "/search", {"questions": [PAIR["question1"]]}),
        ]
        rows = []
        for name, command, path, body in servers:
            with serving(command) as port:
                for connections in CONNECTIONS:
                    found = load(port, path, body, connections, options.seconds)
                    rows.append({"endpoint": name, "connections": connections, **found})
                    print(rows[-1], file=sys.stderr)
    print(f"{table(rows)}\n{machine()}; {CLIENTS} clients, {options.seconds:g} seconds each")


def build(folder: Path) -> str:
    """Make an archive of the questions in data/questions.csv and return its folder."""
    pairs, model = read_pairs("data/questions.csv"), SiameseModel.pretrained()
    with Archive.build(folder, model=model, name="pretrained") as archive:
        archive.add(sorted({*pairs.question1, *pairs.question2}))
    return str(folder)


def load(port: int, path: str, body: object, connections: int, seconds: float) -> dict[str, float]:
    """Return requests per second, and the 50th and the 99th percentile of the time to an answer in milliseconds."""
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
    return {
        "requests/s": len(found) / seconds,
        "50th percentile, ms": 1e3 * float(p50),
        "99th percentile, ms": 1e3 * float(p99),
    }


def client(port: int, request: bytes, connections: int, seconds: float) -> np.ndarray:
    """Return the seconds to each answer.

    Raises:
        RuntimeError: an answer is not 200.
    """
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
    """Run a server in a process of its own, and yield its port."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().split(",")[0].rsplit(":", 1)[1])
        finally:
            process.terminate()


def bare() -> None:
    """Serve an endpoint that checks its JSON and always gives the same answer."""
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
