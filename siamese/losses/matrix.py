"""Losses that compare a whole matrix of similarities with a matrix of targets.

Source: two threads of the course's forum. With one similar entry a row, matrix-softmax is the multiple-negatives
ranking loss (Henderson et al. 2017). The author of matrix-bce could not train it, for two reasons. The sigmoid of a
bare cosine stays within [0.27, 0.73]: here scale and bias are learned, as in SigLIP (Zhai et al. 2023). And the N² − N
negatives outweigh the N duplicates: here both kinds have the same weight.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.losses.labelled import widened


def matrix_softmax(scores: Tensor, similar: Tensor) -> Tensor:
    """Return the cross-entropy of each row's softmax; its similar entries share the target probability equally.

    Args:
        scores: (N, M) cosines divided by a temperature.
        similar: (N, M) bool, the entries that should be high.

    Returns:
        A scalar, the mean over the rows with a similar entry; 0 if there is none.
    """
    count = similar.sum(1)
    log_probability = functional.log_softmax(scores, 1).masked_fill(~similar, 0)
    per_row = -log_probability.sum(1) / count.clamp(min=1)
    return per_row.sum() / (count > 0).sum().clamp(min=1)


def matrix_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of each cell against its target; both kinds of cell weigh one half in total.

    Args:
        logits: (N, M).
        targets: (N, M) of 0 and 1, or bool.

    Returns:
        A scalar; 0 without a cell.

    Raises:
        ValueError: a target is neither 0 nor 1, such as the cosine −1, of which the cross-entropy has no lower bound.
    """
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1; a target of -1 (dissimilar, as a cosine) becomes 0")
    cells = functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    if cells.numel() == 0:
        return cells.sum()
    similar = targets == 1
    halves = [cells[kind].mean() for kind in (similar, ~similar) if kind.any()]
    return torch.stack(halves).mean()


class MatrixSoftmaxLoss(nn.Module):
    """Make each question find its duplicate among the questions of the other side.

    Softmax cross-entropy over S = v1·v2ᵀ; its similar entries are the diagonal and the known duplicates.

    Args:
        temperature: divides the cosines; the smaller it is, the more the closest negatives count.
        anchors: "rows", "columns", or "both" for the mean of the two.
    """

    def __init__(self, temperature: float = 0.05, anchors: str = "both") -> None:
        super().__init__()
        self.temperature, self.anchors = temperature, anchors

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None, own: slice | None = None) -> Tensor:
        """Return the loss of v1, v2 (B, d) unit vectors, B ≥ 1, and same (B, B) bool or None.

        With `own`, return the part of the loss with these pairs as anchors; `same` then has these rows of a symmetric
        matrix. The parts of slices that make up the batch add up to its loss.
        """
        scores, similar = _scores(v1, v2, same, own)
        rows = scores / self.temperature, similar
        turned = rows[0].T if own is None else _scores(v2, v1, None, own)[0] / self.temperature
        columns = turned, similar.T if own is None else similar
        chosen = {"rows": (rows,), "columns": (columns,), "both": (rows, columns)}[self.anchors]
        return torch.stack([matrix_softmax(*side) for side in chosen]).mean() * (len(scores) / max(1, len(v1)))


class MatrixBCELoss(nn.Module):
    """Decide in each cell of S = v1·v2ᵀ whether its two questions are duplicates.

    Binary cross-entropy of sigmoid(scale·S + bias), 1 for the diagonal and the known duplicates, 0 elsewhere; scale
    and bias are learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.tensor(8.0)), nn.Parameter(torch.tensor(-4.0))

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None = None) -> Tensor:
        """Return the loss of v1, v2 (B, d) unit vectors, B ≥ 1, and same (B, B) bool or None."""
        scores, similar = _scores(v1, v2, same)
        return matrix_bce(self.scale * scores + self.bias, similar)


def _scores(v1: Tensor, v2: Tensor, same: Tensor | None, own: slice | None = None) -> tuple[Tensor, Tensor]:
    """Return S and its similar entries, both (B, B), or the `own` rows of them."""
    own = own or slice(None)
    diagonal = torch.eye(len(v1), dtype=torch.bool, device=v1.device)[own]
    return widened(v1)[own] @ widened(v2).T, diagonal if same is None else diagonal | same
