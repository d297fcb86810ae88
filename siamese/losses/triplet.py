"""The triplet loss on the in-batch similarities S = v1 · v2ᵀ, one-sided or symmetric.

For the anchor of row i, with d = S[i, i] and its negatives S[i, j], j ≠ i:

    max(mean negative − d + margin, 0)  +  max(closest negative − d + margin, 0)

Rows anchor question 1, columns anchor question 2 (the same on Sᵀ).

Source: the Siamese assignment of the NLP specialisation of deeplearning.ai, in its Trax (rows) and TensorFlow (columns)
editions. "both, pooled" was proposed in the course's forum.
"""

import torch
from torch import Tensor, nn

from siamese.losses.labelled import widened
from siamese.losses.registry import CHOICES

ANCHORS_AT_A_TIME = 1_024  # rows of S in memory


def TripletLossFn(
    v1: Tensor, v2: Tensor, margin: float = 0.25, anchors: str = "both", closest: str = "hardest",
    combine: str = "summed", reduction: str = "mean", same: Tensor | None = None, own: slice | None = None,
) -> Tensor:  # fmt: skip
    """Return the loss of a batch of duplicates, or the part of it that belongs to some anchors.

    Args:
        v1, v2: (B, d) floats, B ≥ 2; v1[i] and v2[i] are the vectors of a pair of duplicates, of length 1, so that S
            holds cosines.
        margin: distance, in cosine, that a negative should keep below its diagonal entry.
        anchors: "rows", "columns" or "both".
        closest: "hardest", the largest negative; or "semi-hard", as published: a negative above the diagonal entry
            counts as its value − 2, so that the largest one below it is the closest.
        combine: how "both" joins the sides. "summed" adds the two one-sided losses, with 2B anchors. "pooled" has B
            anchors, with one hinge on the mean of all negatives of row and column, and one on the mean of the two
            closest.
        reduction: "mean" over the anchors, or "sum".
        same: (B, B) bool, true for known duplicates off the diagonal, which are no negatives. An anchor without a
            negative adds nothing. "pooled" needs a negative in both row and column for its second term.
        own: use only these pairs as anchors, against all; `same` then has these rows of a symmetric matrix. The parts
            of slices that make up the batch add up to its loss, whichever the reduction.

    Returns:
        A scalar, float32 for vectors of half precision.

    Raises:
        ValueError: shapes do not fit, the batch has fewer than two pairs, or a choice is unknown.

    Example:
        >>> v = torch.eye(3)
        >>> TripletLossFn(v, v)
        tensor(0.)
    """
    _check(v1, v2, same, own, anchors=anchors, closest=closest, combine=combine, reduction=reduction)
    v1, v2 = widened(v1), widened(v2)  # 8 or 11 bits are too few for sums over a batch
    a1, a2, first = (v1, v2, 0) if own is None else (v1[own], v2[own], own.start)  # A anchors a side
    d = (a1 * a2).sum(1)  # (A,), the diagonal of S
    known = None
    if same is not None:
        i, j = same.nonzero(as_tuple=True)
        off = i + first != j  # the diagonal, since row 0 of `same` is row `first` of S
        known = i[off], j[off]
    scores = (v1 @ v2.T).detach() if own is None and len(v1) <= ANCHORS_AT_A_TIME else None
    sides = []
    if anchors != "columns":
        sides.append(_negatives(a1, v2, d, first, known, closest, scores))
    if anchors != "rows":
        turned = known if known is None or own is not None else (known[1], known[0])
        scores = None if scores is None else scores.T.contiguous()
        sides.append(_negatives(a2, v1, d, first, turned, closest, scores))
    if anchors == "both" and combine == "pooled":
        total, count, nearest = (row + column for row, column in zip(*sides))
        terms = [_hinges(total, count, nearest / 2, d, margin)]
    else:
        terms = [_hinges(*side, d, margin) for side in sides]
    loss = torch.cat(terms).sum()
    return loss / (len(terms) * len(v1)) if reduction == "mean" else loss


Cells = tuple[Tensor, Tensor]  # the rows and the columns of some cells of S


