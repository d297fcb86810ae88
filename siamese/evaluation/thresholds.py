"""Choose a threshold on labelled pairs."""

import numpy as np

from siamese.config import wanted_precision
from siamese.errors import UserError
from siamese.evaluation.metrics import ranked, roc_auc_interval
from siamese.model.calibration import HIGHEST, LEAST, calibrate, unfit
from siamese.model.fitting import calibrated
from siamese.model.model import SiameseModel
from siamese.model.verdict import Verdict
from siamese.pairs.pairs import Pairs


def tune(model: SiameseModel, pairs: Pairs, similarity: np.ndarray, goal: str = "probability") -> str | None:
    """Fit a model's probability to labelled pairs and choose its threshold.

    Args:
        model: changed, unless there are too few pairs of a label or the probability would not rise with the similarity.
            Its verdict, if any, keeps its weights and is calibrated anew. It is removed if it cannot be, or if the goal
            is not probability, since a verdict always means a probability of one half.
        pairs: n pairs that are not to be scored.
        similarity: (n,) of these pairs.
        goal: as in `choose_threshold`.

    Returns:
        Why the model keeps its own threshold and probability, or None.

    Raises:
        UserError: as `choose_threshold`. The probability is fitted nevertheless.
    """
    wanted_precision(goal)  # refuses an unknown goal
    labels = pairs.labels
    fitted = calibrate(labels, similarity)
    if reason := unfit(labels, fitted):
        return f"threshold and probability are not fitted: {reason}"
    model.calibration = fitted
    if model.verdict is not None:
        anew = calibrated(model.verdict, pairs, similarity)
        model.verdict = anew if isinstance(anew, Verdict) and goal == "probability" else None
    model.threshold = min(choose_threshold(labels, similarity, goal), HIGHEST)
    return None


def doubts(labels: np.ndarray, similarity: np.ndarray, threshold: float) -> list[str]:
    """Return what speaks against a model with these similarities of n validation pairs."""
    found = []
    if not (similarity > threshold).any():
        found.append(f"it calls none of its {len(labels):,} validation pairs a duplicate")
    low, high = roc_auc_interval(labels, similarity)
    if low <= 0.5 and min(np.bincount(labels == 1, minlength=2)) >= LEAST:  # `unfit` says that they are too few
        found.append(f"similarity may not tell duplicates apart: ROC AUC on validation {low:.2f} to {high:.2f} (95 %)")
    return found


def choose_threshold(labels: np.ndarray, scores: np.ndarray, goal: str = "accuracy") -> float:
    """Return the threshold, 0 to 1, above which a score means duplicate.

    The candidates are 0, the midpoints between neighbouring distinct scores, and 1, which calls nothing a duplicate.
    The highest of equally good ones wins.

    Args:
        labels: (n,) 0 or 1, of validation pairs, never of the pairs to score.
        scores: (n,) at most 1.
        goal: "probability": where the probability of a duplicate crosses ½, or as for "accuracy" if it falls with the
            score; "accuracy"; "f1"; or "precision=P": the highest recall with at least that precision.

    Raises:
        UserError: the goal is unknown, or no threshold reaches the precision.
    """
    wanted = wanted_precision(goal)
    if goal == "probability":
        crossing = calibrate(labels, scores).threshold()
        return choose_threshold(labels, scores) if crossing is None else crossing
    values, tp, fp = ranked(labels, np.clip(scores, 0, 1))
    values, tp, fp = np.append(1, values), np.append(0, tp), np.append(0, fp)
    # After step k every score of values[k] or more means duplicate: values[k + 1] <= threshold < values[k].
    thresholds = np.append((values[:-1] + values[1:]) / 2, 0.0)
    # The midpoint of neighbouring floats rounds to one of them; it must not be the upper one.
    thresholds[:-1] = np.where(thresholds[:-1] < values[:-1], thresholds[:-1], values[1:])
    thresholds[0] = 1.0
    # score > threshold is never true of a score of 0, nor false of 1 unless nothing is a duplicate.
    possible = np.append(True, values[1:] > thresholds[1:])
    positives, negatives = tp[-1], fp[-1]
    if goal == "accuracy":
        value = (tp + negatives - fp) / len(labels)
    elif goal == "f1":
        value = 2 * tp / np.maximum(tp + fp + positives, 1)
    else:
        reached = (tp / np.maximum(tp + fp, 1) >= wanted) & (tp > 0) & possible
        if not reached.any():
            best = np.max((tp / np.maximum(tp + fp, 1))[possible])
            raise UserError(f"no threshold reaches a precision of {wanted}; the highest is {best:.3f}")
        value = np.where(reached, tp / max(positives, 1), -1)
    return float(thresholds[np.argmax(np.where(possible, value, -1))])
