"""Train a model by a recipe: start, loop, finish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from siamese.config import Config
from siamese.errors import UserError
from siamese.evaluation.evaluate import unseen_pairs
from siamese.evaluation.metrics import all_scores
from siamese.evaluation.thresholds import choose_threshold, doubts, tune
from siamese.model.calibration import HIGHEST, Calibration
from siamese.model.compact import rounded
from siamese.model.fitting import fit_verdict
from siamese.model.model import SiameseModel
from siamese.model.verdict import Verdict
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.system.progress import Progress
from siamese.training import pile as piles
from siamese.training.batches import Batch, Prepared, data_generator
from siamese.training.logs import VALIDATION
from siamese.training.loop import fast_and_repeatable, train_epochs
from siamese.training.processes import Processes
from siamese.training.start import Started, arrays, start

# Of a model with too few validation pairs: one half at 0.8, near the thresholds that the recipes reach on Quora
UNFITTED = Calibration(12.0, -9.6, 0.5)


@fast_and_repeatable()
def train_model(
    config: Config, training: Pairs, validation: Pairs, folder: str | Path | None = None, *, resume: bool = False,
    start_from: SiameseModel | None = None, prepared: Prepared | None = None, progress: Progress | None = None,
    stop: Callable[[], bool] | None = None, processes: Processes | None = None,
) -> SiameseModel:  # fmt: skip
    """Train a model by a recipe.

    After each epoch the model is scored on the validation pairs. The weights of the epoch with the highest average
    precision are kept. On a CPU, the same seed and number of threads give the same result, to the bit, however often
    the run was stopped and resumed.

    Args:
        config: the recipe.
        training, validation: the pairs to learn from; those that choose the epoch, the threshold and the calibration.
        folder: of the checkpoint, written after each epoch and every five minutes; None writes none. The caller
            locks the folder (`siamese.system.locking`) and removes the checkpoint once the model is saved.
        resume: continue from the checkpoint in `folder`, if there is one.
        start_from: a model whose weights and vocabulary the run starts with; new words are added to it.
        prepared: `Prepared.of` the recipe and the training pairs, to share it between runs.
        progress: callbacks.
        stop: called after each step; if it returns True, the checkpoint is written and the run stops.
        processes: those that train this model together, all with the same arguments; None: this one alone. The first
            one validates and writes; the models of the others have no threshold and no calibration.

    Raises:
        Stopped: by a signal or by `stop`, after the checkpoint was written.
        DataError: fewer than two duplicates, no labels that a loss needs, or unusable word vectors.
        DivergedError: a loss or a weight is not finite.
        UserError: the checkpoint cannot be written, is of another recipe or other data (with `resume`) or of this very
            run (without); or `start_from` has another shape.
    """
    progress, processes = progress or Progress(), processes or Processes()
    started = start(config, training, validation, folder, resume, start_from, prepared, progress, processes)
    run = started.step.run

    def validate() -> dict[str, float]:
        held_out = {"cosine": started.pile.cosine(run.tower, processes.device)} if started.pile else {}
        if not len(validation):
            return held_out
        return held_out | validation_scores(_model_of(config, started, run.tower.state_dict()), validation)

    def batches(epoch: int, skipped: int) -> Iterator[Batch]:
        if started.pile:
            return piles.batches(config, started.pile, started.pairs, started.step.steps, epoch, skipped)
        return data_generator(
            started.pairs, config.batch_size, seed=config.seed, epoch=epoch, swap=config.swap,
            drop_last=config.drop_last, wrap=config.wrap, negatives=config.labelled != "none", start=skipped,
            share=processes,
        )  # fmt: skip

    train_epochs(config, started.step, batches, started.epochs, validate, started.checkpoint, progress, stop)
    model = _model_of(config, started, run.best or run.tower.state_dict())
    if processes.first:
        if start_from:
            model.calibration, model.threshold = start_from.calibration, start_from.threshold
            model.verdict = start_from.verdict
        if len(validation):
            examples = started.pile.examples if started.pile else training.question1
            finish(model, training, validation, examples, run.history, progress)
        else:
            _finish_without_pairs(model, start_from, run.history, progress)
        if started.pile:
            model.facts["unlabelled"] = started.pile.facts
    return model


def _model_of(config: Config, started: Started, weights: Mapping[str, Tensor]) -> SiameseModel:
    """Return a model with these weights of the run's tower, not calibrated yet."""
    architecture = getattr(started.step.run.tower, "architecture", None)  # of a transformer
    calibration, threshold = UNFITTED, config.threshold or 0.8
    return SiameseModel(config, started.tokenizer, arrays(weights), threshold, calibration, architecture=architecture,
                        plugin=getattr(started.step.run.tower, "kind", None))  # fmt: skip


