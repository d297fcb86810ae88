"""In-batch losses on duplicates, and losses on labelled pairs. `registry` lists them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese.losses.labelled import ContrastiveLoss as ContrastiveLoss
    from siamese.losses.labelled import CosineHingeLoss as CosineHingeLoss
    from siamese.losses.labelled import LogisticLoss as LogisticLoss
    from siamese.losses.labelled import MSELoss as MSELoss
    from siamese.losses.labelled import OnlineContrastiveLoss as OnlineContrastiveLoss
    from siamese.losses.matrix import MatrixBCELoss as MatrixBCELoss
    from siamese.losses.matrix import MatrixSoftmaxLoss as MatrixSoftmaxLoss
    from siamese.losses.matrix import matrix_bce as matrix_bce
    from siamese.losses.matrix import matrix_softmax as matrix_softmax
    from siamese.losses.one_negative import TripletCosineLoss as TripletCosineLoss
    from siamese.losses.one_negative import TripletEuclideanLoss as TripletEuclideanLoss
    from siamese.losses.registry import LOSSES as LOSSES
    from siamese.losses.triplet import TripletLoss as TripletLoss
    from siamese.losses.triplet import TripletLossFn as TripletLossFn

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
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that listing the losses loads no torch.
    if name in _HOME:
        return getattr(importlib.import_module(f"siamese.losses.{_HOME[name]}"), name)
    raise AttributeError(f"module 'siamese.losses' has no attribute {name!r}")
