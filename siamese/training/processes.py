"""Several processes that train one model, started by torchrun: gloo on CPUs, NCCL on GPUs.

They share every batch. Each process encodes its pairs, gathers the vectors of all processes, and computes its part of
the loss: its own pairs as anchors against all vectors, divided by the number of all anchors. The parts add up to the
loss of the whole batch, and so do their gradients. So the weights equal those of one process with the whole batch, up
to the rounding of sums.

DistributedDataParallel averages the gradients over the processes, so each part is multiplied by their number.
"""

import gc
import hashlib
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
    """The processes of a training, seen from one of them. A single process sends nothing."""

    @property
    def first(self) -> bool:
        """Whether this process reports and writes."""
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
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module)

    def not_yet(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which backward passes of a `wrapped` module only add to its own gradients."""
        no_sync = getattr(module, "no_sync", nullcontext)
        context: AbstractContextManager[None] = no_sync()
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
        vectors: Tensor = _Gathered.apply(own, torch.from_numpy(rows).to(own.device), total)
        return vectors

    def collected(self, own: np.ndarray) -> list[np.ndarray]:
        if self.count == 1:
            return super().collected(own)
        data = torch.from_numpy(np.frombuffer(own.tobytes(), np.uint8).copy()).to(self.device)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(data)], device=self.device))
        longest = data.new_zeros(max(int(size) for size in sizes))  # all must send the same size
        longest[: len(data)] = data
        found = [torch.empty_like(longest) for _ in range(self.count)]
        dist.all_gather(found, longest)
        return [part[: int(size)].cpu().numpy().view(own.dtype) for part, size in zip(found, sizes)]

    def total(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        return self._reduced(number, dist.ReduceOp.SUM)

    def largest(self, number: float) -> float:
        """Return the maximum of a number over all processes."""
        return self._reduced(number, dist.ReduceOp.MAX)

    def first_of_all(self, make: Callable[[], Made]) -> Made:
        """Call a function in the first process, then in the others, which find its files on the disk."""
        if not self.first:
            self.wait()
        made = make()
        if self.first:
            self.wait()
        return made

    def wait(self) -> None:
        """Barrier: wait for all processes."""
        self.largest(0)

    def _reduced(self, number: float, how: Any) -> float:
        if self.count == 1:
            return number
        value = torch.tensor([number], dtype=torch.float64, device=self.device)
        dist.all_reduce(value, how)
        return value.item()

    def of_first(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return the numbers of the first process; the others pass the same names."""
        if self.count == 1:
            return numbers
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        dist.broadcast(values, 0)
        return dict(zip(numbers, values.tolist()))

    def check_same(self, what: str) -> None:
        """Raise a UserError if the processes do not have the same text, because they read other files."""
        digest = hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest[:6], "big")  # 48 bits fit into a double
        if self.largest(number) != -self.largest(-number):  # the smallest
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


class _Gathered(torch.autograd.Function):
    """Gathers by a sum of matrices that are zero except for a process's own rows, so shares need no padding."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: Tensor, total: int) -> Tensor:
        ctx.save_for_backward(rows)
        vectors = own.new_zeros(total, own.shape[1]).index_copy_(0, rows, own)
        dist.all_reduce(vectors)
        return vectors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[rows], None, None
