"""Several processes that answer on one listening socket, and a supervisor that replaces those that end."""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from siamese.service.limits import Limits
from siamese.service.logs import LOG
from siamese.service.metrics import SHARED

Work = Callable[[socket.socket], None]

SPAWN = multiprocessing.get_context("spawn")  # a fork would share threads' locks
SOON = 10.0  # seconds: a process that ends sooner is replaced only after PAUSE, since the next one may end, too
PAUSE = 1.0


def run_workers(count: int, work: Work, listening: socket.socket, limits: Limits) -> None:
    """Answer in several processes until a signal raises KeyboardInterrupt; then let all finish their requests.

    Args:
        count: the number of processes. One that ends is replaced.
        work: answers on the socket in each process, until SIGTERM or Ctrl-C; found by its name in its module.
        listening: the socket, which is closed at the end.
        limits: on the time to finish.

    Raises:
        KeyboardInterrupt: a signal has stopped it.
    """
    with tempfile.TemporaryDirectory(prefix="siamese-metrics-") as counts:
        os.environ[SHARED] = counts
        workers: list[tuple[SpawnProcess, float]] = []  # and when they began
        try:
            for _ in range(count):
                workers.append(_started(work, listening))
            while True:
                wait([process.sentinel for process, _ in workers])
                for place, (process, begun) in enumerate(workers):
                    if not process.is_alive():
                        LOG.error("process %d has ended (%s); another takes its place", process.pid, process.exitcode)
                        if time.monotonic() - begun < SOON:
                            time.sleep(PAUSE)
                        workers[place] = _started(work, listening)
        finally:
            # Else connections would still be accepted by the system, and answered by nobody.
            listening.close()
            _end([process for process, _ in workers], limits.shutdown + 2)


def _started(work: Work, listening: socket.socket) -> tuple[SpawnProcess, float]:
    process = SPAWN.Process(target=_run, args=(work, listening), daemon=True)
    with _blocked():  # until `_run` can end without a traceback
        process.start()
    return process, time.monotonic()


def _end(processes: list[SpawnProcess], seconds: float) -> None:
    """End processes: by SIGTERM, then, after some seconds, by force."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def _run(work: Work, listening: socket.socket) -> None:
    """Work in a process of its own, which ends with its supervisor."""
    threading.Thread(target=_follow, daemon=True).start()
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(listening)
    except KeyboardInterrupt:
        pass


def _follow() -> None:
    """End this process when its supervisor has, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _blocked() -> Iterator[None]:
    """Within the block, keep back Ctrl-C for this process and those that it starts."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
