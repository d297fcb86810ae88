"""The losses: in-batch losses on duplicates, and losses on labelled pairs."""

from siamese.losses.logistic import LogisticLoss
from siamese.losses.triplet import TripletLoss, TripletLossFn

__all__ = ["LogisticLoss", "TripletLoss", "TripletLossFn"]
