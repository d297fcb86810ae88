"""The detector: a model folder, and what one can ask of it."""

from siamese.model.model import Prediction, SiameseModel

__all__ = ["Prediction", "SiameseModel"]
