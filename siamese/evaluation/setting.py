"""What `evaluate` and `examine` begin with: a model, the pairs to score, and the pairs that it was made from."""

import sys
from dataclasses import dataclass

from siamese.errors import UserError
from siamese.evaluation import thresholds
from siamese.model.calibration import HIGHEST, calibrate
from siamese.model.model import SiameseModel
from siamese.pairs import splits
from siamese.pairs.clusters import shared_pairs
from siamese.pairs.pairs import Columns, Pairs


@dataclass(frozen=True)
class Setting:
    """A model and the pairs to score."""

    model: SiameseModel
    pairs: Pairs
    training: Pairs | None  # the pairs that it was trained on, where they are known
    tuning: Pairs | None  # the pairs that thresholds are chosen on, where they are known
    threshold: float | None  # chosen anew; None: the model's own


def setting(
    model: SiameseModel,
    pairs: Pairs,
    path: str,
    *,
    trained_on: str | None = None,
    tune_on: str | None = None,
    goal: str | None = None,
    columns: Columns,
) -> Setting:
    """Find the pairs that a model was made from, and choose its threshold anew where pairs are given for that.

    Where the pairs to score were used to make the model, a note on stderr says so.

    Args:
        model: the detector; with `tune_on` its calibration is replaced.
        pairs, path: the pairs to score and their file.
        trained_on: the file of its training pairs; None: the one that it remembers.
        tune_on: the file of pairs to choose the threshold on and calibrate with.
        goal: of that threshold, as in `evaluation.choose_threshold`; None: probability.
        columns: the names of the files' columns.

    Raises:
        UserError: a file that cannot be used, or pairs to score among those of `tune_on`.
    """
    known = splits.recall(model.facts)
    training, tuning = (known.training, known.validation) if known else (None, None)
    threshold = None
    if trained_on:
        training = splits.to_learn(trained_on, columns)
    if tune_on:
        tuning = splits.to_tune(tune_on, columns)
        if count := shared_pairs(pairs, tuning):
            raise UserError(
                f"{tune_on}: {count} of its pairs are among those to score ({path}); "
                "a threshold is chosen on other pairs, or the scores flatter it"
            )
        similarity = model.similarity(tuning.question1, tuning.question2)
        threshold = min(thresholds.choose_threshold(tuning.labels, similarity, goal or "probability"), HIGHEST)
        model.calibration = calibrate(tuning.labels, similarity)
    for used, purpose in ((training, "train"), (None if tune_on else tuning, "choose the threshold")):
        if used is not None and (count := shared_pairs(pairs, used)):
            print(
                f"note: {count} of the {len(pairs)} pairs were used to {purpose}; the scores flatter", file=sys.stderr
            )
    return Setting(model, pairs, training, tuning, threshold)
