"""Labelled pairs of questions: files, clusters, groups and splits."""

from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import read_pairs

__all__ = ["Columns", "Pairs", "read_pairs"]
