"""Triplet losses with one negative per anchor: a given one, or the closest in the batch.

With unit vectors ‖a − b‖² = 2 − 2·cos(a, b), so the squared Euclidean form with margin 2m is exactly twice the cosine
form with margin m. In general (1 − cos(a, b))·‖a‖‖b‖ = (‖a − b‖² − (‖a‖ − ‖b‖)²)/2.

Source: Schroff, Kalenichenko, Philbin 2015 (FaceNet) and the course's forum.
"""

import torch
from torch import Tensor, nn

from siamese.losses.labelled import mean, widened


class _OneNegative(nn.Module):
    """The mean over the anchors of max(distance to the positive − distance to the negative + margin, 0).

    The anchors are v1 ("rows"), v2 ("columns"), or "both".
    """

    def __init__(self, margin: float = 0.25, anchors: str = "both") -> None:
        super().__init__()
        self.margin, self.anchors = margin, anchors

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None, negatives: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            v1, v2: (B, d); v1[i] and v2[i] are duplicates.
            same: (B, B) bool, true if v1[i] and v2[j] are known duplicates, which are no negatives.
            negatives: (B, d), a negative for each v1[i], which are then the only anchors. None: the closest in the
                batch. An anchor without a negative adds nothing.
        """
        v1, v2 = self._prepared(widened(v1)), self._prepared(widened(v2))
        positive = self._distance(v1, v2)
        if negatives is not None:
            negative = self._distance(v1, self._prepared(negatives.to(v1.dtype)))
            return mean((positive - negative + self.margin).clamp(min=0))
        if len(v1) == 0:
            raise ValueError("a batch of 0 pairs has no anchors: 1 or more are needed")
        excluded = torch.eye(len(v1), dtype=torch.bool, device=v1.device)
        if same is not None:
            excluded = excluded | same
        sides = []
        if self.anchors != "columns":
            sides.append(self._side(v1, v2, positive, excluded))
        if self.anchors != "rows":
            sides.append(self._side(v2, v1, positive, excluded.T))
        return torch.cat(sides).mean()

    def _side(self, a: Tensor, b: Tensor, positive: Tensor, excluded: Tensor) -> Tensor:
        with torch.no_grad():  # its distance is computed again below, with a gradient
            where = self._order(a, b).masked_fill(excluded, torch.inf).argmin(1)
        closest = b.index_select(0, where)  # the gradients of b[where] would be added in any order
        hinge = (positive - self._distance(a, closest) + self.margin).clamp(min=0)
        return hinge.masked_fill(excluded.all(1), 0)

    def _prepared(self, v: Tensor) -> Tensor:
        return v

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances of a[i] to b[i], (B,)."""
        raise NotImplementedError

    def _order(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a matrix (B, B) that rises in each row with the distance of a[i] to b[j]."""
        raise NotImplementedError


class TripletEuclideanLoss(_OneNegative):
    """Keep the closest negative of the batch further away than the duplicate, by a margin.

    max(‖a − p‖ − ‖a − n‖ + margin, 0), or the same with squared distances.
    """

    def __init__(self, margin: float = 0.25, anchors: str = "both", squared: bool = False) -> None:
        super().__init__(margin, anchors)
        self.squared = squared

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        if self.squared:
            return (a - b).square().sum(1)
        return torch.linalg.vector_norm(a - b, dim=1)  # the gradient is 0 at a distance of 0

    def _order(self, a: Tensor, b: Tensor) -> Tensor:
        return b.square().sum(1) - 2 * a @ b.T  # ‖a − b‖² without ‖a‖², which is the same for a row


class TripletCosineLoss(_OneNegative):
    """Keep the cosine of the closest negative of the batch below that of the duplicate, by a margin.

    max(cos(a, n) − cos(a, p) + margin, 0). A zero vector has cosine 0 with every other.
    """

    def _prepared(self, v: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        return v / length.masked_fill(length == 0, 1)  # normalize's eps gives a zero vector a gradient of 1e12

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 - (a * b).sum(1)

    def _order(self, a: Tensor, b: Tensor) -> Tensor:
        return -a @ b.T
