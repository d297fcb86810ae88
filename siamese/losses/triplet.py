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

BLOCK = 1_024  # anchors whose row of S is held at a time


def TripletLossFn(
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
            adds nothing; "pooled" needs a negative in row and column for its
            second term.

    Returns:
        A scalar; float32 where the vectors have less.

    Raises:
        ValueError: shapes that do not fit, a batch of one, an unknown choice.

    Example:
        >>> v = torch.eye(3)
        >>> TripletLossFn(v, v)
        tensor(0.)
    """
    _check(v1, v2, same, anchors=anchors, closest=closest, combine=combine, reduction=reduction)
    if v1.dtype in (torch.bfloat16, torch.float16):
        v1, v2 = v1.float(), v2.float()  # sums over a batch need more than their 8 or 11 bits
    d = (v1 * v2).sum(1)  # (B,), the diagonal of S
    known = None if same is None else _cells(same)
    scores = (v1 @ v2.T).detach() if len(v1) <= BLOCK else None
    sides = []
    if anchors != "columns":
        sides.append(_negatives(v1, v2, d, known, closest, scores))
    if anchors != "rows":
        turned = None if known is None else (known[1], known[0])
        sides.append(_negatives(v2, v1, d, turned, closest, None if scores is None else scores.T.contiguous()))
    if anchors == "both" and combine == "pooled":
        total, count, nearest = (row + column for row, column in zip(*sides))
        per_anchor = _hinges(total, count, nearest / 2, d, margin)
    else:
        per_anchor = torch.cat([_hinges(*side, d, margin) for side in sides])
    return per_anchor.mean() if reduction == "mean" else per_anchor.sum()


Cells = tuple[Tensor, Tensor]  # the rows and the columns of some cells of S


def _cells(same: Tensor) -> Cells:
    """The cells off the diagonal that are true."""
    i, j = same.nonzero(as_tuple=True)
    off = i != j
    return i[off], j[off]


def _negatives(
    a: Tensor, b: Tensor, d: Tensor, known: Cells | None, closest: str, scores: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Each anchor's sum of negatives, their number, and the closest one; all (B,).

    S itself is only looked at, a block at a time, to find where the closest
    negative is: what is differentiated are B dot products and two sums, since
    Σ_j a_i·b_j = a_i·Σ_j b_j. So memory and the backward pass grow with B, not B².

    Args:
        a: (B, d) the anchors.
        b: (B, d) the other side.
        d: (B,) the similarities a_i·b_i.
        known: cells off the diagonal that are no negatives.
        closest: "hardest" or "semi-hard".
        scores: (B, B) a·bᵀ where B is a single block; cells that are left out may be overwritten.
    """
    total = a @ b.sum(0) - d
    count = torch.full_like(d, len(a) - 1)
    if known is not None:
        i, j = known
        total = total.index_add(0, i, -(a[i] * b[j]).sum(1))
        count = count.index_add(0, i, -torch.ones_like(i, dtype=d.dtype))
    where, above = _closest(a, b, known, closest, scores)
    nearest = (a * b[where]).sum(1)
    if closest == "semi-hard":
        own = where == torch.arange(len(a), device=a.device)  # the diagonal takes part, with −2
        nearest = torch.where(own, -2.0, nearest - 2 * above)
    return total, count, nearest.masked_fill(count == 0, -torch.inf)


@torch.no_grad()
def _closest(a: Tensor, b: Tensor, known: Cells | None, closest: str, scores: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B,) the column of each anchor's closest negative, and whether the semi-hard rule moved it by −2."""
    where, above = [], []
    for first in range(0, len(a), BLOCK):
        s = a[first : first + BLOCK] @ b.T if scores is None else scores  # (block, B)
        if closest == "semi-hard":
            moved = s > s.diagonal(first)[:, None]
            s = torch.where(moved, s - 2, s)
        if known is not None:
            here = (known[0] >= first) & (known[0] < first + BLOCK)
            s[known[0][here] - first, known[1][here]] = -torch.inf
        s.diagonal(first).fill_(-2.0 if closest == "semi-hard" else -torch.inf)
        where.append(s.argmax(1))
        if closest == "semi-hard":
            above.append(moved.gather(1, where[-1][:, None])[:, 0])
    return torch.cat(where), torch.cat(above) if above else torch.zeros(len(a), dtype=torch.bool, device=a.device)


def _hinges(total: Tensor, count: Tensor, nearest: Tensor, d: Tensor, margin: float) -> Tensor:
    """The two terms of each anchor; (B,). No negatives, no terms."""
    mean_term = (total / count.clamp(min=1) - d + margin).clamp(min=0).masked_fill(count == 0, 0)
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
