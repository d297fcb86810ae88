"""The detector: model folders, vectors, similarities and verdicts."""

from siamese.model.model import Prediction, SiameseModel

__all__ = ["Prediction", "SiameseModel"]
