"""The end of a training run: the model of some weights, its scores, its calibration and its threshold."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from siamese.config import Config
from siamese.errors import UserError
from siamese.evaluation.metrics import all_scores
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import HIGHEST, Calibration, calibrate
from siamese.model.compact import rounded
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.system.progress import Progress
from siamese.training.logs import VALIDATION
from siamese.training.start import Started, arrays


def model_of(config: Config, started: Started, weights: Mapping[str, Tensor]) -> SiameseModel:
    """Return a model with these weights of the run's tower, not calibrated yet."""
    return SiameseModel(
        config, started.tokenizer, arrays(weights), threshold=config.threshold or 0.5,
        calibration=Calibration(1.0, 0.0, 0.5), architecture=started.architecture,
    )  # fmt: skip


def validation_scores(model: SiameseModel, validation: Pairs) -> dict[str, float]:
    """Return the scores of an epoch, VALIDATION; the accuracy is at the threshold that is best for these pairs."""
    similarity = model.similarity(validation.question1, validation.question2)
    scores = all_scores(validation.labels, similarity, choose_threshold(validation.labels, similarity))
    return {name: getattr(scores, name) for name in VALIDATION}


def finish(config: Config, model: SiameseModel, validation: Pairs, history: list[dict[str, Any]], progress: Progress
) -> None:  # fmt: skip
    """Round the weights of a compact model, and choose calibration and threshold on the validation pairs.

    `facts` get the history, the chosen threshold (the one in use unless the recipe fixes one) and the scores.
    """
    if config.compact:  # threshold and calibration hold for the model as it will be loaded
        model.weights = rounded(model.weights)
    similarity = model.similarity(validation.question1, validation.question2)
    model.calibration = calibrate(validation.labels, similarity)
    try:
        chosen = choose_threshold(validation.labels, similarity, config.goal)
    except UserError as error:  # a precision out of reach is no reason to lose the model
        progress.say(f"{error}; the threshold is chosen for accuracy instead")
        chosen = choose_threshold(validation.labels, similarity)
    chosen = min(chosen, HIGHEST)
    model.threshold = chosen if config.threshold is None else config.threshold
    model.facts = {
        "history": history,
        "chosen_threshold": chosen,
        "validation": all_scores(validation.labels, similarity, model.threshold).to_dict(),
    }
