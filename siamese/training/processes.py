"""Several processes that train one model, started by torchrun: gloo on CPUs, NCCL on GPUs.

They share every batch. Each process encodes its pairs, gathers the vectors of all processes, and computes its part of
the loss: its own pairs as anchors against all vectors, divided by the number of all anchors. The parts add up to the
loss of the whole batch, and so do their gradients. So the weights equal those of one process with the whole batch, up
to the rounding of sums.

DistributedDataParallel averages the gradients over the processes, so each part is multiplied by their number.
"""

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from siamese.errors import UserError
from siamese.training.batches import Share

Made = TypeVar("Made")
PATIENCE = timedelta(days=1)  # timeout of the others while the first process validates or encodes for a teacher


class Processes(Share):
    """The processes of a training run, seen from one of them. A single process sends nothing."""

    @property
    def first(self) -> bool:
        """True if this process reports and writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The GPU of this process, or the CPU."""
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def wrapped(self, module: nn.Module) -> nn.Module:
        """Return the module with gradients averaged over all processes after each backward pass.

        Its weights become those of the first process.
        """
        if self.count == 1 or not any(weight.requires_grad for weight in module.parameters()):
            return module
        return nn.parallel.DistributedDataParallel(module)

    def not_yet(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which backward passes of a `wrapped` module only add to its own gradients."""
        context: AbstractContextManager[None] = getattr(module, "no_sync", nullcontext)()
        return context

    def gathered(self, own: Tensor, rows: np.ndarray, total: int) -> Tensor:
        """Return the vectors of all processes, (total, d); gradients flow back to the process that sent each vector.

        Args:
            own: (n, d) the vectors of this process; n may be 0.
            rows: (n,) their row numbers in the result.
            total: number of vectors of all processes.
        """
        if self.count == 1:
            return own
        # A sum of matrices that are zero except for a process's own rows, so shares need no padding.
        padded = own.new_zeros(total, own.shape[1]).index_copy(0, torch.from_numpy(rows).to(own.device), own)
        vectors: Tensor = _Sum.apply(padded)
        return vectors

    def collected(self, own: Made) -> list[Made]:
        found = super().collected(own) * self.count
        if self.count > 1:
            dist.all_gather_object(found, own)
        return found

    def total(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        return self._reduced(number, dist.ReduceOp.SUM)

    def largest(self, number: float) -> float:
        """Return the maximum of a number over all processes."""
        return self._reduced(number, dist.ReduceOp.MAX)

    def _reduced(self, number: float, how: Any) -> float:
        if self.count == 1:
            return number
        value = torch.tensor([number], dtype=torch.float64, device=self.device)
        dist.all_reduce(value, how)
        return value.item()

    def wait(self) -> None:
        """Barrier: wait for all processes."""
        self.largest(0)

    def first_of_all(self, make: Callable[[], Made]) -> Made:
        """Call a function in the first process, then in the others, which find its files on the disk."""
        if not self.first:
            self.wait()
        made = make()
        if self.first:
            self.wait()
        return made

    def check_same(self, what: str) -> None:
        """Raise a UserError if the processes do not have the same text, because they read different files."""
        if len(set(self.collected(what))) > 1:
            raise UserError(
                "the processes of this training do not have the same recipe, pairs and checkpoint; "
                "on several machines, give all of them the same files"
            )


@contextmanager
def connected() -> Iterator[Processes]:
    """Connect the processes that torchrun started, for the block. Without torchrun there is only this one.

    A `wrapped` module must be a local of functions that have returned when the block ends.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        group = Processes(dist.get_rank(), count)
        yield group
        group.wait()  # others may still be sending
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold wrapped modules
        raise
    finally:
        gc.collect()  # a DistributedDataParallel that outlives its group ends one process in ten by SIGABRT
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
