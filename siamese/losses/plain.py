"""The triplet loss as one writes it on a board. `triplet` is the fast form; tests hold it to this one.

README.md beside this file explains it line by line.
"""

from typing import Any

import torch
from torch import Tensor, nn


def negatives(S: Tensor, closest: str = "hardest", same: Tensor | None = None) -> Tensor:
    """Return the mean negative of each row of S and its closest one, (2, B); -inf for a row without negatives.

    Args:
        S: (B, B) cosines. The diagonal holds the duplicates, the other cells of a row are its negatives.
        closest: "hardest", the largest negative; "semi-hard", the largest one that is not above the diagonal entry.
        same: (B, B) bool, true for known duplicates, which are no negatives.
    """
    d, others = S.diagonal()[:, None], ~torch.eye(len(S), dtype=torch.bool, device=S.device)
    others = others if same is None else others & ~same
    mean = (S * others).sum(1) / others.sum(1).clamp(min=1)
    S = S if closest == "hardest" else torch.where(d < S, S - 2, S)  # as published: -2 is below all cosines
    nearest = torch.where(others, S, -2.0).max(1).values
    return torch.stack([mean, nearest]).masked_fill(~others.any(1), -torch.inf)


def triplet_loss(
    v1: Tensor, v2: Tensor, margin: float = 0.25, anchors: str = "both", closest: str = "hardest",
    combine: str = "summed", reduction: str = "mean", same: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the loss of a batch of duplicates.

    Arguments and result are those of `siamese.losses.TripletLossFn`, for vectors of length 1 and a symmetric `same`.
    """
    S = v1 @ v2.T
    sides = {"rows": [S], "columns": [S.T], "both": [S, S.T]}[anchors]
    found = torch.stack([negatives(side, closest, same) for side in sides])  # (sides, 2, B)
    found = found if combine == "summed" else found.mean(0, keepdim=True)
    losses = (found - S.diagonal() + margin).relu().sum(1)  # both hinges of each anchor
    return losses.mean() if reduction == "mean" else losses.sum()


class PlainTripletLoss(nn.Module):
    """`triplet_loss` as a module, with fixed options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None) -> Tensor:
        return triplet_loss(v1, v2, same=same, **self.options)
