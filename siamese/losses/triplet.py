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
    own: slice | None = None,
) -> Tensor:
    """The loss of a batch of duplicates, or the part of it that some of the anchors have.

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
        own: anchor only these of the pairs, against all; `same` then has these rows
            of a symmetric matrix. The parts of slices that make up the batch add up
            to its loss, whichever the reduction.

    Returns:
        A scalar; float32 where the vectors have less.

    Raises:
        ValueError: shapes that do not fit, a batch of one, an unknown choice.

    Example:
        >>> v = torch.eye(3)
        >>> TripletLossFn(v, v)
        tensor(0.)
    """
    _check(v1, v2, same, own, anchors=anchors, closest=closest, combine=combine, reduction=reduction)
    if v1.dtype in (torch.bfloat16, torch.float16):
        v1, v2 = v1.float(), v2.float()  # sums over a batch need more than their 8 or 11 bits
    a1, a2, first = (v1, v2, 0) if own is None else (v1[own], v2[own], own.start)  # A anchors a side
    d = (a1 * a2).sum(1)  # (A,), the diagonal of S
    known = None if same is None else _cells(same, first)
    scores = (v1 @ v2.T).detach() if own is None and len(v1) <= BLOCK else None
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


def _cells(same: Tensor, first: int) -> Cells:
    """The cells off the diagonal that are true; the rows begin with number `first` of S, and are counted from 0."""
    i, j = same.nonzero(as_tuple=True)
    off = i + first != j
    return i[off], j[off]


def _negatives(
    a: Tensor, b: Tensor, d: Tensor, first: int, known: Cells | None, closest: str, scores: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Each anchor's sum of negatives, their number, and the closest one; all (A,).

    S itself is only looked at, a block at a time, to find where the closest
    negative is: what is differentiated are B dot products and two sums, since
    Σ_j a_i·b_j = a_i·Σ_j b_j. So memory and the backward pass grow with B, not B².

    Args:
        a: (A, d) the anchors.
        b: (B, d) the other side.
        d: (A,) the similarities of the anchors with their own.
        first: where on the other side the first anchor's own is.
        known: cells off the diagonal that are no negatives.
        closest: "hardest" or "semi-hard".
        scores: (A, B) a·bᵀ where A = B is a single block; cells that are left out may be overwritten.
    """
    total = a @ b.sum(0) - d
    count = torch.full_like(d, len(b) - 1)
    if known is not None:
        i, j = known
        total = total.index_add(0, i, -(a[i] * b[j]).sum(1))
        count = count.index_add(0, i, -torch.ones_like(i, dtype=d.dtype))
    where, above = _closest(a, b, first, known, closest, scores)
    nearest = (a * b[where]).sum(1)
    if closest == "semi-hard":
        diagonal = where == torch.arange(first, first + len(a), device=a.device)  # it takes part, with −2
        nearest = torch.where(diagonal, -2.0, nearest - 2 * above)
    return total, count, nearest.masked_fill(count == 0, -torch.inf)


@torch.no_grad()
def _closest(
    a: Tensor, b: Tensor, first: int, known: Cells | None, closest: str, scores: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(A,) the column of each anchor's closest negative, and whether the semi-hard rule moved it by −2."""
    where, above = [], []
    for start in range(0, max(1, len(a)), BLOCK):
        s = a[start : start + BLOCK] @ b.T if scores is None else scores  # (block, B)
        if closest == "semi-hard":
            moved = s > s.diagonal(first + start)[:, None]
            s = torch.where(moved, s - 2, s)
        if known is not None:
            here = (known[0] >= start) & (known[0] < start + BLOCK)
            s[known[0][here] - start, known[1][here]] = -torch.inf
        s.diagonal(first + start).fill_(-2.0 if closest == "semi-hard" else -torch.inf)
        where.append(s.argmax(1))
        if closest == "semi-hard":
            above.append(moved.gather(1, where[-1][:, None])[:, 0])
    return torch.cat(where), torch.cat(above) if above else torch.zeros(len(a), dtype=torch.bool, device=a.device)


def _hinges(total: Tensor, count: Tensor, nearest: Tensor, d: Tensor, margin: float) -> Tensor:
    """The two terms of each anchor; (B,). No negatives, no terms."""
    mean_term = (total / count.clamp(min=1) - d + margin).clamp(min=0).masked_fill(count == 0, 0)
    return mean_term + (nearest - d + margin).clamp(min=0)


def _check(v1: Tensor, v2: Tensor, same: Tensor | None, own: slice | None, **choices: str) -> None:
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
    rows = len(v1) if own is None else own.stop - own.start
    if same is not None and same.shape != (rows, len(v1)):
        raise ValueError(f"same {tuple(same.shape)}: expected {(rows, len(v1))}, one cell a pair of questions")


class TripletLoss(nn.Module):
    """Push each pair of duplicates above its negatives in the batch: above their mean, and above the closest one.

    `TripletLossFn` with its options fixed; see there.
    """

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

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None, own: slice | None = None) -> Tensor:
        return TripletLossFn(v1, v2, same=same, own=own, **self.options)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())
