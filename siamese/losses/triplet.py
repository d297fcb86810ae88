"""The triplet loss on the in-batch similarities S = v1 · v2ᵀ: one-sided, and symmetric.

For the anchor of row i, with d = S[i, i] and its negatives S[i, j], j ≠ i:

    max(mean negative − d + margin, 0)  +  max(closest negative − d + margin, 0)

Rows anchor question 1, columns anchor question 2 (the same on Sᵀ).

Source: the Siamese assignment of the NLP specialisation of deeplearning.ai,
in its Trax (rows) and TensorFlow (columns) editions; "both, pooled" is the
proposal of the course's forum.
"""

import torch
from torch import Tensor, nn


def TripletLossFn(  # noqa: N802 (the name that the assignment made known)
    v1: Tensor,
    v2: Tensor,
    margin: float = 0.25,
    anchors: str = "both",
    closest: str = "hardest",
    combine: str = "summed",
    reduction: str = "mean",
    same: Tensor | None = None,
) -> Tensor:
    """The loss of a batch of duplicates.

    Args:
        v1, v2: (B, d) floats, B ≥ 2; v1[i] and v2[i] are the vectors of a pair of
            duplicates. Unit vectors, so that S holds cosines.
        margin: how far, in cosine, a negative must stay below its diagonal.
        anchors: "rows", "columns" or "both".
        closest: "hardest", the largest negative; or "semi-hard", as published: a
            negative above the diagonal counts as its value − 2, so that the
            largest one below the diagonal is taken.
        combine: how "both" joins the sides. "summed" adds the two one-sided
            losses, 2B anchors; "pooled" has B anchors: one hinge on the mean of
            all negatives of row and column, one on the average of the two
            closest negatives.
        reduction: "mean" over the anchors, or "sum".
        same: (B, B) bool, true where S holds known duplicates off the diagonal;
            they are left out of the negatives. An anchor with no negative left
            adds nothing.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, a batch of one, an unknown choice.

    Example:
        >>> v = torch.eye(3)
        >>> TripletLossFn(v, v)
        tensor(0.)
    """
    _check(v1, v2, same, anchors=anchors, closest=closest, combine=combine, reduction=reduction)
    scores = v1 @ v2.T  # (B, B)
    d = scores.diagonal()
    negative = ~torch.eye(len(v1), dtype=torch.bool, device=v1.device)
    if same is not None:
        negative = negative & ~same

    rows = _negatives(scores, d, negative, closest)
    columns = _negatives(scores.T, d, negative.T, closest)
    if anchors == "rows":
        per_anchor = _hinges(*rows, d, margin)
    elif anchors == "columns":
        per_anchor = _hinges(*columns, d, margin)
    elif combine == "summed":
        per_anchor = torch.cat((_hinges(*rows, d, margin), _hinges(*columns, d, margin)))
    else:
        total, count, nearest = (r + c for r, c in zip(rows, columns))
        per_anchor = _hinges(total, count, nearest / 2, d, margin)
    return per_anchor.mean() if reduction == "mean" else per_anchor.sum()


def _negatives(scores: Tensor, d: Tensor, negative: Tensor, closest: str) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's sum of negatives, their number, and the closest one; all (B,)."""
    total = scores.masked_fill(~negative, 0).sum(1)
    if closest == "semi-hard":
        moved = torch.where(scores > d[:, None], scores - 2, scores).masked_fill(~negative, -2)
        # The published rule gives −2 to what is left out; with no negative at
        # all that must not count either, whatever d is.
        nearest = moved.amax(1).masked_fill(~negative.any(1), -torch.inf)
    else:
        nearest = scores.masked_fill(~negative, -torch.inf).amax(1)
    return total, negative.sum(1), nearest


def _hinges(total: Tensor, count: Tensor, nearest: Tensor, d: Tensor, margin: float) -> Tensor:
    """The two terms of each anchor; (B,). No negatives, no terms."""
    mean = total / count.clamp(min=1)
    mean_term = (mean - d + margin).clamp(min=0).masked_fill(count == 0, 0)
    return mean_term + (nearest - d + margin).clamp(min=0)


def _check(v1: Tensor, v2: Tensor, same: Tensor | None, **choices: str) -> None:
    allowed = {
        "anchors": ("rows", "columns", "both"),
        "closest": ("hardest", "semi-hard"),
        "combine": ("summed", "pooled"),
        "reduction": ("mean", "sum"),
    }
    for name, value in choices.items():
        if value not in allowed[name]:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(allowed[name])}")
    if v1.shape != v2.shape or v1.ndim != 2:
        raise ValueError(f"v1 {tuple(v1.shape)} and v2 {tuple(v2.shape)}: expected two of (batch, size)")
    if len(v1) < 2:
        raise ValueError(f"a batch of {len(v1)} pair(s) has no negatives: the triplet loss needs 2 or more")
    if same is not None and same.shape != (len(v1), len(v1)):
        raise ValueError(f"same {tuple(same.shape)}: expected {(len(v1), len(v1))}, one cell a pair of questions")


class TripletLoss(nn.Module):
    """`TripletLossFn` with its options fixed; see there."""

    def __init__(
        self,
        margin: float = 0.25,
        anchors: str = "both",
        closest: str = "hardest",
        combine: str = "summed",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.options = {
            "margin": margin, "anchors": anchors, "closest": closest, "combine": combine, "reduction": reduction,
        }  # fmt: skip

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None) -> Tensor:
        return TripletLossFn(v1, v2, same=same, **self.options)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())
