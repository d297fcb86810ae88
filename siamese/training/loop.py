"""The training loop. It knows a tower, a loss and batches, and nothing of where they come from."""

import dataclasses
import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.config import Config, encoder_of
from siamese.errors import DataError, UserError
from siamese.evaluation.metrics import all_scores
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import HIGHEST, Calibration, calibrate
from siamese.model.compact import rounded
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs, checksum
from siamese.system.files import sha256
from siamese.system.progress import Progress
from siamese.system.stopping import Stopped, stopping_when_asked
from siamese.text.subwords import AnyTokenizer, SubwordTokenizer
from siamese.text.tokenizer import Tokenizer, first_word
from siamese.towers import word_vectors
from siamese.towers.lstm_tower import Tower
from siamese.training.batches import PairTokens, data_generator, number_of_batches
from siamese.training.checkpoints import INTERVAL, Checkpoint, Run, check_weights
from siamese.training.logs import VALIDATION
from siamese.training.objective import Objective
from siamese.training.optimizers import learning_rate, make_optimizer
from siamese.training.preparation import Prepared
from siamese.training.processes import Processes
from siamese.training.step import Step

LEAST_EPOCHS, LEAST_STEPS = 4, 500  # of a run whose recipe does not say how long


def make_tower(config: Config, vocabulary: int) -> Tower:
    """The recipe's tower with its first weights, which depend on the seed alone."""
    torch.manual_seed(config.seed)
    return Tower(
        vocabulary,
        config.embedding,
        config.hidden,
        skip=config.skip,
        first_word=first_word(config),
        initial=config.initial,
        products=_products(config),
    )


def _products(config: Config) -> torch.dtype | None:
    return torch.bfloat16 if config.precision == "bfloat16" else None


def _first_tower(
    config: Config, tokenizer: AnyTokenizer, start_from: SiameseModel | None, progress: Progress
) -> nn.Module:
    """The recipe's tower with what it knows already: an encoder's weights, vectors of words, a model's weights."""
    if isinstance(tokenizer, SubwordTokenizer):
        from siamese.towers.encoders import load_parts

        return load_parts(encoder_of(config)).tower(_products(config))
    tower = make_tower(config, len(tokenizer))
    if config.word_vectors:
        found = word_vectors.start(tower.embedding.weight.detach().numpy(), tokenizer, config.word_vectors)
        progress.say(f"{config.word_vectors} has {found:,} of the vocabulary's {len(tokenizer.words):,} words")
    if start_from:
        _take_over(tower, tokenizer, start_from)
    return tower


