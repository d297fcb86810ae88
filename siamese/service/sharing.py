"""Batches of requests: those that wait while a thread works are answered together once it is free, with no delay."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from fastapi import HTTPException

from siamese.service.limits import BUSY, RETRY, Workers

T = TypeVar("T")
R = TypeVar("R")

# A request takes the loop two rounds, to read it and to begin to answer it. The model can wait for those that have
# arrived: while the loop handles them, the interpreter's lock lets a thread do little.
QUIET = 2


class Sharing(Generic[T, R]):
    """A function of several things that answers requests for one thing each.

    Args:
        work: returns a result for each of the things; it runs in a thread of `workers`, one batch at a time.
        workers: the threads, and the limits on waiting.
        most: things in a batch.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], workers: Workers, most: int) -> None:
        self._work, self._workers, self._most = work, workers, most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._at_work = 0
        self._begun = False  # a batch is at work, or about to be

    async def run(self, thing: T) -> R:
        """Return the result of one thing.

        Raises:
            HTTPException: 503 if too much is waiting or at work, 504 if it takes too long.
        """
        if len(self._waiting) + self._at_work >= self._workers.most:
            raise HTTPException(503, BUSY, RETRY)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((thing, future))
        if not self._begun:
            self._begun = True
            loop.call_soon(self._begin, loop, 0)
        late = loop.call_later(self._workers.seconds, self._give_up, future)
        try:
            return await future
        finally:
            late.cancel()

    def _give_up(self, future: asyncio.Future[R]) -> None:
        if not future.done():
            future.set_exception(self._workers.late())

    def _begin(self, loop: asyncio.AbstractEventLoop, before: int, rounds: int = 0) -> None:
        """Begin a batch once the loop has read, for some rounds, no further requests."""
        if (number := len(self._waiting)) < self._most and (number > before or rounds < QUIET):
            loop.call_soon(self._begin, loop, number, 0 if number > before else rounds + 1)
            return
        waiting = [each for each in self._waiting if not each[1].done()]
        batch, self._waiting = waiting[: self._most], waiting[self._most :]
        self._at_work, self._begun = len(batch), bool(batch)
        if batch:
            try:
                done = self._workers.start(self._results, [thing for thing, _ in batch])
            except (HTTPException, RuntimeError) as error:  # there is too much of other work, or it is the end
                self._end(loop, batch, [error] * len(batch))
            else:
                done.add_done_callback(lambda done: self._leave(loop, batch, done))

    def _results(self, things: Sequence[T]) -> Sequence[R | Exception]:
        """Return the result or the error of each thing, in the thread."""
        try:
            return self._work(things)
        except Exception as error:
            if len(things) == 1:
                return [error]
            return [self._results([thing])[0] for thing in things]  # so that one's error is not the others'

    def _leave(
        self, loop: asyncio.AbstractEventLoop, batch: list[tuple[T, asyncio.Future[R]]], done: Future[Any]
    ) -> None:
        try:
            loop.call_soon_threadsafe(self._end, loop, batch, done.result())
        except RuntimeError:  # the loop has ended, and another may begin
            self._at_work, self._begun = 0, False

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[T, asyncio.Future[R]]],
        results: Sequence[R | Exception],
    ) -> None:
        for (_, future), result in zip(batch, results):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._at_work = 0
        loop.call_soon(self._begin, loop, 0)
