"""The losses: in-batch losses on duplicates, and losses on labelled pairs; `registry` lists them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese.losses.labelled import (
        ContrastiveLoss,
        CosineHingeLoss,
        LogisticLoss,
        MSELoss,
        OnlineContrastiveLoss,
    )
    from siamese.losses.matrix import MatrixBCELoss, MatrixSoftmaxLoss, matrix_bce, matrix_softmax, text_softmax
    from siamese.losses.one_negative import TripletCosineLoss, TripletEuclideanLoss
    from siamese.losses.registry import LOSSES
    from siamese.losses.triplet import TripletLoss, TripletLossFn

__all__ = [
    "LOSSES",
    "ContrastiveLoss",
    "CosineHingeLoss",
    "LogisticLoss",
    "MSELoss",
    "MatrixBCELoss",
    "MatrixSoftmaxLoss",
    "OnlineContrastiveLoss",
    "TripletCosineLoss",
    "TripletEuclideanLoss",
    "TripletLoss",
    "TripletLossFn",
    "matrix_bce",
    "matrix_softmax",
    "text_softmax",
]

_HOME = {
    "ContrastiveLoss": "labelled",
    "CosineHingeLoss": "labelled",
    "LOSSES": "registry",
    "LogisticLoss": "labelled",
    "MSELoss": "labelled",
    "MatrixBCELoss": "matrix",
    "MatrixSoftmaxLoss": "matrix",
    "OnlineContrastiveLoss": "labelled",
    "TripletCosineLoss": "one_negative",
    "TripletEuclideanLoss": "one_negative",
    "TripletLoss": "triplet",
    "TripletLossFn": "triplet",
    "matrix_bce": "matrix",
    "matrix_softmax": "matrix",
    "text_softmax": "matrix",
}


def __getattr__(name: str) -> Any:
    # Fetched when asked for, so that the list of losses costs no torch.
    if name in _HOME:
        return getattr(importlib.import_module(f"siamese.losses.{_HOME[name]}"), name)
    raise AttributeError(f"module 'siamese.losses' has no attribute {name!r}")