def planned_epochs(config: Config, batches: int) -> int:
    """How many epochs a run has; where the recipe does not say, enough for a small file's few batches to add up."""
    return max(LEAST_EPOCHS, -(-LEAST_STEPS // max(1, batches))) if config.epochs is None else config.epochs


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Count denormal numbers as 0, which make a step up to 1.27 times as long; the caller has them again afterwards."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@denormals_flushed()
def train(
    config: Config,
    training: Pairs,
    validation: Pairs,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    start_from: SiameseModel | None = None,
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    processes: Processes | None = None,
) -> SiameseModel:
    """Train a model.

    After each epoch the validation pairs are scored; the weights of the epoch
    with the highest average precision are kept. Same seed and number of threads,
    same result, to the bit, on a CPU, however often the run was stopped and
    resumed. While it steps, Ctrl-C and SIGTERM wait for the end of a step.

    Args:
        config: the recipe.
        training: the pairs to learn from.
        validation: the pairs that choose the epoch, the threshold and the calibration.
        folder: where a checkpoint is kept after each epoch and every five minutes; None keeps none. The
            caller sees to it that no other run has it (`siamese.locking`), and removes the checkpoint
            once the model is saved.
        resume: go on from the checkpoint in `folder`, where there is one.
        start_from: begin with this model's weights and vocabulary; new words are added to it.
        prepared: `Prepared.of` the recipe and the training pairs, where several trainings share it.
        progress: who is told how it goes.
        stop: asked after each step; where it says True, the run is kept and stops.
        processes: those that train this model together, all with the same arguments; None: this one alone. The first
            one validates and writes; the others' models have no threshold and no calibration.

    Raises:
        Stopped: by a signal or by `stop`, after the run was kept.
        DataError: no two duplicates to make a batch of, or labels that the losses need are missing;
            a file of word vectors that cannot be used.
        DivergedError: a loss that is not finite.
        UserError: with `resume` a checkpoint of another recipe or other data, without it one of this very run;
            a checkpoint that cannot be written; `start_from` of another shape.
    """
    progress, processes = progress or Progress(), processes or Processes()
    if config.padding != "none" and processes.count > 1:
        raise UserError("a preset of the course fills a batch up to its longest question, so one process trains it")
    if start_from:
        _check_start(config, start_from.config)
    prepared = prepared or Prepared.of(config, training, start_from, processes)
    tokenizer, pairs = prepared.tokenizer, prepared.pairs
    config = _check_labels(config, pairs.labels, validation)
    batches = number_of_batches(int((pairs.labels == 1).sum()), config.batch_size, config.drop_last, config.wrap)
    if batches == 0:
        raise DataError(f"--drop-last leaves no batch: fewer than {config.batch_size} duplicates to train on")
    epochs = planned_epochs(config, batches)

    tower = _first_tower(config, tokenizer, start_from, progress)
    architecture: Mapping[str, Any] | None = getattr(tower, "architecture", None)
    tower, objective = tower.to(processes.device), Objective(config).to(processes.device)
    run = Run(tower, objective, make_optimizer(config, [*tower.parameters(), *objective.parameters()]))
    identity = {
        "config": dataclasses.asdict(config),
        "training pairs": checksum(prepared.training),
        "validation pairs": checksum(validation),
        "vocabulary": hashlib.sha256(tokenizer.text().encode("utf-8", "surrogatepass")).hexdigest(),
        "word vectors": sha256(config.word_vectors) if config.word_vectors else None,
        "model to start from": _fingerprint(start_from.weights) if start_from else None,
        "encoder": _fingerprint(_arrays(tower.state_dict())) if config.encoder else None,
    }
    checkpoint = Checkpoint(folder, identity, progress.kept, processes.first)
    if not resume:
        checkpoint.check_new()
    elif checkpoint.load(run):
        progress.resumed(run.history)
    else:
        progress.say("nothing to resume: the training begins")
    processes.check_same(json.dumps([identity, run.step]))
    if config.teacher and len(run.history) < epochs:
        targets = processes.first_of_all(lambda: prepared.targets(config, progress.encoded))
        pairs = dataclasses.replace(pairs, targets=targets)
    step = Step(config, run, tokenizer.pad, epochs * batches, processes)
    progress.start(epochs * batches, run.step)

    with stopping_when_asked() as signalled:

        def after_step() -> None:
            asked = int(processes.largest(signalled() or (signal.SIGINT if stop and stop() else 0)))
            checkpoint.save_if_due(run, 0 if asked else INTERVAL)
            if asked:
                processes.wait()  # torchrun ends all where one has ended
                raise Stopped(asked)

        while len(run.history) < epochs and not _patience_is_over(run.history, config.patience):
            record = _train_epoch(config, step, pairs, progress, after_step)
            scores = dict.fromkeys(VALIDATION, 0.0)
            if processes.first:
                scores = validation_scores(_model(config, tokenizer, tower.state_dict(), architecture), validation)
            record |= processes.of_first(scores)
            run.history.append(record)
            run.losses, run.seen, run.seconds = [], 0, 0.0
            if all(record["average_precision"] > r["average_precision"] for r in run.history[:-1]):
                run.best = {name: weight.detach().cpu().clone() for name, weight in tower.state_dict().items()}
            checkpoint.save(run)
            progress.epoch(record)
            if asked := int(processes.largest(signalled())):
                raise Stopped(asked)

    model = _model(config, tokenizer, run.best or tower.state_dict(), architecture)
    if not processes.first:
        return model
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
        "history": run.history,
        "chosen_threshold": chosen,  # on the validation pairs; the threshold in use unless the recipe fixes one
        "validation": all_scores(validation.labels, similarity, model.threshold).to_dict(),
    }
    return model


def _train_epoch(
    config: Config, step: Step, pairs: PairTokens, progress: Progress, after_step: Callable[[], None]
) -> dict[str, Any]:
    """One pass over the pairs, or what is left of it; the record of the epoch."""
    run = step.run
    batches = data_generator(
        pairs,
        config.batch_size,
        seed=config.seed,
        epoch=len(run.history),
        swap=config.swap,
        drop_last=config.drop_last,
        wrap=config.wrap,
        negatives=config.labelled != "none",
        start=len(run.losses),
        share=step.processes,
    )
    began = time.perf_counter()
    for batch in batches:
        run.losses.append(step(batch))
        run.seen += sum(batch.sizes)
        now = time.perf_counter()
        run.seconds, began = run.seconds + now - began, now
        progress.step(run.losses[-1])
        after_step()
    check_weights(run)
    return {
        "epoch": len(run.history) + 1,
        "step": run.step,
        "loss": float(np.mean(run.losses)),
        "learning_rate": learning_rate(config, run.step, step.steps),
        "seconds": run.seconds,
        "pairs_per_second": run.seen / run.seconds,
    }


def validation_scores(model: SiameseModel, validation: Pairs) -> dict[str, float]:
    """What an epoch's record says of the validation pairs; the accuracy is at the best threshold for them."""
    similarity = model.similarity(validation.question1, validation.question2)
    scores = all_scores(validation.labels, similarity, choose_threshold(validation.labels, similarity))
    return {name: getattr(scores, name) for name in VALIDATION}


def _check_labels(config: Config, labels: np.ndarray, validation: Pairs) -> Config:
    """The recipe that the labels allow: without non-duplicates there is no loss on labelled pairs."""
    if (labels == 1).sum() < 2:
        raise DataError("fewer than two duplicate pairs to train on; a batch needs negatives, so at least two")
    if len(np.unique(validation.labels)) < 2:
        raise DataError("the validation pairs need duplicates and non-duplicates, to choose the threshold from")
    if (labels == 0).any():
        return config
    if config.loss == "none":
        raise DataError("no non-duplicates to train on, which a labelled loss alone needs")
    return config.replace(labelled="none")


def _fingerprint(weights: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def _check_start(config: Config, start: Config) -> None:
    """Weights and vocabulary fit only a tower of the same sizes over the same kind of words."""
    for name in ("tower", "tokens", "embedding", "hidden"):
        if (wanted := getattr(config, name)) != (given := getattr(start, name)):
            raise UserError(f"--start-from: that model has {name} {given!r}, this recipe {wanted!r}; they must agree")


@torch.no_grad()
def _take_over(tower: Tower, tokenizer: Tokenizer, start: SiameseModel) -> None:
    """Give a tower the weights of a model; a new word gets what it had there, its bucket's, if there are buckets."""
    for name, weight in tower.state_dict().items():
        weight[: len(start.weights[name])] = torch.from_numpy(np.array(start.weights[name]))
    if tokenizer.buckets:
        new = tokenizer.words[len(start.tokenizer) - tokenizer.first_word :]
        rows = tower.embedding.weight
        rows[len(start.tokenizer) :] = rows[[tokenizer.bucket(word) for word in new]]


def _patience_is_over(history: list[dict[str, Any]], patience: int | None) -> bool:
    scores = [record["average_precision"] for record in history]
    return patience is not None and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def _model(
    config: Config, tokenizer: AnyTokenizer, weights: dict[str, Tensor], architecture: Mapping[str, Any] | None
) -> SiameseModel:
    return SiameseModel(
        config, tokenizer, _arrays(weights), threshold=config.threshold or 0.5, calibration=Calibration(1.0, 0.0, 0.5),
        architecture=architecture,
    )  # fmt: skip


def _arrays(weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: weight.detach().cpu().numpy() for name, weight in weights.items()}
