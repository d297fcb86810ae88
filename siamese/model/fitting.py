"""Fit a verdict to labelled pairs and to near misses, which the labelled ones have few of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from siamese.model.calibration import LEAST, Calibration, calibrate, unfit
from siamese.model.differences import FEATURES, features
from siamese.model.model import SiameseModel
from siamese.model.verdict import HEAVIEST, Verdict
from siamese.model.words import words_of
from siamese.pairs.near_misses import near_misses
from siamese.pairs.pairs import Pairs

QUESTIONS = 8_192  # that near misses are made of
RIDGE = 1e-3  # of the squared weights, which keeps those of rare features small


def fit_verdict(model: SiameseModel, labelled: Pairs, questions: Sequence[str], seed: int = 0) -> Verdict | str:
    """Fit the weights of a verdict to labelled pairs and to near misses, and its calibration to the labelled ones.

    The two weigh the same. Each has a slope and an intercept of its own, since near misses have higher cosines whatever
    their label; the weights, in units of the cosine, are those that suit both.

    Args:
        model: gives the cosines; it is not changed.
        labelled: pairs as people have them that the model was not trained on, such as those of a validation split.
        questions: to make near misses and rewordings of, in English; QUESTIONS of them are enough and drawn. Without
            any, the labelled pairs alone decide, for a model of pairs like these and no others.
        seed: of the near misses.

    Returns:
        The verdict, or why there is none: too few pairs of a label, or duplicates that are no more similar.
    """
    distinct = list(dict.fromkeys(questions))
    sources = [("labelled pairs", labelled)]
    if distinct:
        drawn = np.random.default_rng(seed).permutation(len(distinct))[:QUESTIONS]
        made = list(near_misses([distinct[i] for i in np.sort(drawn)], seed))
        near = Pairs.of([m.question1 for m in made], [m.question2 for m in made], [int(m.is_duplicate) for m in made])
        sources.append(("near misses and rewordings", near))
    parts = []
    for what, pairs in sources:
        if (least := min(np.sum(pairs.labels == 1), np.sum(pairs.labels != 1))) < LEAST:
            return f"{least} {what} of a label are too few, {LEAST} are needed"
        parts.append((pairs, model.similarity(pairs.question1, pairs.question2)))
    verdict = Verdict(_weights(parts), Calibration(1.0, 0.0, 0.5))
    return calibrated(verdict, *parts[0])


def calibrated(verdict: Verdict, pairs: Pairs, similarity: np.ndarray) -> Verdict | str:
    """Return a verdict with its calibration fitted to labelled pairs of these cosines, or why they do not allow it."""
    fitted = calibrate(pairs.labels, verdict.scores(pairs.question1, pairs.question2, similarity))
    return unfit(pairs.labels, fitted) or replace(verdict, calibration=fitted, threshold=None)


def _weights(parts: Sequence[tuple[Pairs, np.ndarray]]) -> dict[str, float]:
    """Return the weights that minimize the mean log loss of the parts, with a slope and an intercept for each."""
    from scipy.optimize import minimize

    count = len(FEATURES)
    data = [
        (
            np.asarray(similarity, np.float64),
            features((words_of(a), words_of(b)) for a, b in zip(pairs.question1, pairs.question2)).astype(np.float64),
            np.where(pairs.labels == 1, 1.0, -1.0),
        )
        for pairs, similarity in parts
    ]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, gradient = x[:count], np.zeros_like(x)
        total = RIDGE * float(weights @ weights)
        gradient[:count] = 2 * RIDGE * weights
        for i, (similarity, found, sign) in enumerate(data):
            at = count + 2 * i
            scores = similarity - found @ weights
            margin = sign * (x[at] * scores + x[at + 1])
            total += float(np.logaddexp(0.0, -margin).mean())
            slope = -sign * np.exp(-np.logaddexp(0.0, margin)) / len(sign)  # of the mean loss in each log-odds
            gradient[:count] -= x[at] * (slope @ found)
            gradient[at], gradient[at + 1] = slope @ scores, slope.sum()
        return total, gradient

    start = np.concatenate((np.full(count, 0.1), np.tile([8.0, -6.0], len(parts))))
    bounds = [(0.0, HEAVIEST)] * count + [(1e-3, None), (None, None)] * len(parts)
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}).x
    return {name: round(float(weight), 6) for name, weight in zip(FEATURES, found)}
