"""Several processes that train one model, begun by torchrun: gloo on CPUs, NCCL on GPUs.

They share every batch: a process encodes its pairs, gets the vectors of all, and computes its part of the loss, which
is that of its own pairs as anchors against all vectors, divided by the number of all anchors. The parts add up to the
loss of the whole batch, and so do their gradients, since a vector's gradient is the sum of what all processes have to
say of it. So the weights are those of one process with the whole batch, but for the rounding of sums.

DistributedDataParallel gives every process the average of the gradients; a part counts as often as there are
processes, which makes the sum of it.
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
PATIENCE = timedelta(days=1)  # a process waits so long while the first one validates, or asks a teacher


class Processes(Share):
    """The processes of a training, as one of them sees them; where it is alone, nothing is sent."""

    @property
    def first(self) -> bool:
        """Whether it is the one that reports and writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The GPU that is this process's, where there are any."""
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module, so that after each backward pass all processes have the average of its gradients.

        Its weights become those of the first process.
        """
        if self.count == 1 or not any(weight.requires_grad for weight in module.parameters()):
            return module
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module)

    def not_yet(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within it, backward passes of a `wrapped` module add to its own gradients, and nothing is sent."""
        no_sync = getattr(module, "no_sync", nullcontext)
        context: AbstractContextManager[None] = no_sync()
        return context

    def gathered(self, own: Tensor, rows: np.ndarray, total: int) -> Tensor:
        """The vectors of all processes, (total, d), through which gradients flow back to the process that each is of.

        Args:
            own: (n, d) the vectors of this process; n may be 0.
            rows: (n,) where they belong.
            total: vectors of all processes.
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
        longest = data.new_zeros(max(int(size) for size in sizes))  # all must send as much
        longest[: len(data)] = data
        found = [torch.empty_like(longest) for _ in range(self.count)]
        dist.all_gather(found, longest)
        return [part[: int(size)].cpu().numpy().view(own.dtype) for part, size in zip(found, sizes)]

    def total(self, number: float) -> float:
        """The sum of the numbers of all processes."""
        return self._reduced(number, dist.ReduceOp.SUM)

    def largest(self, number: float) -> float:
        """The largest of the numbers of all processes."""
        return self._reduced(number, dist.ReduceOp.MAX)

    def first_of_all(self, make: Callable[[], Made]) -> Made:
        """What a function makes; the first process calls it before the others do, who find what it left on the disk."""
        if not self.first:
            self.wait()
        made = make()
        if self.first:
            self.wait()
        return made

    def wait(self) -> None:
        """Until all processes are here."""
        self.largest(0)

    def _reduced(self, number: float, how: Any) -> float:
        if self.count == 1:
            return number
        value = torch.tensor([number], dtype=torch.float64, device=self.device)
        dist.all_reduce(value, how)
        return value.item()

    def of_first(self, numbers: dict[str, float]) -> dict[str, float]:
        """The first process's numbers, where the others give the same names and any numbers."""
        if self.count == 1:
            return numbers
        values = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        dist.broadcast(values, 0)
        return dict(zip(numbers, values.tolist()))

    def check_same(self, what: str) -> None:
        """UserError where the processes do not agree on a text: they read other files, or another program."""
        digest = hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest[:6], "big")  # 48 bits, which a double holds
        if self.largest(number) != -self.largest(-number):  # the smallest
            raise UserError(
                "the processes of this training do not have the same recipe, pairs and checkpoint; "
                "on several machines, give all of them the same files"
            )


@contextmanager
def connected() -> Iterator[Processes]:
    """The processes that torchrun began, connected for the length of the block; without torchrun this one alone.

    What is `wrapped` must be a local of functions that have returned when the block ends.
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
        group.wait()  # for those that are still writing to each other
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # which hold what must go first
        raise
    finally:
        gc.collect()  # where a DistributedDataParallel outlives its group, one process in ten ends by SIGABRT
        dist.destroy_process_group()


class _Gathered(torch.autograd.Function):
    """By a sum of matrices that are zero but for a process's own rows: shares of any size need no padding."""

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
