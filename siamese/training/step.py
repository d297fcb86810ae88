"""One step of training: the loss of a batch, its gradients, and the update of the weights."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from siamese.config import Config
from siamese.text.ragged import Tokens, pad
from siamese.training.batches import Batch
from siamese.training.checkpoints import Run, diverged
from siamese.training.optimizers import learning_rate
from siamese.training.processes import Processes

Part = TypeVar("Part")


@dataclass
class Step:
    """Takes the steps of a run, in one process or together with others."""

    config: Config
    run: Run  # the run to update
    pad_id: int  # of the padding token
    steps: int  # of the whole run, for the schedule
    processes: Processes  # those of the run; each calls with its share of the same batch

    def __post_init__(self) -> None:
        self.tower, self.objective = map(self.processes.wrapped, (self.run.tower, self.run.objective))

    def __call__(self, batch: Batch) -> float:
        """Take a step. Return the loss of the whole batch before it.

        Raises:
            DivergedError: the loss is not finite; the weights stay as they are.
        """
        for group in self.run.optimizer.param_groups:
            group["lr"] = group.get("factor", 1.0) * learning_rate(self.config, self.run.step + 1, self.steps)
        self.run.optimizer.zero_grad()
        loss = self.backward(batch)
        self.run.optimizer.step()
        self.run.step += 1
        return loss

    def backward(self, batch: Batch) -> float:
        """Compute the gradients of the whole batch. Return its loss."""
        loss = 0.0

        def part_of_loss(own: Tensor) -> Tensor:
            nonlocal loss
            part: Tensor = self.objective(batch, self.processes.gathered(own, batch.rows, 2 * sum(batch.sizes)))
            loss = self.processes.total(part.item())
            if not math.isfinite(loss):
                raise diverged(self.run, self.run.step + 1, f"the loss is {loss}")
            return part * self.processes.count  # DistributedDataParallel takes the mean of the gradients

        if self.config.tower == "transformer" and self.config.gradient_caching:
            from siamese.towers.transformer import padded_parts

            tokens, device = questions(batch, self.config, self.pad_id), self.processes.device
            parts = padded_parts(tokens.lengths) or [np.zeros(0, np.int64)]  # a share can be empty
            place = torch.from_numpy(np.concatenate(parts).argsort()).to(device)

            def encode(rows: np.ndarray) -> Tensor:
                vectors: Tensor = self.tower(*tensors(tokens.take(rows), device))
                return vectors

            partly = partial(self.processes.not_yet, self.tower)
            backward_in_parts(encode, parts, lambda vectors: part_of_loss(vectors[place]), partly)
        else:
            part_of_loss(encode_batch(self.tower, self.config, batch, self.pad_id)).backward()
        return loss


def backward_in_parts(
    encode: Callable[[Part], Tensor], parts: Sequence[Part], loss_of: Callable[[Tensor], Tensor],
    partly: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:  # fmt: skip
    """Add gradients to those of the weights, as `loss_of(cat([encode(p) for p in parts])).backward()` does.

    An in-batch loss needs the vectors of the whole batch, but the graph of a whole batch of a transformer does not fit
    into memory. So compute the vectors of all parts without a graph, then the loss and its gradient dL/dv for each
    vector v. Then compute the vectors again part by part, with a graph that carries their rows of dL/dv back to the
    weights. By the chain rule dL/dw = Σ over the vectors v of dL/dv · dv/dw, these are the gradients of the whole
    batch, at the cost of one more forward pass.

    Args:
        encode: returns the vectors of a part, (n, d), the same at each call, so the tower must have no dropout.
        parts: of a batch, at least one.
        loss_of: returns the loss of all vectors, in the order of the parts. Its own weights get gradients too.
        partly: context for all parts but the last, in which processes do not exchange gradients yet.

    Returns:
        The loss, without a graph.

    Source: Gao, Zhang, Han, Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    """
    with torch.no_grad():
        cached = [encode(part) for part in parts]
    vectors = torch.cat(cached).requires_grad_()
    loss = loss_of(vectors)
    loss.backward()
    assert vectors.grad is not None
    gradients = vectors.grad.split([len(rows) for rows in cached])
    with partly():
        for part, gradient in zip(parts[:-1], gradients):
            encode(part).backward(gradient)
    encode(parts[-1]).backward(gradients[-1])
    return loss.detach()


def encode_batch(tower: nn.Module, config: Config, batch: Batch, pad_id: int) -> Tensor:
    """Return the vectors of the questions of a batch, stacked, from one call of the tower."""
    vectors: Tensor = tower(*tensors(questions(batch, config, pad_id), next(tower.parameters()).device))
    return vectors


def questions(batch: Batch, config: Config, pad_id: int) -> Tokens:
    """Return all questions of a batch, stacked: b1, b2, n1, n2 and those without labels."""
    b1, b2 = pad(batch.b1, batch.b2, config.padding, pad_id)
    n1, n2 = pad(batch.n1, batch.n2, config.padding, pad_id)
    labelled = b1.join(b2).join(n1).join(n2)
    return labelled if batch.unlabelled is None else labelled.join(batch.unlabelled)


def tensors(tokens: Tokens, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and lengths as tensors on a device."""
    ids, lengths = torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.lengths)
    return ids.to(device), lengths.to(device)
