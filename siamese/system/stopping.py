"""Stop a program by Ctrl-C (SIGINT), SIGTERM, or SIGHUP of a closed terminal, at once or at a safe point."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # not on Windows
SIGNALS = (signal.SIGINT, *ENDING)
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal has stopped the program; `code` is the exit code that shells use for it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Within the block, make SIGTERM and SIGHUP raise `Stopped`, so that unfinished files are removed."""

    def handler(number: int, frame: FrameType | None) -> None:
        _leave_closed_terminal()
        raise Stopped(number)

    with _handled_by(handler, ENDING):
        yield


@contextmanager
def stopping_when_asked() -> Iterator[Callable[[], int]]:
    """Within the block, only note the first Ctrl-C, SIGTERM or SIGHUP; the second one raises `Stopped`.

    Yields a function that returns the number of the noted signal, or 0.
    """
    noted = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        _leave_closed_terminal()
        if noted:
            raise Stopped(number)
        noted = number
        if number == signal.SIGINT:  # no print: the signal may have interrupted one
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    with _handled_by(handler, SIGNALS):
        yield lambda: noted


def _leave_closed_terminal() -> None:
    """Let no message fail because the terminal, which was closed, cannot show it."""
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, number)
                os.close(nothing)


@contextmanager
def _handled_by(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    """Handle these signals, except those that are ignored (nohup, a background job)."""
    before = {}
    # Python sets handlers in the main thread only; in others nothing changes.
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
