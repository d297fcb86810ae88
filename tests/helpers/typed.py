"""Commands in processes of their own, forked from one that has torch loaded: each begins three seconds sooner.

What loading does by itself is seen by the tests of the README and of start-up, whose processes begin from nothing.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADED = [
    "siamese.training.runs",
    "siamese.report.plots",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "torch._dynamo",
]


class Typed:
    """A running `python run.py ...`, with what is used of subprocess.Popen; not on Windows.

    Args:
        words: of the command, from run.py on.
        limit: the longest file it may write, in bytes.
        terminal: whether it has a process group of its own, which Ctrl-C reaches as from a terminal.
    """

    def __init__(self, words: Sequence[object], limit: int | None = None, terminal: bool = False) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        ours, theirs = zip(*(context.Pipe(duplex=False) for _ in range(2)))
        self.process = context.Process(target=_command, args=([*map(str, words)], theirs, limit, terminal))
        self.process.start()
        for end in theirs:
            end.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end in ours)

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired("run.py", timeout or 0)
        return self.process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What is left to read of stdout and stderr, once it has ended."""
        with ThreadPoolExecutor() as threads:
            both = [threads.submit(file.read) for file in (self.stdout, self.stderr)]
            self.wait(timeout)
            out, err = (reading.result() for reading in both)
        return out, err


def _command(words: list[str], outputs: Sequence[Connection], limit: int | None, terminal: bool) -> None:
    from siamese.cli import entry

    for number, end in enumerate(outputs, 1):
        os.dup2(end.fileno(), number)
        end.close()
    # Those that there are belong to files of pytest, which have places to seek.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))
    if terminal:
        os.setsid()
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(ROOT)
    sys.argv = words
    entry.main(words[1:])
