"""A runner of units of work that needs no Ray."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from siamese.mining.sharded.shards import Summary
from siamese.mining.sharded.stages import Unit


def one_by_one(
    function: Callable[[Any, Unit], Summary], shared: Any, units: Sequence[Unit], loads: bool
) -> Iterator[tuple[int, Summary]]:
    """Do the units one after the other in this process."""
    return ((i, function(shared, unit)) for i, unit in enumerate(units))
