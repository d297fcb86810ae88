"""In-batch losses on duplicates, and losses on labelled pairs. `registry` lists them."""

import importlib
from typing import TYPE_CHECKING, Any

from siamese.losses.registry import LOSSES

if TYPE_CHECKING:
    from siamese.losses.labelled import ContrastiveLoss, CosineHingeLoss, LogisticLoss, MSELoss, OnlineContrastiveLoss
    from siamese.losses.matrix import MatrixBCELoss, MatrixSoftmaxLoss, matrix_bce, matrix_softmax
    from siamese.losses.one_negative import TripletCosineLoss, TripletEuclideanLoss
    from siamese.losses.triplet import TripletLoss, TripletLossFn

__all__ = [
    "LOSSES", "ContrastiveLoss", "CosineHingeLoss", "LogisticLoss", "MSELoss", "MatrixBCELoss", "MatrixSoftmaxLoss",
    "OnlineContrastiveLoss", "TripletCosineLoss", "TripletEuclideanLoss", "TripletLoss", "TripletLossFn", "matrix_bce",
    "matrix_softmax",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported on first use, so that listing the losses loads no torch.
    if name in __all__:
        for home in ("triplet", "matrix", "one_negative", "labelled"):
            if hasattr(module := importlib.import_module(f"siamese.losses.{home}"), name):
                return getattr(module, name)
    raise AttributeError(f"module 'siamese.losses' has no attribute {name!r}")
