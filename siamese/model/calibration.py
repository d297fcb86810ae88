"""Turn similarities into probabilities, for any share of duplicates. Imports numpy only."""

import sys
from dataclasses import dataclass

import numpy as np

from siamese.errors import UserError

BINS = 15
HIGHEST = 1 - 1e-6  # largest threshold that is chosen, so that a question is always a duplicate of itself
LEAST = 10  # pairs of each label to fit a threshold and a probability on


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(slope · similarity + intercept), fitted where a share `prior` of the pairs are duplicates.

    Source: Platt 1999; the change of the prior: Saerens, Latinne, Decaestecker 2002.
    """

    slope: float
    intercept: float
    prior: float  # share of duplicates among the pairs it was fitted on, 0 to 1 (exclusive)

    def __post_init__(self) -> None:
        for number in (self.slope, self.intercept):
            if type(number) not in (int, float) or not -sys.float_info.max <= number <= sys.float_info.max:
                raise UserError(f"calibration {number!r}: expected a finite number")
        check_prior(self.prior)

    def probability(self, similarity: np.ndarray | float, prior: float | None = None) -> np.ndarray:
        """Return the probability that pairs of this similarity are duplicates, in the shape of `similarity`.

        Args:
            similarity: cosines.
            prior: expected share of duplicates, 0 to 1 (exclusive); None: as among the pairs it was fitted on.
        """
        return np.exp(-np.logaddexp(0.0, -self.log_odds(similarity, prior)))  # never overflows

    def log_odds(self, similarity: np.ndarray | float, prior: float | None = None) -> np.ndarray:
        """Return the log-odds of that probability, in the shape of `similarity`."""
        return self.slope * np.asarray(similarity) + self.intercept + self._shift(prior)

    def at(self, prior: float) -> "Calibration":
        """Return the same calibration, stated for another share of duplicates among the pairs, 0 to 1 (exclusive)."""
        return Calibration(self.slope, self.intercept + self._shift(prior), prior)

    def threshold(self, prior: float | None = None) -> float | None:
        """Return the similarity with probability ½, clipped to 0 to 1, or None if the slope is not positive."""
        if self.slope <= 0:
            return None
        return float(np.clip(-(self.intercept + self._shift(prior)) / self.slope, 0.0, HIGHEST))

    def _shift(self, prior: float | None) -> float:
        return 0.0 if prior is None else _logit(check_prior(prior)) - _logit(self.prior)


def check_prior(prior: float) -> float:
    """Return a share of duplicates as a float. Raise UserError if it is not between 0 and 1."""
    if type(prior) not in (int, float) or not 0 < prior < 1:
        raise UserError(f"prior {prior!r}: expected a share of duplicates between 0 and 1, such as 0.01")
    return float(prior)


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def calibrate(labels: np.ndarray, scores: np.ndarray) -> Calibration:
    """Fit a logistic regression of labels on scores (Platt scaling).

    With one label only there is nothing to fit: the result is almost sure of that label, whatever the score.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return Calibration(0.0, 20.0 if labels[0] == 1 else -20.0, 0.5)
    fitted = LogisticRegression(C=1e6).fit(scores[:, None], labels)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]), float(np.mean(labels == 1)))


def unfit(labels: np.ndarray, fitted: Calibration) -> str | None:
    """Return why a calibration fitted on these labels says nothing about other pairs, or None."""
    duplicates, others = int((labels == 1).sum()), int((labels != 1).sum())
    if min(duplicates, others) < LEAST:
        return f"{duplicates} duplicates and {others} non-duplicates are too few, {LEAST} of each are needed"
    if fitted.slope <= 0:
        return f"duplicates are no more similar than non-duplicates among the {len(labels):,} pairs"
    return None


def reliability(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return number of pairs, mean probability and share of duplicates (or 0) in bins of equal width; (BINS, 3)."""
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    count, total, duplicates = (np.bincount(which, w, BINS) for w in (None, probability, labels == 1))
    return np.stack((count, total / np.maximum(count, 1), duplicates / np.maximum(count, 1)), axis=1)


def calibration_error(labels: np.ndarray, probability: np.ndarray) -> float:
    """Return the expected calibration error: the mean over pairs of |mean probability − share of duplicates| in a bin.

    Source: Naeini, Cooper, Hauskrecht 2015.
    """
    count, mean, share = reliability(labels, probability).T
    return float((count * np.abs(mean - share)).sum() / len(labels))
