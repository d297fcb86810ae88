"""Stages of work for many workers.

A stage is a list of units of work, which any worker can do in any order (functions in siamese.mining.sharded: shards,
joins, components). Units pass rows to each other through files in the work folder; the driver sees only their
summaries. The summary of a finished unit is saved there too, so that a stopped run can continue.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from siamese.mining.sharded import store
from siamese.mining.sharded.shards import Job, Summary

Unit = dict[str, Any]  # the arguments of a function, after the job and what all units share
Function = Callable[..., Summary]
Work = Callable[[Any, Unit], Summary]  # of what is shared and a unit

Results = Iterator[tuple[int, Summary]]  # the place and the result of each unit, when it is done

# Does units of work in any order and any number at a time, and again if a worker dies. Its arguments: the work; what is
# shared, sent to each worker once; the units; whether a worker starts slowly, and so should stay for all units.
Runner = Callable[[Work, Any, Sequence[Unit], bool], Results]


@dataclass
class Stages:
    """Runs stages, without the units that are done already."""

    job: Job
    run: Runner
    progress: Callable[[str, int, int], None]  # called with the stage, and the number of units done and of all

    def __call__(
        self, name: str, function: Function, units: Sequence[Unit], shared: Any = None, loads: bool = False
    ) -> list[Summary]:
        """Run a stage, and return the summaries of its units in their order."""
        done = f"{self.job.work}/done/{name}"
        known = set(store.names(done))
        found = {i: store.read_json(f"{done}/{i:06}.json") for i in range(len(units)) if f"{i:06}.json" in known}
        left = [i for i in range(len(units)) if i not in found]
        self.progress(name, len(found), len(units))
        call = partial(_do, self.job, function, done)
        for i, summary in self.run(call, shared, [{"unit": i, **units[i]} for i in left], loads) if left else ():
            found[left[i]] = summary
            self.progress(name, len(found), len(units))
        return [found[i] for i in range(len(units))]


def _do(job: Job, function: Function, done: str, shared: Any, unit: Unit) -> Summary:
    """Do a unit of work, and save its summary in the folder `done`."""
    torch.set_num_threads(1)  # a worker has one core
    summary = function(job, shared, **{name: value for name, value in unit.items() if name != "unit"})
    store.write_json(f"{done}/{unit['unit']:06}.json", summary)
    return summary
