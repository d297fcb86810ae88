"""Metrics of scored pairs. numpy only."""

from typing import Any

import numpy as np

RECALLS = (0.5, 0.8, 0.9, 0.95)


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


def ranked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Going down the distinct scores: (score, positives at or above it, negatives at or above it)."""
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are one step
    positives = np.cumsum(labels == 1)[last]
    return scores[last], positives, last + 1 - positives


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Σ (recall_k − recall_{k−1}) · precision_k down the distinct scores; nan without a positive."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(tp, prepend=0) / tp[-1] * tp / (tp + fp)))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a duplicate scores above a non-duplicate, ties counting half; nan without one of them."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    return float(np.trapezoid(np.append(0, tp), np.append(0, fp)) / (tp[-1] * fp[-1]))


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Recall, precision and false-positive rate down the distinct scores; needs both labels."""
    _, tp, fp = ranked(labels, scores)
    return {"recall": tp / tp[-1], "precision": tp / (tp + fp), "false_positive_rate": fp / fp[-1]}


def precision_at_recall(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The precision at the highest threshold that reaches a recall, by RECALLS; empty without a positive."""
    _, tp, fp = ranked(labels, scores)
    if tp[-1] == 0:
        return {}
    first = {recall: int(np.argmax(tp >= recall * tp[-1])) for recall in RECALLS}
    return {f"{recall:g}": float(tp[i] / (tp[i] + fp[i])) for recall, i in first.items()}


def precision_by_prior(
    labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, priors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of the verdicts in streams with other shares of duplicates.

    Args:
        labels, scores: (n,) pairs of both kinds; what is taken from them is how
            often a threshold is passed by duplicates, and by the rest.
        thresholds, priors: (k,) the threshold and the share of duplicates of each stream.

    Returns:
        (k,) precision, nan where nothing is called a duplicate, and (k,) recall.
    """
    recall, alarms = (np.array([(scores[labels == kind] > t).mean() for t in thresholds]) for kind in (1, 0))
    called = priors * recall + (1 - priors) * alarms
    return np.divide(priors * recall, called, out=np.full(len(priors), np.nan), where=called > 0), recall


def all_scores(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, Any]:
    """Every metric of scored pairs: verdicts at the threshold, and the ranking; None for what is not defined."""
    return {
        "pairs": len(labels),
        "duplicates": int((labels == 1).sum()),
        **verdict_scores(labels, scores > threshold),
        "average_precision": _or_none(average_precision(labels, scores)),
        "roc_auc": _or_none(roc_auc(labels, scores)),
        "threshold": threshold,
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
