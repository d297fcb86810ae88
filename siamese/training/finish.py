"""The end of a training run: the model with its scores, calibration and threshold."""

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
    architecture = getattr(started.step.run.tower, "architecture", None)  # of a transformer
    calibration, threshold = Calibration(1.0, 0.0, 0.5), config.threshold or 0.5
    return SiameseModel(config, started.tokenizer, arrays(weights), threshold, calibration, architecture=architecture)


def validation_scores(model: SiameseModel, validation: Pairs) -> dict[str, float]:
    """Return the scores of an epoch, VALIDATION. The accuracy is at the most accurate threshold for these pairs."""
    similarity = model.similarity(validation.question1, validation.question2)
    scores = all_scores(validation.labels, similarity, choose_threshold(validation.labels, similarity))
    return {name: getattr(scores, name) for name in VALIDATION}


def finish(model: SiameseModel, validation: Pairs, history: list[dict[str, Any]], progress: Progress) -> None:
    """Round the weights of a compact model, and choose calibration and threshold on the validation pairs.

    `facts` get the history, the chosen threshold (the one in use unless the recipe fixes one) and the scores.
    """
    config = model.config
    if config.compact:  # threshold and calibration must fit the model as it will be loaded
        model.weights = rounded(model.weights)
    similarity = model.similarity(validation.question1, validation.question2)
    model.calibration = calibrate(validation.labels, similarity)
    try:
        chosen = choose_threshold(validation.labels, similarity, config.goal)
    except UserError as error:  # if the precision is out of reach, keep the model nevertheless
        progress.say(f"{error}; the threshold is chosen for accuracy instead")
        chosen = choose_threshold(validation.labels, similarity)
    chosen = min(chosen, HIGHEST)
    model.threshold = chosen if config.threshold is None else config.threshold
    model.facts = {
        "history": history,
        "chosen_threshold": chosen,
        "validation": all_scores(validation.labels, similarity, model.threshold).to_dict(),
    }
