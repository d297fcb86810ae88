"""Duplicate questions, found by a Siamese tower: Embedding → LSTM → mean → normalize.

>>> from siamese import SiameseModel
>>> model = SiameseModel.pretrained()  # or SiameseModel.load("models/latest")
>>> model.predict("How old are you?", "What is your age?").is_duplicate
True
"""

import importlib
from typing import TYPE_CHECKING, Any

from siamese.system.optional import needing
from siamese.version import VERSION as __version__

if TYPE_CHECKING:
    from siamese.estimators import DuplicateClassifier, QuestionVectors
    from siamese.losses import TripletLoss, TripletLossFn
    from siamese.model.model import Prediction, SiameseModel
    from siamese.pairs.pairs import Pairs
    from siamese.pairs.reading import read_pairs

__all__ = [
    "DuplicateClassifier",
    "Pairs",
    "Prediction",
    "QuestionVectors",
    "SiameseModel",
    "TripletLoss",
    "TripletLossFn",
    "__version__",
    "read_pairs",
]

_HOME = {
    "DuplicateClassifier": "estimators",
    "Pairs": "pairs",
    "Prediction": "model",
    "QuestionVectors": "estimators",
    "SiameseModel": "model",
    "TripletLoss": "losses",
    "TripletLossFn": "losses",
    "read_pairs": "pairs",
}


def __getattr__(name: str) -> Any:
    # Names are fetched when they are asked for, so that `import siamese` loads no torch.
    if name in _HOME:
        with needing(f"siamese.{name}"):
            return getattr(importlib.import_module(f"siamese.{_HOME[name]}"), name)
    raise AttributeError(f"module 'siamese' has no attribute {name!r}")
