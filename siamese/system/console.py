"""How a command ends: an error told in a line or two, and a standard output that may be closed, unread or full."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

OUTPUT = "standard output"


class Output:
    """Standard output whose errors name it, as those of files do."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with _naming():
            return self.stream.write(text)

    def flush(self) -> None:
        with _naming():
            self.stream.flush()


@contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = OUTPUT
        raise


def check_streams() -> int:
    """The exit code where nothing can be printed at all (`>&-`), else 0; a closed stderr becomes a silent one."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        return fail(f"{OUTPUT} is closed, so nothing can be told")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that knows no "–" gets "?"
    return 0


def note(message: Warning | str, *_: object) -> None:
    """Print a note on stderr; in place of `warnings.showwarning`, a warning without its line of code."""
    with suppress(OSError):
        print(f"note: {message}", file=sys.stderr)


def fail(message: str) -> int:
    """Tell of an error of the user's; its exit code."""
    with suppress(OSError):  # stderr may be full or unread too
        print(f"error: {message}", file=sys.stderr)
    return 2


def failed(error: OSError) -> int:
    """Tell of an error that the system has met; the exit code.

    A reader of the output that has seen enough (`| head`) is none.
    """
    # Where a finished file is moved to its name, the first is a temporary one.
    name = error.filename2 or error.filename
    if name == OUTPUT:
        # What was not written is still there, and Python would try again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
    return fail(f"{name}: {error.strerror}" if name else str(error))
