"""Worker processes on one machine: how many, how they start, and that none outlives its parent."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import BaseContext


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def context(module: str) -> BaseContext:
    """Return how workers are started: by a server that has loaded this module, or each anew without one."""
    # Forking a process with threads can hang. A server without threads, with torch loaded, forks at once.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([module])
    return found


def begin() -> None:
    """Begin a worker: Ctrl-C is left to the parent, and the worker ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
