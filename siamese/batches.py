"""Where `data_generator` was in version 0.1, for those who import it from here."""

from siamese.training.batches import data_generator

__all__ = ["data_generator"]
