"""The loss of a recipe."""

import torch
from torch import Tensor, nn

from siamese.batches import Batch
from siamese.config import Config
from siamese.losses.registry import LOSSES


class Objective(nn.Module):
    """The recipe's losses, added up.

    On duplicates (in-batch), on labelled pairs, and where a teacher gives targets,
    1 − cos(vector, target), the mean over the questions.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.in_batch = None if config.loss == "none" else LOSSES[config.loss].make(config)
        self.labelled = None if config.labelled == "none" else LOSSES[config.labelled].make(config)
        self.weight = config.labelled_weight
        self.leave_out_known = config.leave_out_known
        self.teacher_weight = config.teacher_weight

    def forward(self, batch: Batch, vectors: Tensor) -> Tensor:
        """The loss of a batch; `vectors` are those of b1, b2, n1 and n2, one under the other."""
        duplicates, others = len(batch.b1), len(batch.n1)
        v1, v2, u1, u2 = vectors.split([duplicates, duplicates, others, others])
        loss = vectors.new_zeros(())
        if self.in_batch is not None:
            same = torch.from_numpy(batch.same).to(vectors.device) if self.leave_out_known else None
            loss = loss + self.in_batch(v1, v2, same)
        if self.labelled is not None:
            labels = torch.arange(duplicates + others, device=vectors.device) < duplicates
            loss = loss + self.weight * self.labelled(torch.cat((v1, u1)), torch.cat((v2, u2)), labels)
        if batch.targets is not None:
            targets = torch.from_numpy(batch.targets).to(vectors)
            loss = loss + self.teacher_weight * (1 - (vectors * targets).sum(1)).mean()
        return loss
