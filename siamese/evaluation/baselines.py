"""Baselines: simpler ways to score the same pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siamese.evaluation.metrics import Scores, all_scores
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import calibrate
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.system.optional import optional

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # from questions 1 and 2 of n pairs to (n,) scores


@dataclass(frozen=True)
class Scored:
    """Scores of n pairs, and the threshold above which they mean duplicates."""

    labels: np.ndarray
    scores: np.ndarray
    threshold: float | None  # None: no verdicts, because there are no pairs to choose it on
    probability: np.ndarray | None = None  # of being duplicates, if the scorer gives one

    def metrics(self, which: np.ndarray) -> Scores:
        """Return every metric of some of the pairs; (n,) bool."""
        probability = None if self.probability is None else self.probability[which]
        return all_scores(self.labels[which], self.scores[which], self.threshold, probability)


def baselines(
    model: SiameseModel, pairs: Pairs, tuning: Pairs | None, clusters: Clusters | None, others: Mapping[str, Scorer]
) -> dict[str, Scored]:
    """Score pairs with every baseline.

    Args:
        model: the detector, whose word vectors are one of the baselines.
        pairs: the pairs to score.
        tuning: other pairs, to choose thresholds and fit probabilities on; None: no verdicts and no probabilities.
        clusters: of the training pairs, for the look-up baseline; None: no such baseline.
        others: more scorers, by name.
    """
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
    """Return the cosine of the TF-IDF vectors of each pair, fitted on these questions; (n,)."""
    text = optional("sklearn.feature_extraction.text", "evaluate")
    vectorizer = text.TfidfVectorizer(token_pattern=r"\w+")
    try:
        vectors = vectorizer.fit_transform([*questions1, *questions2])
    except ValueError:  # no question has a word
        return np.zeros(len(questions1))
    n = len(questions1)
    return np.asarray(vectors[:n].multiply(vectors[n:]).sum(axis=1)).ravel()
