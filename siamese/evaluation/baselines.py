"""Baselines: simpler ways to score the same pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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

    labels: np.ndarray  # (n,) 0 or 1
    scores: np.ndarray  # (n,)
    threshold: float | None  # None: no verdicts, because there are no pairs to choose it on
    probability: np.ndarray | None = None  # (n,) of being duplicates, if the scorer gives one

    def take(self, which: np.ndarray) -> "Scored":
        """Return the scores of some of the pairs; (n,) bool."""
        probability = None if self.probability is None else self.probability[which]
        return Scored(self.labels[which], self.scores[which], self.threshold, probability)

    def metrics(self) -> Scores:
        """Return every metric."""
        return all_scores(self.labels, self.scores, self.threshold, self.probability)


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

    def row(score: Callable[[Pairs], np.ndarray], threshold: float | None = None) -> Scored:
        scores = score(pairs)
        if tuning is None:
            return Scored(pairs.labels, scores, threshold)
        tuned = score(tuning)
        chosen = choose_threshold(tuning.labels, tuned) if threshold is None else threshold
        return Scored(pairs.labels, scores, chosen, calibrate(tuning.labels, tuned).probability(scores))

    def of(scorer: Scorer) -> Callable[[Pairs], np.ndarray]:
        return lambda some: scorer(some.question1, some.question2)

    scorers: dict[str, Scorer] = {"tf-idf": tfidf_similarity, "mean of embeddings": model.embedding_similarity}
    rows = {name: row(of(scorer)) for name, scorer in (scorers | dict(others)).items()}
    if clusters is not None:
        rows["look-up in training clusters"] = row(lambda some: clusters.linked(some).astype(float), 0.5)
    return rows


def tfidf_similarity(questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
    """Return the cosine of the TF-IDF vectors of each pair, (n,); the weights are fitted on these questions."""
    text = optional("sklearn.feature_extraction.text", "evaluate")
    vectorizer = text.TfidfVectorizer(token_pattern=r"\w+")
    try:
        vectors = vectorizer.fit_transform([*questions1, *questions2])
    except ValueError:  # no question has a word
        return np.zeros(len(questions1))
    n = len(questions1)
    return np.asarray(vectors[:n].multiply(vectors[n:]).sum(axis=1)).ravel()
