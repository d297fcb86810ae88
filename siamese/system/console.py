"""Print errors and notes in a line or two, even if standard output is closed, full or no longer read."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

OUTPUT = "standard output"

# C0 and C1 except tab and line feed, line and paragraph separators, marks that reorder the text, and half characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return a text whose control characters are spelled as in JSON, so that they do not act on a terminal."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def say(message: str) -> None:
    """Print a message on stderr. It may quote questions, names and files of strangers."""
    print(visible(message), file=sys.stderr)


class Output:
    """Standard output whose errors have its name as filename. On a terminal, control characters are spelled out."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.shown = stream, visible if stream.isatty() else str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with _naming():
            return self.stream.write(self.shown(text))

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
    """Return 2 if standard output is closed (`>&-`), else 0. A closed stderr becomes a silent one."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        return fail(f"{OUTPUT} is closed, so nothing can be printed")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # "?" for what a terminal cannot show
    return 0


def note(message: Warning | str, *_: object) -> None:
    """Print a note on stderr. As `warnings.showwarning`, print a warning without its line of code."""
    with suppress(OSError):
        say(f"note: {message}")


def fail(message: str) -> int:
    """Print a user error and return its exit code."""
    with suppress(OSError):  # stderr may be full or unread too
        say(f"error: {message}")
    return 2


def failed(error: OSError) -> int:
    """Print a system error and return its exit code. A closed pipe (`| head`) is not an error."""
    # If renaming a finished file failed, the first name is a temporary one.
    name = error.filename2 or error.filename
    if name == OUTPUT:
        # Otherwise Python would write the rest of its buffer at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
    return fail(f"{name}: {error.strerror}" if name else str(error))
