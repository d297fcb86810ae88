"""The loss of a recipe."""

from typing import Any

import torch
from torch import Tensor, nn

from siamese.config import Config
from siamese.errors import UserError
from siamese.losses import registry
from siamese.losses.distillation import distance, neighbourhood
from siamese.training.batches import Batch


class Objective(nn.Module):
    """The sum of the recipe's losses.

    They are the in-batch loss on duplicates, the loss on labelled pairs, with a teacher the mean over the questions of
    1 − cos(vector, target), and on questions without labels that and `neighbourhood`. Targets of zeros ask nothing.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        losses = [registry.find(name) if name != "none" else None for name in (config.loss, config.labelled)]
        self.in_batch, self.labelled = (loss.make(config) if loss else None for loss in losses)
        self.parts = losses[0] is not None and losses[0].parts and not config.plain
        self.plugins = [loss.name if loss and loss.plugin is not None else None for loss in losses]
        self.weight = config.labelled_weight
        self.leave_out_known = config.leave_out_known
        self.teacher_weight, self.neighbour_weight = config.teacher_weight, config.neighbour_weight

    def forward(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the loss of a batch, or a process's part of it. The parts of all processes add up to the loss.

        If a loss has no argument `own`, each process computes the whole and divides it by the number of processes.

        Args:
            batch: the batch, or a process's share of it.
            vectors: (2B + 2M + P, d), of the whole b1, b2, n1, n2 and the P questions without labels, stacked.
        """
        (duplicates, others), count = batch.sizes, batch.share.count
        loss = vectors.new_zeros(())
        if batch.wanted is not None:
            vectors, v = vectors.tensor_split([2 * (duplicates + others)])
            wanted = torch.from_numpy(batch.wanted).to(v)
            loss = loss + self.teacher_weight * distance(v, wanted)
            loss = loss + self.neighbour_weight * neighbourhood(v, wanted)
        v1, v2, u1, u2 = vectors.split([duplicates, duplicates, others, others])
        if self.in_batch is not None and duplicates:
            own = batch.share.of(duplicates) if self.parts and count > 1 else None
            same = None
            if self.leave_out_known:
                same = torch.from_numpy(batch.same(own or slice(None))).to(vectors.device)
            sides = (v1, v2, same)
            part = self._part(0, *sides, own) if own else self._part(0, *sides) / count
            loss = loss + part
        if self.labelled is not None and duplicates + others:
            labels = torch.arange(duplicates + others, device=vectors.device) < duplicates
            loss = loss + self.weight * self._part(1, torch.cat((v1, u1)), torch.cat((v2, u2)), labels) / count
        if batch.targets is not None:
            targets = torch.from_numpy(batch.targets).to(vectors)
            own_vectors = vectors if count == 1 else vectors[torch.from_numpy(batch.rows).to(vectors.device)]
            distances = targets.square().sum(1) - (own_vectors * targets).sum(1)  # 0 for a target of zeros
            loss = loss + self.teacher_weight * distances.sum() / len(vectors)
        return loss

    def _part(self, which: int, *arguments: Any) -> Tensor:
        """Return the in-batch loss or the labelled one, 0 or 1. Turn the errors of a plug-in into user errors."""
        loss, name = (self.in_batch, self.labelled)[which], self.plugins[which]
        assert loss is not None
        if name is None:
            part: Tensor = loss(*arguments)
            return part
        try:
            part = loss(*arguments)
        except Exception as error:
            raise UserError(f"the loss {name}: fails: {type(error).__name__}: {error}") from error
        if not isinstance(part, Tensor) or part.shape != ():
            raise UserError(f"the loss {name}: returned {_shape(part)}; expected a scalar tensor, such as a mean")
        return part

    def about_plugins(self) -> dict[str, str]:
        """Return the settings of each loss of another package by its name, as far as they are numbers and texts."""
        found = {}
        for name, loss in zip(self.plugins, (self.in_batch, self.labelled)):
            if name is not None:
                plain = {key: value for key, value in vars(loss).items() if isinstance(value, int | float | str)}
                found[name] = f"{loss} {sorted(plain.items())}"
        return found


def _shape(found: Any) -> str:
    return f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
