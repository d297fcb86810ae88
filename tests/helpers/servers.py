"""The HTTP service: in a thread of this process, and in a process of its own."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from siamese.service.connections import listen, make_server
from siamese.service.limits import LIMITS, Limits

ROOT = Path(__file__).parents[2]


@contextmanager
def running(app: FastAPI, limits: Limits = LIMITS) -> Iterator[Any]:
    """Run a server in a thread and yield it, with its port as `server.port`."""
    listening = listen("127.0.0.1", 0)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # or the kernel buffers megabytes for a client
    server: Any = make_server(app, limits)
    server.port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def started(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `serve` with the default model, on a port that the system chooses."""
    options = {"stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "run.py", "serve", "--port", "0", "--model", "pretrained", *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, **options,
    )  # fmt: skip


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port of a process that `serve` runs in, once it listens."""
    assert process.stdout
    line = process.stdout.readline()
    found = re.fullmatch(r"serving on http://.*:(\d+), until Ctrl-C\n", line)
    assert found, line
    return int(found[1])
