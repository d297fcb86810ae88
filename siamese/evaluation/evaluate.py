"""How good a detector is: metrics, the choice of a threshold, baselines. numpy only at import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.evaluation.metrics import all_scores, precision_at_recall
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import calibrate, calibration_error

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel
    from siamese.pairs.clusters import Clusters
    from siamese.pairs.pairs import Pairs


Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # questions 1 and 2 of n pairs to (n,) scores


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
    from siamese.pairs.clusters import Clusters

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
