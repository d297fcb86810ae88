"""Duplicate questions, found by a Siamese tower: Embedding → LSTM → mean → normalize.

>>> from siamese import SiameseModel
>>> model = SiameseModel.pretrained()  # or SiameseModel.load("models/latest")
>>> model.predict("How can I learn to cook?", "What is the best way to learn cooking?").is_duplicate
True
>>> model.predict("How can I learn to cook?", "How can I learn to swim?").is_duplicate
False
"""

import importlib
from typing import TYPE_CHECKING, Any

from siamese.system.optional import needing
from siamese.version import VERSION as __version__

if TYPE_CHECKING:
    from siamese.archive.store import Archive as Archive
    from siamese.estimators import DuplicateClassifier as DuplicateClassifier
    from siamese.estimators import QuestionVectors as QuestionVectors
    from siamese.evaluation.evaluate import evaluate as evaluate
    from siamese.evaluation.results import Evaluation as Evaluation
    from siamese.losses import TripletLoss as TripletLoss
    from siamese.losses import TripletLossFn as TripletLossFn
    from siamese.mining.mine import mine as mine
    from siamese.mining.mined import Mined as Mined
    from siamese.mining.nightly import mine_archive as mine_archive
    from siamese.mining.nightly import mine_new as mine_new
    from siamese.model.model import Prediction as Prediction
    from siamese.model.model import SiameseModel as SiameseModel
    from siamese.pairs.pairs import Pairs as Pairs
    from siamese.pairs.reading import read_pairs as read_pairs
    from siamese.training.callbacks import Callback as Callback
    from siamese.training.runs import train as train

_HOME = {
    "Archive": "archive.store",
    "Callback": "training.callbacks",
    "DuplicateClassifier": "estimators",
    "Evaluation": "evaluation.results",
    "Mined": "mining.mined",
    "Pairs": "pairs",
    "Prediction": "model",
    "QuestionVectors": "estimators",
    "SiameseModel": "model",
    "TripletLoss": "losses",
    "TripletLossFn": "losses",
    "evaluate": "evaluation.evaluate",
    "mine": "mining.mine",
    "mine_archive": "mining.nightly",
    "mine_new": "mining.nightly",
    "read_pairs": "pairs",
    "train": "training.runs",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import siamese` does not load torch.
    if name in _HOME:
        with needing(f"siamese.{name}"):
            return getattr(importlib.import_module(f"siamese.{_HOME[name]}"), name)
    raise AttributeError(f"module 'siamese' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
