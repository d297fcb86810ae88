"""Metrics of scored pairs. Needs numpy only."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from siamese.model.calibration import calibration_error

RECALLS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The metrics of scored pairs: of the verdicts at a threshold, and of the ranking.

    A metric is None if it is undefined: the ranking if all pairs have one label, the verdicts without a threshold, the
    calibration error without probabilities.
    """

    pairs: int
    duplicates: int
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    confusion: list[list[int]] | None = None  # [[true negatives, false positives], [false negatives, true positives]]
    average_precision: float | None
    roc_auc: float | None
    threshold: float | None  # above it a score means duplicate
    calibration_error: float | None  # mean distance of the probability from the share of duplicates, in 15 bins
    precision_at_recall: dict[str, float]  # by each of RECALLS; empty if there is no duplicate

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics by name, ready for JSON, without `calibration_error` if there were no probabilities."""
        found = {field.name: getattr(self, field.name) for field in fields(Scores)}
        if self.calibration_error is None:
            del found["calibration_error"]
        return found


def verdict_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Return accuracy, precision, recall, F1 and confusion of verdicts; an undefined one is 0.

    Args:
        labels, predicted: (n,) of 0 and 1, n ≥ 1.
    """
    counts = [[int(((labels == actual) & (predicted == said)).sum()) for said in (0, 1)] for actual in (0, 1)]
    (tn, fp), (fn, tp) = counts
    return {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": tp / max(1, tp + fp),
        "recall": tp / max(1, tp + fn),
        "f1": 2 * tp / max(1, 2 * tp + fp + fn),
        "confusion": counts,
    }


def ranked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores, descending, and how many positives and negatives are at or above each."""
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are one step
    positives = np.cumsum(labels == 1)[last]
    return scores[last], positives, last + 1 - positives


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return Σ (recall_k − recall_{k−1}) · precision_k over the distinct scores, descending; nan without a positive."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(tp, prepend=0) / tp[-1] * tp / (tp + fp)))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the chance that a duplicate scores above a non-duplicate; ties count half; nan if either is missing."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    return float(np.trapezoid(np.append(0, tp), np.append(0, fp)) / (tp[-1] * fp[-1]))


def roc_auc_interval(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of `roc_auc`; 0 to 1 if either label is missing.

    Source: the standard error is that of Hanley and McNeil 1982, which needs some ten pairs of each label.
    """
    positives, negatives = int((labels == 1).sum()), int((labels != 1).sum())
    if not positives or not negatives:
        return 0.0, 1.0
    a = roc_auc(labels, scores)
    q1, q2 = a / (2 - a) - a * a, 2 * a * a / (1 + a) - a * a
    variance = (a * (1 - a) + (positives - 1) * q1 + (negatives - 1) * q2) / (positives * negatives)
    half = 1.96 * np.sqrt(max(variance, 0.0))
    return float(max(a - half, 0)), float(min(a + half, 1))


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return recall, precision and false positive rate at each distinct score, descending; needs both labels."""
    _, tp, fp = ranked(labels, scores)
    return {"recall": tp / tp[-1], "precision": tp / (tp + fp), "false_positive_rate": fp / fp[-1]}


def precision_at_recall(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return the precision at the highest threshold that reaches each of RECALLS; empty without a positive."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0:
        return {}
    first = {recall: int(np.argmax(tp >= recall * tp[-1])) for recall in RECALLS}
    return {f"{recall:g}": float(tp[i] / (tp[i] + fp[i])) for recall, i in first.items()}


def precision_by_prior(
    labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, priors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision and recall that verdicts would have if the share of duplicates were different.

    Args:
        labels, scores: (n,) pairs of both labels, from which the rates above each threshold are taken.
        thresholds, priors: (k,) thresholds, and the share of duplicates for each.

    Returns:
        (k,) precision, nan if nothing is called a duplicate, and (k,) recall.
    """
    recall, alarms = (np.array([(scores[labels == kind] > t).mean() for t in thresholds]) for kind in (1, 0))
    called = priors * recall + (1 - priors) * alarms
    return np.divide(priors * recall, called, out=np.full(len(priors), np.nan), where=called > 0), recall


def all_scores(
    labels: np.ndarray, scores: np.ndarray, threshold: float | None, probability: np.ndarray | None = None
) -> Scores:
    """Return every metric of scored pairs.

    Args:
        labels: (n,) 0 or 1, n ≥ 1.
        scores: (n,) finite numbers; higher means more likely a duplicate.
        threshold: above it a score means duplicate; None: no verdicts.
        probability: (n,) 0 to 1, of being duplicates, for the calibration error.
    """
    return Scores(
        pairs=len(labels),
        duplicates=int((labels == 1).sum()),
        **({} if threshold is None else verdict_scores(labels, scores > threshold)),
        average_precision=_or_none(average_precision(labels, scores)),
        roc_auc=_or_none(roc_auc(labels, scores)),
        threshold=threshold,
        calibration_error=None if probability is None else calibration_error(labels, probability),
        precision_at_recall=precision_at_recall(labels, scores),
    )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
