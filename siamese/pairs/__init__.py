"""Labelled pairs of questions: files, clusters, groups and splits."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese.pairs.pairs import Columns as Columns
    from siamese.pairs.pairs import Pairs as Pairs
    from siamese.pairs.reading import read_pairs as read_pairs

__all__ = ["Columns", "Pairs", "read_pairs"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `predict`, which needs the opposites alone, stays fast.
    if name in __all__:
        from siamese.pairs import pairs, reading

        return getattr(reading if name == "read_pairs" else pairs, name)
    raise AttributeError(f"module 'siamese.pairs' has no attribute {name!r}")
