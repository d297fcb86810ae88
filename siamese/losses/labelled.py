"""Losses on labelled pairs: u[i] and v[i] are the vectors of a pair, labels[i] is 1 for duplicates and 0 for others.

s is the cosine of a pair and d = ‖u − v‖ its distance; on unit vectors d² = 2 − 2s.
Every loss takes u, v (n, d) floats of length 1 (or 0) and labels (n,), and returns a scalar, the mean over the pairs,
or 0 without a pair. Half precision is widened first.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def widened(vectors: Tensor) -> Tensor:
    """Return vectors of half precision as float32, and others unchanged."""
    return vectors.float() if vectors.dtype in (torch.bfloat16, torch.float16) else vectors


def mean(values: Tensor) -> Tensor:
    """Return the mean of the values, or 0 if there are none."""
    return values.sum() / max(1, values.numel())


def _cosines(u: Tensor, v: Tensor) -> Tensor:
    return (widened(u) * widened(v)).sum(1)


class LogisticLoss(nn.Module):
    """Separate duplicates from the others at a threshold, by logistic regression on the cosine.

    Cross-entropy of scale · (s − threshold), both learned. The sigmoid of a bare cosine stays within [0.27, 0.73]; the
    scale widens that range.
    """

    def __init__(self, scale: float = 8.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    @torch.no_grad()
    def start_at(self, scale: float, threshold: float) -> None:
        """Begin with what is known of the vectors; a scale that is not positive leaves the first one."""
        self.scale.fill_(scale if scale > 0 else self.scale)
        self.threshold.fill_(threshold)

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        logits = self.scale * (_cosines(u, v) - self.threshold)
        return mean(functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none"))


class ContrastiveLoss(nn.Module):
    """Pull duplicates together, and push the others apart until they are the margin away.

    y·d² + (1 − y)·max(margin − d, 0)², y the label.

    Source: Hadsell, Chopra, LeCun 2006, with a factor ½ there.
    """

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        return mean(self.terms(_distances(u, v), labels))

    def terms(self, distances: Tensor, labels: Tensor) -> Tensor:
        """Return the term of each pair, (n,)."""
        return torch.where(labels == 1, distances, (self.margin - distances).clamp(min=0)).square()


class OnlineContrastiveLoss(ContrastiveLoss):
    """Apply the contrastive loss to the hard pairs of the batch alone.

    A duplicate is hard if it is further apart than the closest non-duplicate of the batch, a non-duplicate if it is
    closer than the furthest duplicate. The mean is over the hard pairs. If there is only one kind, all pairs count.

    Source: sentence-transformers, OnlineContrastiveLoss, with the sum there.
    """

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        distances, duplicate = _distances(u, v), labels == 1
        terms = self.terms(distances, labels)
        if duplicate.all() or not duplicate.any():
            return mean(terms)
        nearest, furthest = distances[~duplicate].min(), distances[duplicate].max()
        return mean(terms[torch.where(duplicate, distances > nearest, distances < furthest)])


def _distances(u: Tensor, v: Tensor) -> Tensor:
    # the gradient of vector_norm is 0 at a distance of 0, not nan
    return torch.linalg.vector_norm(widened(u) - widened(v), dim=1)


class CosineHingeLoss(nn.Module):
    """Raise the cosine of duplicates to the margin, and lower that of the others to 1 − margin.

    y·max(margin − s, 0) + (1 − y)·max(s + margin − 1, 0), y the label. With a margin of 1 it is
    `torch.nn.CosineEmbeddingLoss` with a margin of 0.
    """

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        s = _cosines(u, v)
        return mean(torch.where(labels == 1, self.margin - s, s + self.margin - 1).clamp(min=0))


class MSELoss(nn.Module):
    """Bring the cosine of duplicates to 1 and that of the others to 0, however close it already is; a baseline.

    (s − y)², y the label.
    """

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        s = _cosines(u, v)
        return mean((s - labels.to(s.dtype)).square())
