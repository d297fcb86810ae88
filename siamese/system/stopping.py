"""Stopping a program by Ctrl-C (SIGINT) or SIGTERM, at once or at a moment that suits it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """Someone wished that the program stops; `code` is the exit code that says so, as shells have it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Within the block, SIGTERM raises `Stopped` where the program stands, as Ctrl-C does anyway.

    So the files that are being written are put away, and the terminal is left in order.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled_by(handler, (signal.SIGTERM,)):
        yield


@contextmanager
def stopping_when_asked() -> Iterator[Callable[[], int]]:
    """Within the block, Ctrl-C and SIGTERM are noted, for the caller to ask after; the second one raises `Stopped`.

    The function that is given returns the number of the signal, 0 where none came.
    """
    noted = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted:
            raise Stopped(number)
        noted = number
        if number == signal.SIGINT:  # by a write, since the signal may have come in the middle of a print
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    with _handled_by(handler, SIGNALS):
        yield lambda: noted


@contextmanager
def _handled_by(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    """Handle signals so; not those that whoever began the program had ignored (nohup, a background job)."""
    before = {}
    # Elsewhere Python allows no handlers; then the signals do what they did.
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
