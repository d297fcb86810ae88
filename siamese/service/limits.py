"""What keeps one client from taking the service away from the others: limits of size, of time and of number."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import HTTPException

QUESTION = 2_000  # characters of a question
QUESTIONS = 1_000  # questions or pairs of a request
SEARCHES = 100  # questions of a search
HITS = 1_000  # answers to each of them
ID = 200  # characters of an id

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Times are in seconds."""

    body: int = 1 << 20  # bytes of a request; more is 413
    arrival: float = 10.0  # for a request's head to arrive, and again for its body: 408
    work: float = 10.0  # for its answer: 504
    departure: float = 10.0  # for the client to take the answer; then the connection is cut
    ending: int = 15  # after SIGTERM, for the requests in flight
    threads: int = 2  # that work for the model; the archive has one of its own
    at_once: int = 64  # requests that those threads have or that wait for them: one more is 503
    connections: int = 512  # open ones: one more is 503


class Workers:
    """A few threads, and no more waiting for them than `at_once` says.

    A thread that is at work cannot be stopped: after `work` seconds its request is answered by 504,
    and its place is taken until the work is done, so that there is never more of it than was allowed.
    """

    def __init__(self, threads: int, at_once: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._most, self._seconds = at_once, seconds
        self._taken = set[Future[Any]]()  # at work, or waiting for it

    def now(self, work: Callable[..., T], *arguments: Any) -> T:
        """work(*arguments) in one of the threads, awaited without limit: for what comes before any request."""
        return self._pool.submit(work, *arguments).result()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """work(*arguments) in one of the threads.

        Raises:
            HTTPException: 503 when all places are taken, 504 when it took too long.
        """
        if len(self._taken) >= self._most:
            raise HTTPException(503, "busy: ask again in a second", {"Retry-After": "1"})
        future = self._pool.submit(work, *arguments)
        self._taken.add(future)
        future.add_done_callback(self._taken.discard)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)  # a call that waits still is taken back
        except TimeoutError:
            raise HTTPException(504, f"no answer within {self._seconds:g} seconds") from None

    def close(self) -> bool:
        """Take no more work; whether none is left."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not self._taken
