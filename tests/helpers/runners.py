"""A runner of units of work that needs no Ray."""

from collections.abc import Sequence
from typing import Any

from siamese.mining.sharded.stages import Results, Unit, Work


def one_by_one(function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
    """Do the units one after the other in this process."""
    return ((i, function(shared, unit)) for i, unit in enumerate(units))
