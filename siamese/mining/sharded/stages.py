"""Stages of work that many workers do: who does the units, and which are done already.

A stage is a list of units of work, which any worker can do in any order (siamese.mining.shards, joins, ranks,
components). Units hand rows to each other through files in the work folder, and this process hears only their
summaries. When a unit is done its summary is kept there too, so that a run that was stopped goes on where it was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from siamese.mining.sharded import store
from siamese.mining.sharded.shards import Job, Summary
from siamese.system.resuming import check_same_run

IDENTITY = "identity.json"  # in the work folder: everything that the pairs depend on

Unit = dict[str, Any]  # the arguments of a function, after the job and what all units share
Function = Callable[..., Summary]


class Runner(Protocol):
    """Does units of work, in any order and any number at a time; where a worker dies, again."""

    def __call__(
        self, function: Callable[[Any, Unit], Summary], shared: Any, units: Sequence[Unit], loads: bool
    ) -> Iterator[tuple[int, Summary]]:
        """Yield the place and the result of each unit when it is done.

        Args:
            function: of what is shared, and a unit.
            shared: sent to each worker once.
            units: what is to be done.
            loads: whether a worker takes long to get ready for the first unit, and shall stay for all.
        """


def one_by_one(
    function: Callable[[Any, Unit], Summary], shared: Any, units: Sequence[Unit], loads: bool
) -> Iterator[tuple[int, Summary]]:
    """The simplest runner: this process."""
    return ((i, function(shared, unit)) for i, unit in enumerate(units))


@dataclass
class Stages:
    """Runs stages, and leaves out the units that are done already."""

    job: Job
    run: Runner
    told: Callable[[str, int, int], None]  # the stage, and how many units of how many are done

    def __call__(
        self, name: str, function: Function, units: Sequence[Unit], shared: Any = None, loads: bool = False
    ) -> list[Summary]:
        """The summaries of a stage's units, in their order."""
        done = f"{self.job.work}/done/{name}"
        known, found = set(store.names(done)), {}
        for i in range(len(units)):
            if f"{i:06}.json" in known:
                found[i] = store.read_json(f"{done}/{i:06}.json")
        left = [i for i in range(len(units)) if i not in found]
        self.told(name, len(found), len(units))
        call = _Call(self.job, function, done)
        for i, summary in self.run(call, shared, [{"unit": i, **units[i]} for i in left], loads) if left else ():
            found[left[i]] = summary
            self.told(name, len(found), len(units))
        return [found[i] for i in range(len(units))]


@dataclass(frozen=True)
class _Call:
    """Does a unit, and then says so in the work folder."""

    job: Job
    function: Function
    done: str

    def __call__(self, shared: Any, unit: Unit) -> Summary:
        torch.set_num_threads(1)  # a worker has one core
        arguments = {name: value for name, value in unit.items() if name != "unit"}
        summary = self.function(self.job, shared, **arguments)
        store.write_json(f"{self.done}/{unit['unit']:06}.json", summary)
        return summary


def begin(job: Job, identity: dict[str, Any], resume: bool) -> None:
    """Begin a run in the work folder, or go on with it.

    Raises:
        UserError: a run was stopped there, and this is not to go on with it, or is another.
    """
    known = f"{job.work}/{IDENTITY}"
    if store.exists(known):
        check_same_run(job.work, identity, store.read_json(known), resume)
    else:
        store.write_json(known, identity)
