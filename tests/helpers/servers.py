"""The HTTP service in a thread of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

from siamese.service.connections import listen, make_server
from siamese.service.limits import LIMITS, Limits


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
