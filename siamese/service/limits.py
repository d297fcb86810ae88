"""Limits of size, time and number, so that no client takes the service away from the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import HTTPException

from siamese.errors import BusyError

QUESTION = 2_000  # characters in a question
QUESTIONS = 1_000  # questions or pairs in a request
SEARCHES = 100  # questions in a search
HITS = 1_000  # hits for each of them
ID = 200  # characters in an id
COLUMNS = 50  # in the payload of a question
COLUMN = 100  # characters in the name of one
VALUE = 10_000  # characters of a value
PAGE = 1_000  # questions in a page of them
ANSWER = 1 << 26  # bytes of an answer with a long list
AT_ONCE = 10_000  # hits that are in memory before they are written
SMALL = 1 << 14  # bytes of a body, or of an answer, that are not counted
PAUSE = 0.05  # seconds between two tries to write
BUSY, RETRY = "busy: try again in a second", {"Retry-After": "1"}

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits on requests and connections. Times are in seconds."""

    body: int = 1 << 20  # bytes in a request's body; more get 413
    arrival: float = 10.0  # for a request's head to arrive, and again for its body; then 408
    work: float = 10.0  # to compute an answer; then 504
    departure: float = 10.0  # for the client to receive the answer; then the connection is cut
    patience: float = 5.0  # to wait for another process that writes; then 503
    shutdown: int = 15  # for the requests in flight after SIGTERM
    threads: int = 2  # worker threads for the model; parsing has one, and an archive four
    pending: int = 64  # requests that those threads run or queue; one more gets 503
    bytes: int = 1 << 25  # of bodies and unsent answers in memory, beyond SMALL of each; more get 503
    connections: int = 512  # open connections; one more gets 503


LIMITS = Limits()


class Workers:
    """A thread pool with a bounded queue and a time limit.

    A running thread cannot be stopped. A request over the time limit gets 504, but counts as pending until its work
    ends, so there is never more work than `pending` allows.
    """

    def __init__(self, threads: int, pending: int, seconds: float) -> None:
        self.pool = ThreadPoolExecutor(threads)
        self.most, self.seconds = pending, seconds
        self._pending = set[Future[Any]]()  # running or queued

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return work(*arguments), computed in one of the threads.

        Raises:
            HTTPException: 503 if the queue is full, 504 if the work takes too long.
        """
        future = self.start(work, *arguments)
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.wrap_future(future)  # which cancels work that is still queued
        except TimeoutError:
            raise self.late() from None

    async def run_each(self, works: Iterable[Callable[[], T]]) -> list[T]:
        """Return the result of each, computed one after the other, so that others' work comes in between.

        Raises:
            HTTPException: as `run`; 504 if all of them take too long.
        """
        try:
            async with asyncio.timeout(self.seconds):
                return [await self.run(work) for work in works]
        except TimeoutError:
            raise self.late() from None

    def start(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Begin work(*arguments) in one of the threads, with no limit of its time.

        Raises:
            HTTPException: 503 if the queue is full.
        """
        if len(self._pending) >= self.most:
            raise HTTPException(503, BUSY, RETRY)
        future = self.pool.submit(work, *arguments)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def late(self) -> HTTPException:
        """Return what to answer to a request that took too long."""
        return HTTPException(504, f"no answer within {self.seconds:g} seconds")

    def close(self) -> bool:
        """Accept no more work and return whether all threads are idle."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        return not self._pending


async def patiently(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Return the result of an attempt to write, repeated for some seconds while another process writes.

    Raises:
        HTTPException: 503 if it still does.
    """
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await attempt()
        except BusyError:
            if asyncio.get_running_loop().time() > end:
                raise HTTPException(503, "another process is writing; try again in a second", RETRY) from None
            await asyncio.sleep(PAUSE)
