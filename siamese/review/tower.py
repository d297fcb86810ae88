"""Adapt an LSTM tower to answers, starting from the current one. Needs torch.

    loss = logistic loss of the labelled pairs + KEEP · mean(1 − cos(vector, former vector))

The labelled pairs are the answers, and as many hard negatives: pairs of the pool that are as similar as the answered
ones, but unlikely to be duplicates. The second term holds the vectors of the archive's questions and of the pairs that
come with the package where they are, so that the tower forgets little. The number of steps follows from the number of
pairs: EPOCHS times all of them, MOST_STEPS at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from siamese.losses.distillation import distance
from siamese.losses.labelled import LogisticLoss
from siamese.model.calibration import Calibration
from siamese.model.compact import rounded
from siamese.model.encoders import PAIRS
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.review.threshold import Answered, calibrate
from siamese.text.ragged import Tokens
from siamese.training.loop import fast_and_repeatable
from siamese.training.optimizers import Adam
from siamese.training.start import arrays, make_tower
from siamese.training.step import tensors

BATCH, HELD_BATCH = 64, 256  # pairs and held questions of a step
EPOCHS, MOST_STEPS = 8, 200
RATE = 1e-3  # learning rate, which falls to 0
KEEP = 10.0
MOST_HELD = 20_000  # questions whose vectors are held
UNLIKELY = 0.2  # probability of a duplicate below which a pair of the pool is a negative
LONGEST = 64  # tokens of a question that are learned from


@dataclass(frozen=True)
class Forgotten:
    """What a new tower makes of the pairs that come with the package, by the former calibration."""

    before: float  # mean log loss, in nats
    after: float
    cosine: float  # mean, of the new vectors to the former ones

    def __str__(self) -> str:
        return (
            f"log loss on the pairs that come with the package {self.before:.3f} before, {self.after:.3f} after; their "
            f"vectors have a mean cosine of {self.cosine:.4f} with the former ones"
        )


def hard_negatives(pairs: Pairs, probability: np.ndarray, asked: np.ndarray) -> Pairs:
    """Return the most similar pairs without an answer that are unlikely to be duplicates, as many as have an answer.

    Args:
        pairs: n pairs of the pool.
        probability: (n,) of being duplicates.
        asked: the pairs that have an answer, which may not be known.
    """
    left = np.setdiff1d(np.flatnonzero(probability < UNLIKELY), asked)
    chosen = left[np.argsort(-probability[left], kind="stable")[: len(asked)]]
    found = pairs.take(chosen)
    return replace(found, labels=np.zeros(len(chosen), found.labels.dtype))


def with_tower(
    model: SiameseModel, pairs: Pairs, answered: Answered, fit: np.ndarray, questions: Sequence[str], seed: int
) -> SiameseModel:
    """Return a copy of a model whose tower knows some of the answers.

    Args:
        model: the current one.
        pairs: the pool.
        answered: its answers.
        fit: numbers of the answers that may be known.
        questions: of the archive.
        seed: as in `adapt_tower`.
    """
    known = Answered(answered.asked[fit], answered.duplicate[fit], answered.weight)
    cosine = model.similarity(pairs.question1, pairs.question2)
    fitted = calibrate(cosine, known) or model.calibration
    more = hard_negatives(pairs, fitted.probability(cosine), answered.asked)
    chosen = pairs.take(known.asked)
    labels = np.concatenate((known.duplicate, np.zeros(len(more), int)))
    labelled = Pairs(chosen.question1.join(more.question1), chosen.question2.join(more.question2), labels)
    return adapt_tower(model, labelled, questions, fitted, seed)


@fast_and_repeatable()
def adapt_tower(
    model: SiameseModel, labelled: Pairs, questions: Sequence[str], calibration: Calibration, seed: int
) -> SiameseModel:
    """Return a copy of a model with an adapted tower; its threshold, calibration and verdict are the former ones.

    Args:
        model: an LSTM, of which the vector of a question does not depend on its batch.
        labelled: n pairs, 1 or more.
        questions: of the archive.
        calibration: of the cosines of pairs like the labelled ones.
        seed: of the order of pairs, and of the questions held.
    """
    random, shipped = np.random.default_rng(seed), read_pairs(PAIRS)
    held = list(dict.fromkeys((*questions, *shipped.question1, *shipped.question2)))
    held = [held[i] for i in np.sort(random.permutation(len(held))[:MOST_HELD])]
    targets, held_tokens = torch.from_numpy(model.encode(held)), _tokens(model, held)
    first, second = _tokens(model, labelled.question1), _tokens(model, labelled.question2)
    tower = make_tower(model.config, len(model.tokenizer))
    tower.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in model.weights.items()})
    objective = LogisticLoss()
    objective.start_at(calibration.slope, -calibration.intercept / max(calibration.slope, 1e-6))
    optimizer = Adam(tower.parameters(), lr=RATE, fused=True)
    steps = min(MOST_STEPS, EPOCHS * -(-len(labelled) // BATCH))
    order = np.concatenate([random.permutation(len(labelled)) for _ in range(EPOCHS)])
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        kept = random.integers(len(held), size=HELD_BATCH)
        batch = first.take(rows).join(second.take(rows)).join(held_tokens.take(kept))
        vectors: Tensor = tower(*tensors(batch, torch.device("cpu")))
        one, two, rest = vectors.split([len(rows), len(rows), len(kept)])
        labels = torch.from_numpy(labelled.labels[rows].astype(np.int64))
        loss = objective(one, two, labels) + KEEP * distance(rest, targets[torch.from_numpy(kept)])
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = arrays(tower.state_dict())
    return replace(model, weights=rounded(weights) if model.config.compact else weights)


def forgotten(model: SiameseModel, adapted: SiameseModel) -> Forgotten:
    """Return what a model has forgotten of the pairs that come with the package."""
    shipped = read_pairs(PAIRS)
    sides = shipped.question1, shipped.question2

    def loss(of: SiameseModel) -> float:
        odds = model.calibration.log_odds(of.similarity(*sides))
        return float(np.logaddexp(0.0, np.where(shipped.labels == 1, -odds, odds)).mean())

    asked = list(sides[0])
    cosine = float((model.encode(asked) * adapted.encode(asked)).sum(axis=1).mean())
    return Forgotten(loss(model), loss(adapted), cosine)


def _tokens(model: SiameseModel, questions: Sequence[str]) -> Tokens:
    """Return the first LONGEST tokens of each question."""
    tokens = model.tokenizer.encode(questions)
    lengths = tokens.lengths
    kept = np.arange(len(tokens.ids)) - np.repeat(tokens.starts[:-1], lengths) < LONGEST
    return Tokens(tokens.ids[kept], np.concatenate(([0], np.cumsum(np.minimum(lengths, LONGEST)))))