def _negatives(
    a: Tensor, b: Tensor, d: Tensor, first: int, known: Cells | None, closest: str, scores: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each anchor's sum of negatives, their number, and the closest one; all (A,).

    S itself only serves to find the closest negatives, some rows at a time. The gradient flows through B dot products
    and two sums, since Σ_j a_i·b_j = a_i·Σ_j b_j. So memory and the backward pass grow with B, not with B².

    Rows are taken by `index_select`, whose backward pass adds in a fixed order. That of `b[where]` adds from several
    threads at once, in any order, so that the same seed gave other weights.

    Args:
        a: (A, d) the anchors.
        b: (B, d) the other side.
        d: (A,) the similarities of the anchors and their positives.
        first: row of `b` with the positive of the first anchor.
        known: cells off the diagonal that are no negatives.
        closest: "hardest" or "semi-hard".
        scores: (A, B) a·bᵀ, if it was computed already; this function overwrites it.
    """
    total = a @ b.sum(0) - d
    count = torch.full_like(d, len(b) - 1)
    if known is not None:
        i, j = known
        total = total.index_add(0, i, -(a.index_select(0, i) * b.index_select(0, j)).sum(1))
        count = count.index_add(0, i, -torch.ones_like(i, dtype=d.dtype))
    with torch.no_grad():
        columns, moved_down = [], []  # of the closest negatives, and whether the semi-hard rule moved them by −2
        for start in range(0, max(1, len(a)), ANCHORS_AT_A_TIME):
            s = a[start : start + ANCHORS_AT_A_TIME] @ b.T if scores is None else scores  # (anchors, B)
            if closest == "semi-hard":
                moved = s > s.diagonal(first + start)[:, None]
                s = torch.where(moved, s - 2, s)
            if known is not None:
                here = (known[0] >= start) & (known[0] < start + ANCHORS_AT_A_TIME)
                s[known[0][here] - start, known[1][here]] = -torch.inf
            s.diagonal(first + start).fill_(-2.0 if closest == "semi-hard" else -torch.inf)
            columns.append(s.argmax(1))
            if closest == "semi-hard":
                moved_down.append(moved.gather(1, columns[-1][:, None])[:, 0])
        where = torch.cat(columns)
    nearest = (a * b.index_select(0, where)).sum(1)
    if closest == "semi-hard":
        diagonal = where == torch.arange(first, first + len(a), device=a.device)  # takes part with −2
        nearest = torch.where(diagonal, -2.0, nearest - 2 * torch.cat(moved_down))
    return total, count, nearest.masked_fill(count == 0, -torch.inf)


def _hinges(total: Tensor, count: Tensor, nearest: Tensor, d: Tensor, margin: float) -> Tensor:
    """Return the sum of both terms for each anchor, (B,); 0 without negatives."""
    mean_term = (total / count.clamp(min=1) - d + margin).clamp(min=0).masked_fill(count == 0, 0)
    return mean_term + (nearest - d + margin).clamp(min=0)


def _check(v1: Tensor, v2: Tensor, same: Tensor | None, own: slice | None, **choices: str) -> None:
    for name, value in choices.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(CHOICES[name])}")
    if v1.shape != v2.shape or v1.ndim != 2:
        raise ValueError(f"v1 {tuple(v1.shape)} and v2 {tuple(v2.shape)}: expected two of (batch, size)")
    if len(v1) < 2:
        raise ValueError(f"a batch of {len(v1)} pair(s) has no negatives: the triplet loss needs 2 or more")
    rows = len(v1) if own is None else own.stop - own.start
    if same is not None and same.shape != (rows, len(v1)):
        raise ValueError(f"same {tuple(same.shape)}: expected {(rows, len(v1))}, one cell a pair of questions")


class TripletLoss(nn.Module):
    """Push each pair of duplicates above its negatives in the batch: above their mean, and above the closest one.

    `TripletLossFn` as a module, with fixed options; see there.
    """

    def __init__(
        self, margin: float = 0.25, anchors: str = "both", closest: str = "hardest", combine: str = "summed",
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__()
        self.options = {
            "margin": margin, "anchors": anchors, "closest": closest, "combine": combine, "reduction": reduction,
        }  # fmt: skip

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None, own: slice | None = None) -> Tensor:
        return TripletLossFn(v1, v2, same=same, own=own, **self.options)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())
