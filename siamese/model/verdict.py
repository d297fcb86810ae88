"""Judge pairs by the cosine, corrected for what a vector blurs: numbers, codes, names, opposites, negation, direction.

    score    = cosine − Σ weightₖ · featureₖ          weightₖ ≥ 0
    log-odds = slope · score + intercept              slope > 0

This is a logistic regression over the cosine and the features of `siamese.model.differences`. No feature speaks for a
duplicate, so a pair's score is at most its cosine, and equal questions, which have none, keep the cosine 1.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.errors import UserError
from siamese.model.calibration import Calibration

HEAVIEST = 10.0  # weight that is accepted; 2 already exceeds every difference of cosines


@dataclass(frozen=True)
class Verdict:
    """Weights of the features, and a calibration of the scores."""

    weights: Mapping[str, float]  # by the names in FEATURES, 0 to HEAVIEST
    calibration: Calibration  # from scores to probability
    threshold: float | None = None  # of the scores, 0 to 1, such as for a wanted precision; None: of probability ½

    def __post_init__(self) -> None:
        from siamese.model.differences import FEATURES  # 10 ms, which models without a verdict do not need

        if not isinstance(self.weights, Mapping) or set(self.weights) != set(FEATURES):
            raise UserError(f"verdict: expected a weight for each of {', '.join(FEATURES)}")
        for name, weight in self.weights.items():
            if type(weight) not in (int, float) or not 0 <= weight <= HEAVIEST:
                raise UserError(f"verdict: weight of {name} {weight!r}: expected a number from 0 to {HEAVIEST:g}")
        if not sys.float_info.min <= self.calibration.slope:
            raise UserError(f"verdict: slope {self.calibration.slope!r}: expected a number above 0")
        if self.threshold is not None and not (type(self.threshold) in (int, float) and 0 <= self.threshold <= 1):
            raise UserError(f"verdict: threshold {self.threshold!r}: expected a number from 0 to 1")

    def __str__(self) -> str:
        weights = "".join(f" − {weight:.2f} · {name}" for name, weight in self.weights.items() if weight >= 0.005)
        fitted = self.calibration
        return f"log-odds = {fitted.slope:.2f} · (similarity{weights}) {fitted.intercept:+.2f}"

    def scores(self, questions1: Sequence[str], questions2: Sequence[str], similarity: np.ndarray) -> np.ndarray:
        """Return the corrected cosines of n pairs, (n,) float64; the same for (b, a) as for (a, b), to the bit."""
        from siamese.model.differences import features
        from siamese.model.words import words_of

        found = features((words_of(a), words_of(b)) for a, b in zip(questions1, questions2))
        return self.corrected(similarity, found)

    def corrected(self, similarity: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return the scores of n pairs with these cosines, (n,), and features, (n, FEATURES); (n,) float64."""
        from siamese.model.differences import FEATURES

        weights = np.array([self.weights[name] for name in FEATURES])
        # Not a matrix product, whose order of summation depends on the number of pairs.
        return np.asarray(similarity, np.float64) - (found * weights).sum(axis=1)

    @property
    def lowers(self) -> bool:
        """Whether each difference that `differences` shows lowers the score by a millionth or more."""
        from siamese.model.differences import SHOWN

        return all(weight * SHOWN > 2e-6 for name, weight in self.weights.items() if name != "rare words")

    def rule(self, prior: float | None = None) -> "Rule":
        """Return how this verdict judges pairs of which a share `prior` are duplicates.

        The threshold is the verdict's own if it has one and no prior is given, else the one of probability ½.
        """
        own = self.threshold if prior is None else None
        threshold = self.calibration.threshold(prior) if own is None else own
        assert threshold is not None  # the slope is above 0
        return Rule(threshold, self.calibration, prior, self)


@dataclass(frozen=True)
class Rule:
    """How pairs are judged: a pair whose score is above the threshold is a duplicate.

    With a verdict, the score is the corrected cosine, and the threshold the one of probability ½ unless the verdict has
    its own. Without one, the score is the cosine.
    """

    threshold: float  # 0 to 1
    calibration: Calibration  # from scores to probability
    prior: float | None = None  # expected share of duplicates; None: as among the pairs of the calibration
    verdict: Verdict | None = None

    def scores(self, questions1: Sequence[str], questions2: Sequence[str], similarity: np.ndarray) -> np.ndarray:
        """Return the scores of n pairs with these cosines, (n,) float64, none above its cosine."""
        if self.verdict is None:
            return np.asarray(similarity, np.float64)
        return self.verdict.scores(questions1, questions2, similarity)

    def probability(self, scores: np.ndarray | float) -> np.ndarray:
        """Return the probability that pairs of these scores are duplicates, in the shape of `scores`.

        It is one half or more at a score of 1, which is above every threshold that a model chooses.
        """
        found = self.calibration.probability(scores, self.prior)
        return np.where(np.asarray(scores) == 1, np.maximum(found, 0.5), found)

    def log_odds(self, scores: np.ndarray | float) -> np.ndarray:
        """Return the log-odds of that probability, in the shape of `scores`; above 0 at a score of 1."""
        found = self.calibration.log_odds(scores, self.prior)
        return np.where(np.asarray(scores) == 1, np.maximum(found, sys.float_info.epsilon), found)


def read_verdict(settings: Mapping[str, Any] | None) -> Verdict | None:
    """Return the verdict that a model folder holds, if any. Raise UserError or TypeError if it is not one."""
    if settings is None:
        return None
    if not isinstance(settings, Mapping) or set(settings) - {"threshold"} != {"weights", "calibration"}:
        raise UserError("verdict: expected weights and a calibration")
    return Verdict(dict(settings["weights"]), Calibration(**settings["calibration"]), settings.get("threshold"))
