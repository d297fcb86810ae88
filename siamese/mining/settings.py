"""What a run of mining finds, and how."""

from dataclasses import dataclass

from siamese.errors import UserError
from siamese.mining.clusters import LINKAGES
from siamese.model.similarity import check_threshold

MEMORY = 2_048  # MB


@dataclass(frozen=True)
class Settings:
    """Which pairs and clusters to find, and how."""

    threshold: float  # 0 to 1; a pair's similarity, to six decimals, is above it
    max_pairs: int | None = None  # only the most similar ones, or those of the highest score
    approximate: bool = False
    memory: int = MEMORY  # MB to use at most
    seed: int = 0  # of the cells of an approximate search
    linkage: str = LINKAGES[0]  # "complete" (every two questions are a pair) or "connected" (by chains of pairs)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        for name, value in (("max-pairs", self.max_pairs), ("memory", self.memory)):
            if value is not None and value < 1:
                raise UserError(f"--{name} {value}: expected a whole number of 1 or more")
        if self.linkage not in LINKAGES:
            raise UserError(f"linkage {self.linkage!r}: give one of {', '.join(LINKAGES)}")
