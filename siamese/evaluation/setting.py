"""The start of `evaluate` and `examine`: a model, the pairs to score, and the pairs that made the model."""

import copy
import warnings
from dataclasses import dataclass

import numpy as np

from siamese.errors import DataError, UserError
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import HIGHEST, calibrate
from siamese.model.model import SiameseModel
from siamese.model.similarity import check_threshold
from siamese.pairs import splits
from siamese.pairs.clusters import shared_pairs
from siamese.pairs.frames import PairsLike, name_of
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import QUORA


@dataclass(frozen=True)
class Setting:
    """A model and the pairs to score."""

    model: SiameseModel
    pairs: Pairs
    training: Pairs | None = None  # that the model was trained on; None: unknown
    tuning: Pairs | None = None  # that thresholds are chosen on; None: unknown
    threshold: float | None = None  # of the model's verdicts; None: its own


def setting(
    model: SiameseModel,
    pairs: PairsLike,
    *,
    threshold: float | None = None,
    tuning: PairsLike | None = None,
    goal: str | None = None,
    training: PairsLike | None = None,
    columns: Columns = QUORA,
) -> Setting:
    """Load the pairs, and choose the threshold again if there are pairs to tune on; arguments as in `evaluate`."""
    if goal and tuning is None:
        raise UserError("--goal needs --tune-on PATH, the pairs to choose a threshold on")
    scored = splits.to_score(pairs, columns)
    if not np.isin(scored.labels, (0, 1)).all():
        raise DataError(f"{name_of(pairs)}: labels other than 0 and 1 cannot be scored")
    known = splits.recall(model.facts)
    learned, tuned = (known.training, known.validation) if known else (None, None)
    if training is not None:
        learned = splits.to_learn(training, columns)
    if tuning is not None:
        tuned = splits.to_tune(tuning, columns)
        if count := shared_pairs(scored, tuned):
            raise UserError(
                f"{name_of(tuning)}: {count} of its pairs are among those to score; "
                "choose the threshold on other pairs, or the scores will be too good"
            )
        similarity = model.similarity(tuned.question1, tuned.question2)
        if threshold is None:
            threshold = min(choose_threshold(tuned.labels, similarity, goal or "probability"), HIGHEST)
        model = copy.copy(model)
        model.calibration = calibrate(tuned.labels, similarity)
    for used, purpose in ((learned, "train"), (tuned if tuning is None else None, "choose the threshold")):
        if used is not None and (count := shared_pairs(scored, used)):
            warnings.warn(
                f"{count} of the {len(scored)} pairs were used to {purpose}; the scores are too good", stacklevel=3
            )
    return Setting(model, scored, learned, tuned, None if threshold is None else check_threshold(threshold))
