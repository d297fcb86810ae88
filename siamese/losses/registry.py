"""The losses by name: formula, needs, source, and the settings of a recipe that each one takes.

Only `make` loads torch.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

CHOICES = {  # of the triplet loss
    "anchors": ("rows", "columns", "both"),
    "closest": ("hardest", "semi-hard"),
    "combine": ("summed", "pooled"),
    "reduction": ("mean", "sum"),
}


@dataclass(frozen=True)
class Loss:
    """An entry of the registry."""

    name: str
    slot: str  # "in-batch": takes (v1, v2, same), duplicates; "labelled": takes (u, v, labels), pairs of both kinds
    formula: str
    needs: str
    source: str
    home: str  # module and class, in siamese.losses
    settings: Mapping[str, str] = field(default_factory=dict)  # argument → field of the recipe
    parts: bool = False  # has the argument `own`, so that processes can share the anchors of a batch

    def make(self, recipe: Any) -> "nn.Module":
        """Return the loss with the settings of a `Config`."""
        module, _, name = self.home.rpartition(".")
        kind = getattr(importlib.import_module(f"siamese.losses.{module}"), name)
        loss: nn.Module = kind(**{argument: getattr(recipe, field) for argument, field in self.settings.items()})
        return loss


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_DUPLICATES, _TWO, _BOTH = "duplicates", "duplicates; 2 or more a batch", "labelled pairs of both kinds"  # needs
_ALL = (
    Loss(
        "triplet", "in-batch",
        "max(mean negative − d + margin, 0) + max(closest negative − d + margin, 0), d = S[i, i]",
        _TWO, "Quora assignment of deeplearning.ai; the columns: the course's forum",
        "triplet.TripletLoss", _same("margin", "anchors", "closest", "combine", "reduction"), parts=True,
    ),
    Loss(
        "matrix-softmax", "in-batch",
        "−log softmax(S / temperature)[i, i]; several similar entries of a row share the probability",
        _DUPLICATES, "Henderson et al. 2017 (multiple negatives ranking); the course's forum",
        "matrix.MatrixSoftmaxLoss", _same("temperature", "anchors"), parts=True,
    ),
    Loss(
        "matrix-bce", "in-batch",
        "cross-entropy of sigmoid(scale·S + bias), scale and bias learned, 1 and 0 cells weighing the same",
        _TWO, "the course's forum; Zhai et al. 2023 (SigLIP)", "matrix.MatrixBCELoss",
    ),
    Loss(
        "triplet-euclidean", "in-batch",
        "max(‖a − p‖ − ‖a − n‖ + margin, 0), n the closest in the batch; or of squared distances",
        _TWO, "Schroff et al. 2015 (FaceNet)",
        "one_negative.TripletEuclideanLoss", _same("margin", "anchors", "squared"),
    ),
    Loss(
        "triplet-cosine", "in-batch", "max(cos(a, n) − cos(a, p) + margin, 0), n the closest in the batch",
        _TWO, "the course's forum", "one_negative.TripletCosineLoss", _same("margin", "anchors"),
    ),
    Loss(
        "logistic", "labelled", "cross-entropy of scale·(s − threshold), both learned",
        _BOTH, "logistic regression on the cosine", "labelled.LogisticLoss",
    ),
    Loss(
        "contrastive", "labelled", "y·d² + (1 − y)·max(labelled margin − d, 0)², d = ‖u − v‖",
        _BOTH, "Hadsell, Chopra, LeCun 2006", "labelled.ContrastiveLoss", {"margin": "labelled_margin"},
    ),
    Loss(
        "online-contrastive", "labelled", "contrastive, over the hard pairs of the batch alone",
        _BOTH, "sentence-transformers", "labelled.OnlineContrastiveLoss", {"margin": "labelled_margin"},
    ),
    Loss(
        "cosine-hinge", "labelled", "y·max(labelled margin − s, 0) + (1 − y)·max(s + labelled margin − 1, 0)",
        _BOTH, "torch.nn.CosineEmbeddingLoss, with a margin on both sides",
        "labelled.CosineHingeLoss", {"margin": "labelled_margin"},
    ),
    Loss("mse", "labelled", "(s − y)²", _BOTH, "the usual baseline", "labelled.MSELoss"),
)  # fmt: skip

LOSSES: dict[str, Loss] = {loss.name: loss for loss in _ALL}


def names(slot: str) -> tuple[str, ...]:
    """Return the names of the losses of a slot, "in-batch" or "labelled"."""
    return tuple(loss.name for loss in _ALL if loss.slot == slot)
