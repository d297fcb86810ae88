"""How good a detector is: metrics, the choice of a threshold, calibration, baselines. numpy only at import."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.model import SiameseModel
    from siamese.pairs import Clusters, Pairs

GOALS = "accuracy, f1 or precision=0.95"


# Metrics


def confusion(labels: np.ndarray, predicted: np.ndarray) -> list[list[int]]:
    """[[true negatives, false positives], [false negatives, true positives]]."""
    return [[int(((labels == actual) & (predicted == said)).sum()) for said in (0, 1)] for actual in (0, 1)]


def verdict_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 of verdicts; 0 where one is not defined.

    Args:
        labels, predicted: (n,) of 0 and 1, n ≥ 1.
    """
    (tn, fp), (fn, tp) = counts = confusion(labels, predicted)
    return {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        "confusion": counts,
    }


def _ranked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Going down the distinct scores: (score, positives at or above it, negatives at or above it)."""
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are one step
    positives = np.cumsum(labels == 1)[last]
    return scores[last], positives, last + 1 - positives


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Σ (recall_k − recall_{k−1}) · precision_k down the distinct scores; nan without a positive."""
    _, tp, fp = _ranked(labels, scores)
    if tp[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(tp, prepend=0) / tp[-1] * tp / (tp + fp)))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a duplicate scores above a non-duplicate, ties counting half; nan without one of them."""
    _, tp, fp = _ranked(labels, scores)
    if tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    return float(np.trapezoid(np.append(0, tp), np.append(0, fp)) / (tp[-1] * fp[-1]))


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Recall, precision and false-positive rate down the distinct scores; needs both labels."""
    _, tp, fp = _ranked(labels, scores)
    return {"recall": tp / tp[-1], "precision": tp / (tp + fp), "false_positive_rate": fp / fp[-1]}


def all_scores(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, Any]:
    """Every metric of scored pairs: verdicts at the threshold, and the ranking."""
    return {
        "pairs": len(labels),
        "duplicates": int((labels == 1).sum()),
        **verdict_scores(labels, scores > threshold),
        "average_precision": average_precision(labels, scores),
        "roc_auc": roc_auc(labels, scores),
        "threshold": threshold,
    }


# The threshold and the probability


def choose_threshold(labels: np.ndarray, scores: np.ndarray, goal: str = "accuracy") -> float:
    """The threshold, 0 to 1, above which a score says duplicate.

    The candidates are 0, the midpoints between neighbouring distinct scores, and
    1, which calls nothing a duplicate; equal scores always fall on one side.
    Among equally good ones the highest wins.

    Args:
        labels: (n,) 0 or 1, of validation pairs, never of those to be scored.
        scores: (n,) at most 1.
        goal: "accuracy", "f1", or "precision=P": the most recall with at least
            that precision.

    Raises:
        UserError: an unknown goal, or a precision that no threshold reaches.
    """
    values, tp, fp = _ranked(labels, np.clip(scores, 0, 1))
    values, tp, fp = np.append(1, values), np.append(0, tp), np.append(0, fp)
    # After step k everything at values[k] or above is called a duplicate, so the
    # threshold lies below values[k] and not below values[k + 1].
    thresholds = np.append((values[:-1] + values[1:]) / 2, 0.0)
    thresholds[0] = 1.0
    # "score > threshold" can never be true of 0, nor false of a 1 but by calling nothing a duplicate
    possible = np.append(True, values[1:] > thresholds[1:])
    positives, negatives = tp[-1], fp[-1]
    if goal == "accuracy":
        value = (tp + negatives - fp) / len(labels)
    elif goal == "f1":
        value = 2 * tp / np.maximum(tp + fp + positives, 1)
    else:
        wanted = wanted_precision(goal)
        reached = (tp / np.maximum(tp + fp, 1) >= wanted) & (tp > 0) & possible
        if not reached.any():
            best = np.max((tp / np.maximum(tp + fp, 1))[possible])
            raise UserError(f"no threshold reaches a precision of {wanted}; the highest is {best:.3f}")
        value = np.where(reached, tp / max(positives, 1), -1)
    return float(thresholds[np.argmax(np.where(possible, value, -1))])


def wanted_precision(goal: str) -> float:
    """P of "precision=P"."""
    name, _, number = goal.partition("=")
    try:
        wanted = float(number)
    except ValueError:
        wanted = -1
    if name != "precision" or not 0 < wanted <= 1:
        raise UserError(f"goal {goal!r}: expected {GOALS}")
    return wanted


def calibrate(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of labels on scores (Platt scaling).

    With one label only there is nothing to fit: the share of that label, whatever the score.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return 0.0, 20.0 if labels[0] == 1 else -20.0
    fitted = LogisticRegression(C=1e6).fit(scores[:, None], labels)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