def validation_scores(model: SiameseModel, validation: Pairs) -> dict[str, float]:
    """Return the scores of an epoch, VALIDATION. The accuracy is at the most accurate threshold for these pairs."""
    similarity = model.similarity(validation.question1, validation.question2)
    scores = all_scores(validation.labels, similarity, choose_threshold(validation.labels, similarity))
    return {name: getattr(scores, name) for name in VALIDATION}


def _finish_without_pairs(
    model: SiameseModel, start_from: SiameseModel | None, history: list[dict[str, Any]], progress: Progress
) -> None:
    """Round the weights of a compact model, and warn that its threshold and calibration fit another or none."""
    if model.config.compact:
        model.weights = rounded(model.weights)
    whose = "those of the model that it started from" if start_from else "defaults"
    warning = (f"threshold {model.threshold:.2f} and probabilities are {whose}, as there were no labelled pairs to fit "
               "them to; give some by --validation")  # fmt: skip
    progress.say(f"warning: {warning}")
    model.facts = {"history": history, "warnings": [warning]}


def finish(
    model: SiameseModel, training: Pairs, validation: Pairs, examples: Sequence[str], history: list[dict[str, Any]],
    progress: Progress,
) -> None:  # fmt: skip
    """Round the weights of a compact model, and choose calibration and threshold on the validation pairs.

    Near misses of the `examples` fit the verdict.
    `facts` get the history, the chosen threshold if there is one (the one in use unless the recipe fixes one), the
    scores, those on validation pairs without a question of the training pairs, and what speaks against the model.
    """
    config = model.config
    if config.compact:  # threshold and calibration must fit the model as it will be loaded
        model.weights = rounded(model.weights)
    labels, similarity = validation.labels, model.similarity(validation.question1, validation.question2)
    warnings = []
    try:
        if unfitted := tune(model, validation, similarity, config.goal):
            warnings.append(unfitted)
        elif config.goal == "probability" and config.threshold is None and config.padding == "none":
            found = fit_verdict(model, validation, examples, config.seed)
            model.verdict = found if isinstance(found, Verdict) else None
        chosen = {} if unfitted else {"chosen_threshold": model.threshold}
    except UserError as error:  # if the precision is out of reach, keep the model nevertheless
        warnings.append(f"{error}; the threshold is chosen for accuracy instead")
        model.threshold = min(choose_threshold(labels, similarity), HIGHEST)
        chosen = {"chosen_threshold": model.threshold}
    if config.threshold is not None:
        model.threshold = config.threshold
    warnings += doubts(labels, similarity, model.threshold)
    rule = model.rule()
    scores = rule.scores(validation.question1, validation.question2, similarity)
    for warning in warnings:
        progress.say(f"warning: {warning}")
    unseen, _ = unseen_pairs(validation, Clusters(training))
    assert unseen is not None

    def scored(which: np.ndarray) -> dict[str, Any]:
        return replace(all_scores(labels[which], scores[which], rule.threshold), threshold=model.threshold).to_dict()

    model.facts = {
        "history": history,
        **chosen,
        "validation": scored(np.ones(len(labels), bool)),
        "unseen": scored(unseen) if unseen.any() else None,
        "warnings": warnings,
    }
