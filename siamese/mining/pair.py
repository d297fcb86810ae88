"""A pair of questions, as people read it."""

from typing import Any, NamedTuple

from siamese.model.differences import differs


class Pair(NamedTuple):
    """Two questions whose similarity is above the threshold, and that the verdict, if any, calls duplicates."""

    question1: str
    question2: str
    similarity: float  # cosine, to six decimals
    probability: float  # of being duplicates, by the model's calibration
    id1: Any = None  # if the questions have ids
    id2: Any = None

    @property
    def differs(self) -> str:
        """Differences in numbers, names and the like, such as "1603 / 1722", or ""."""
        return differs(self.question1, self.question2)
