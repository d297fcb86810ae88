"""Measure a trained model: scores of verdicts, ranking and mining, and the data of the figures."""

from typing import Any

import numpy as np

from siamese.errors import DivergedError
from siamese.evaluation.metrics import all_scores, average_precision
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs

METRICS = ("average_precision", "roc_auc", "accuracy", "f1")
TITLES = dict(zip(METRICS, ("average precision", "ROC AUC", "accuracy", "F1")))
RESAMPLES = 200
BINS = np.linspace(-1, 1, 81)
LEVELS = 32_768  # to count the pairs of an archive, cosines are rounded to 1/32,768
QUESTIONS_AT_A_TIME = 1_024  # rows of cosines in memory


def measure(model: SiameseModel, test: Pairs, unseen: np.ndarray) -> dict[str, Any]:
    """Score a model on the test pairs.

    Args:
        model: the model, with a threshold chosen on validation pairs.
        test: n pairs.
        unseen: (n,) bool, True for pairs of which neither question was trained on.

    Returns:
        "all" and "unseen": METRICS of each; "mining": `mining_average_precision` of the unseen pairs; "histogram":
        counts of the unseen non-duplicates and duplicates in BINS; "resamples": the unseen average precision of
        RESAMPLES bootstrap samples, the same ones for every model, None for a sample without a duplicate.
    """
    similarity = model.similarity(test.question1, test.question2)
    labels, scores = test.labels[unseen], similarity[unseen]
    every = all_scores(test.labels, similarity, model.threshold)
    some = all_scores(labels, scores, model.threshold)
    drawings = np.random.default_rng(0).integers(0, len(labels), (RESAMPLES, len(labels)))
    return {
        "all": {name: getattr(every, name) for name in METRICS},
        "unseen": {name: getattr(some, name) for name in METRICS},
        "mining": mining_average_precision(model, test.take(np.flatnonzero(unseen))),
        "histogram": [np.histogram(scores[labels == label], BINS)[0].tolist() for label in (0, 1)],
        "resamples": [round(average_precision(labels[d], scores[d]), 5) if labels[d].any() else None for d in drawings],
    }


def mining_average_precision(model: SiameseModel, pairs: Pairs) -> float:
    """Return the average precision of finding the duplicates among all pairs of an archive.

    The archive holds the N distinct questions of `pairs`, and its N(N − 1)/2 pairs are ranked by cosine. Pairs labelled
    as duplicates count as right, all others as wrong. Unlabelled duplicates are few, and the same for every model.
    """
    questions = sorted({*pairs.question1, *pairs.question2})
    number = {question: i for i, question in enumerate(questions)}
    vectors = model.encode(questions)
    if not np.isfinite(vectors).all():
        raise DivergedError("vectors are not finite; try a lower learning rate")
    linked = {
        tuple(sorted((number[a], number[b])))
        for a, b, label in zip(pairs.question1, pairs.question2, pairs.labels)
        if label == 1 and a != b
    }
    if not linked:
        return float("nan")
    first, second = np.array(sorted(linked)).T
    counts, found = np.zeros((2, 2 * LEVELS + 1), np.int64)
    for start in range(0, len(vectors), QUESTIONS_AT_A_TIME):
        cosines = np.clip(vectors[start : start + QUESTIONS_AT_A_TIME] @ vectors[start:].T, -1, 1)
        levels = np.rint((cosines + 1) * LEVELS).astype(np.int32)
        counts += np.bincount(levels[np.triu(np.ones(levels.shape, bool), 1)], minlength=len(counts))
        here = (first >= start) & (first < start + QUESTIONS_AT_A_TIME)
        found += np.bincount(levels[first[here] - start, second[here] - start], minlength=len(counts))
    tp, every = np.cumsum(found[::-1]), np.cumsum(counts[::-1])
    return float(np.sum(found[::-1] / len(linked) * tp / np.maximum(every, 1)))
