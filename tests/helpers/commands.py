"""Commands as a person types them: in this process, in a process of their own, and in a fork that starts at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]  # the fixture `command`

ROOT = Path(__file__).parents[2]
IMPORTS = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "helpers", ROOT / "tests" / "extras")))
LOADED = [
    "siamese.training.runs", "siamese.report.plots", "sklearn.linear_model", "sklearn.feature_extraction.text"
]  # fmt: skip

TRAIN = ("train", "--start-from", "none")  # from nothing: quick, since the vocabulary is small

posix = pytest.mark.skipif(os.name != "posix", reason="needs the signals, forks and limits of POSIX")


def python(
    *words: object, cwd: Path = ROOT, timeout: float = 100, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, on one core.

    Args:
        words: the rest of the command line: "-c" and code, "run.py" and a command. Code can import test files.
        cwd: the working folder.
        timeout: in seconds.
        environment: variables to add to those of this process.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": IMPORTS, **environment}
    line = [sys.executable, *map(str, words)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


class Typed:
    """A running `python run.py ...`, forked from a process that has torch loaded: it starts three seconds sooner.

    It has what the tests use of subprocess.Popen. Not for Windows, nor for tests of start-up.

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
        """Wait for the end. Return what is left to read of stdout and stderr."""
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
