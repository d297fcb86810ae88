"""The place of `data_generator` in version 0.1, kept for old imports."""

from siamese.training.batches import data_generator

__all__ = ["data_generator"]
