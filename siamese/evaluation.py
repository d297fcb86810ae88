"""How good a detector is: metrics, the choice of a threshold, baselines. numpy only at import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.calibration import calibrate, calibration_error
from siamese.config import wanted_precision
from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.keys import Clusters
    from siamese.model import SiameseModel
    from siamese.pairs import Pairs

RECALLS = (0.5, 0.8, 0.9, 0.95)

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # questions 1 and 2 of n pairs to (n,) scores

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


def precision_at_recall(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The precision at the highest threshold that reaches a recall, by RECALLS; empty without a positive."""
    _, tp, fp = _ranked(labels, scores)
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


# The threshold


def choose_threshold(labels: np.ndarray, scores: np.ndarray, goal: str = "accuracy") -> float:
    """The threshold, 0 to 1, above which a score says duplicate.

    The candidates are 0, the midpoints between neighbouring distinct scores, and
    1, which calls nothing a duplicate; equal scores always fall on one side.
    Among equally good ones the highest wins.

    Args:
        labels: (n,) 0 or 1, of validation pairs, never of those to be scored.
        scores: (n,) at most 1.
        goal: "probability": where that of being a duplicate crosses ½ (for
            accuracy where a higher score makes it less likely); "accuracy"; "f1";
            or "precision=P": the most recall with at least that precision.

    Raises:
        UserError: an unknown goal, or a precision that no threshold reaches.
    """
    wanted = wanted_precision(goal)
    if goal == "probability":
        crossing = calibrate(labels, scores).threshold()
        return choose_threshold(labels, scores) if crossing is None else crossing
    values, tp, fp = _ranked(labels, np.clip(scores, 0, 1))
    values, tp, fp = np.append(1, values), np.append(0, tp), np.append(0, fp)
    # After step k everything at values[k] or above is called a duplicate, so the
    # threshold lies below values[k] and not below values[k + 1].
    thresholds = np.append((values[:-1] + values[1:]) / 2, 0.0)
    # Between neighbouring floats the midpoint rounds to one of them; it must not be the upper one.
    thresholds[:-1] = np.where(thresholds[:-1] < values[:-1], thresholds[:-1], values[1:])
    thresholds[0] = 1.0
    # "score > threshold" can never be true of 0, nor false of a 1 but by calling nothing a duplicate
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


# Evaluation beside baselines


@dataclass(frozen=True)
class Scored:
    """Pairs with a score each, and the threshold above which they count as duplicates."""

    labels: np.ndarray
    scores: np.ndarray
    threshold: float | None  # None: nothing to choose it on, so no verdicts
    probability: np.ndarray | None = None  # of being duplicates, where the scorer gives one

    def metrics(self, which: np.ndarray) -> dict[str, Any]:
        """Every metric over some of the pairs; (n,) bool."""
        found = all_scores(self.labels[which], self.scores[which], self.threshold or 0.0)
        if self.threshold is None:
            found |= dict.fromkeys(("accuracy", "precision", "recall", "f1", "confusion", "threshold"))
        if self.probability is not None:
            found["calibration_error"] = calibration_error(self.labels[which], self.probability[which])
        found["precision_at_recall"] = precision_at_recall(self.labels[which], self.scores[which])
        return found


def evaluate(
    model: "SiameseModel",
    pairs: "Pairs",
    *,
    threshold: float | None = None,
    tuning: "Pairs | None" = None,
    training: "Pairs | None" = None,
    others: Mapping[str, Scorer] | None = None,
) -> dict[str, Any]:
    """Score a model and the baselines on labelled pairs.

    Args:
        model: the detector.
        pairs: the pairs to score.
        threshold: for the model's verdicts, instead of its own.
        tuning: validation pairs, on which the baselines' thresholds are chosen and
            their probabilities fitted; without them the baselines have neither.
        training: the pairs that the model was trained on. They tell which pairs
            are unseen (neither question was trained on), where the file has no
            `unseen` column, and give the look-up baseline.
        others: more scorers to set beside the model, by name.

    Returns:
        The metrics over all pairs; under "baselines" the same of each baseline;
        under "unseen" all of this again over the unseen pairs, or None where
        they are not known; "unseen_from" says whence, or why not.
    """
    from siamese.keys import Clusters

    clusters = Clusters(training) if training is not None else None
    similarity = model.similarity(pairs.question1, pairs.question2)
    ours = Scored(
        pairs.labels, similarity, model.threshold if threshold is None else threshold, model.probability(similarity)
    )
    rows = {"model": ours}
    if threshold is None and model.config.threshold is not None and "chosen_threshold" in model.facts:
        # A preset with a published threshold: beside it, the one that its validation pairs would choose.
        chosen = model.facts["chosen_threshold"]
        rows["the same, threshold from validation"] = Scored(pairs.labels, similarity, chosen)
    rows |= _baselines(model, pairs, tuning, clusters, others or {})

    def over(which: np.ndarray) -> dict[str, Any]:
        scores = {name: row.metrics(which) for name, row in rows.items()}
        majority = float(max(np.bincount(pairs.labels[which], minlength=2)) / which.sum())
        return {**scores.pop("model"), "baselines": {"majority": {"accuracy": majority}, **scores}}

    result = over(np.ones(len(pairs), bool))
    unseen, result["unseen_from"] = unseen_pairs(pairs, clusters)
    result["unseen"] = over(unseen) if unseen is not None and unseen.any() else None
    return result


def unseen_pairs(pairs: "Pairs", clusters: "Clusters | None") -> tuple[np.ndarray | None, str]:
    """(n,) bool, the pairs of which neither question was trained on, or None where nobody knows; and whence."""
    if pairs.unseen is not None:
        return pairs.unseen, "the file's column 'unseen'"
    if clusters is not None:
        return clusters.unseen(pairs), "the training pairs"
    return None, "unknown: no column 'unseen', and the training pairs are not at hand; give them by --trained-on PATH"


def _baselines(
    model: "SiameseModel",
    pairs: "Pairs",
    tuning: "Pairs | None",
    clusters: "Clusters | None",
    others: Mapping[str, Scorer],
) -> dict[str, Scored]:
    """Every baseline's scores of the pairs, its threshold and its probability from the tuning pairs."""
    scorers: dict[str, Scorer] = {"tf-idf": tfidf_similarity, "mean of embeddings": model.embedding_similarity}
    rows = {}
    for name, score in (scorers | dict(others)).items():
        row = Scored(pairs.labels, score(pairs.question1, pairs.question2), None)
        if tuning is not None:
            tuned = score(tuning.question1, tuning.question2)
            fitted = calibrate(tuning.labels, tuned).probability(row.scores)
            row = replace(row, threshold=choose_threshold(tuning.labels, tuned), probability=fitted)
        rows[name] = row
    if clusters is not None:
        row = Scored(pairs.labels, clusters.linked(pairs).astype(float), 0.5)
        if tuning is not None:
            known = calibrate(tuning.labels, clusters.linked(tuning).astype(float))
            row = replace(row, probability=known.probability(row.scores))
        rows["look-up in training clusters"] = row
    return rows


def tfidf_similarity(questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
    """Cosine of TF-IDF vectors over words, their weights taken from these questions; (n,)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    both = [*questions1, *questions2]
    try:
        vectors = vectorizer.fit_transform(both)
    except ValueError:  # no question has a word
        return np.zeros(len(questions1))
    n = len(questions1)
    return np.asarray(vectors[:n].multiply(vectors[n:]).sum(axis=1)).ravel()
