"""The logistic loss on labelled pairs: duplicates above a threshold, the rest below it."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LogisticLoss(nn.Module):
    """Binary cross-entropy of scale · (s − threshold), with scale and threshold learned.

    s is the cosine of a pair. A cosine alone, through a sigmoid, never leaves
    [0.27, 0.73]; the scale lets the loss be sure.

    Args (of `forward`):
        similarity: (n,) cosines of labelled pairs.
        labels: (n,) 1 for duplicates, 0 for the rest.

    Returns:
        A scalar, the mean over the pairs.
    """

    def __init__(self, scale: float = 8.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, similarity: Tensor, labels: Tensor) -> Tensor:
        logits = self.scale * (similarity - self.threshold)
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
