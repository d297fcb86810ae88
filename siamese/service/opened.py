"""An archive that is open in threads of its own."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from siamese.archive.store import Archive
from siamese.model.model import SiameseModel
from siamese.service.limits import Limits, Workers, patiently
from siamese.service.sharing import Sharing

Q = TypeVar("Q")
T = TypeVar("T")


class Opened:
    """An archive, opened once for each kind of work.

    Each has a thread of its own, so that none delays the others: threads that share an archive take turns. Work that
    takes too long, or finds no place in its queue, raises what `Workers.run` does.
    """

    def __init__(self, folder: str | Path, model: SiameseModel, limits: Limits) -> None:
        self.workers = [Workers(1, limits.pending, limits.work) for _ in range(4)]
        self._archives = [one.pool.submit(Archive.open, folder, model).result() for one in self.workers]
        self._patience = limits.patience

    async def search(self, work: Callable[[Archive], T]) -> T:
        """Return work(archive) of a search."""
        return await self._run(0, work)

    def sharing(self, work: Callable[[Archive, Sequence[Q]], Sequence[T]], most: int) -> Sharing[Q, T]:
        """Return a queue of searches, of which work(archive, searches) answers at most so many together."""
        return Sharing(partial(work, self._archives[0]), self.workers[0], most)

    async def read(self, work: Callable[[Archive], T]) -> T:
        """Return work(archive), which looks questions up."""
        return await self._run(1, work)

    async def count(self) -> int:
        """Return the number of questions, whatever else is going on."""
        return await self._run(3, len)

    async def change(self, work: Callable[[Archive], T]) -> T:
        """Return work(archive), which changes it. If another process is changing it, wait for a while, then 503."""
        return await patiently(lambda: self._run(2, work), self._patience)

    def _run(self, which: int, work: Callable[[Archive], T]) -> Awaitable[T]:
        return self.workers[which].run(work, self._archives[which])
