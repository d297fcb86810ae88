"""The steps by which answers change a model, on arrays of scores, and the choice among them by cross-validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from siamese.review.threshold import Answered, calibrate
from siamese.review.weights import refit

Fold = tuple[np.ndarray, np.ndarray]  # answers to fit on, and answers to score
AS_IS, THRESHOLD, WEIGHTS, TOWER = "as it is", "threshold and calibration", "weights of the verdict", "tower"
FOR_WEIGHTS = 60  # answers, at least, and
OF_EACH = 10  # of each kind
FOR_TOWER, OF_EACH_FOR_TOWER = 200, 40  # the same for the tower
LEAST_PROBABILITY = 1e-3  # of the answer that was given, so that one mistake of a person does not decide


@dataclass(frozen=True)
class Pool:
    """Pairs as one model sees them, some of which have an answer."""

    cosine: np.ndarray  # (n,)
    features: np.ndarray  # (n, f) what differs, see siamese.model.differences
    answered: Answered
    weights: np.ndarray | None  # (f,) of the verdict; None: the cosine alone decides

    def score(self, weights: np.ndarray | None) -> np.ndarray:
        """Return the scores of the pairs under these weights, (n,)."""
        return self.cosine if weights is None else self.cosine - (self.features * weights).sum(axis=1)

    def refitted(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the weights fitted to some of the answers, (f,)."""
        asked, duplicate = self.answered.asked[chosen], self.answered.duplicate[chosen]
        start = np.zeros(self.features.shape[1]) if self.weights is None else self.weights
        return refit(self.cosine[asked], self.features[asked], duplicate, start)


@dataclass(frozen=True)
class Tried:
    """A step, and what each answer's pair got in a fold that did not know the answer; NaN for pairs across folds."""

    step: str
    losses: np.ndarray  # (m,) log losses
    scores: np.ndarray  # (m,)

    @property
    def mean(self) -> float:
        """Mean log loss, in nats."""
        return float(np.nanmean(self.losses))

    def gain(self, other: "Tried") -> tuple[float, float]:
        """Return how much lower the mean is than that of another step, with its standard error."""
        less = (other.losses - self.losses)[~np.isnan(self.losses)]
        return float(less.mean()), float(less.std() / max(len(less), 1) ** 0.5)


def try_as_is(probability: np.ndarray, scores: np.ndarray, duplicate: np.ndarray, folds: Sequence[Fold]) -> Tried:
    """Return the losses of the model's own probabilities, (m,) of the answered pairs; they know no answer."""
    losses = np.full(len(duplicate), np.nan)
    for _, held in folds:
        losses[held] = _loss(probability[held], duplicate[held])
    return Tried(AS_IS, losses, scores)


def try_step(step: str, folds: Sequence[Fold], pool_of: Callable[[np.ndarray], Pool]) -> Tried | None:
    """Return the losses of a step; None if it cannot be taken in a fold.

    Args:
        step: THRESHOLD, WEIGHTS or TOWER.
        folds: of the answers.
        pool_of: returns the pool as seen by the model of the step that knows the answers with these numbers.
    """
    losses = scores = np.zeros(0)
    for fit, held in folds:
        pool = pool_of(fit)
        asked, duplicate, weight = pool.answered.asked, pool.answered.duplicate, pool.answered.weight
        if not len(losses):
            losses, scores = np.full(len(asked), np.nan), np.full(len(asked), np.nan)
        score = pool.score(pool.refitted(fit) if step == WEIGHTS else pool.weights)
        fitted = calibrate(score, Answered(asked[fit], duplicate[fit], weight))
        if fitted is None:
            return None
        scores[held] = score[asked[held]]
        losses[held] = _loss(fitted.probability(scores[held]), duplicate[held])
    return Tried(step, losses, scores) if len(losses) else None


def _loss(probability: np.ndarray, duplicate: np.ndarray) -> np.ndarray:
    found: np.ndarray = -np.log(np.maximum(np.where(duplicate == 1, probability, 1 - probability), LEAST_PROBABILITY))
    return found


def enough_for_weights(duplicate: np.ndarray) -> bool:
    """Return whether there are enough answers of each kind to fit the weights of a verdict."""
    return len(duplicate) >= FOR_WEIGHTS and min(duplicate.sum(), (1 - duplicate).sum()) >= OF_EACH


def enough_for_tower(duplicate: np.ndarray) -> bool:
    """Return whether there are enough answers of each kind to train the tower."""
    return len(duplicate) >= FOR_TOWER and min(duplicate.sum(), (1 - duplicate).sum()) >= OF_EACH_FOR_TOWER


def better(step: Tried | None, than: Tried) -> bool:
    """Return whether a step gains more than its standard error over a simpler one."""
    if step is None:
        return False
    gain, error = step.gain(than)
    return gain > error
