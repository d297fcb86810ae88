"""The start of a training run: checks, vocabulary, tower with its first weights, optimizer, checkpoint."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese import plugins
from siamese.config import CHOICES, UNLABELLED_ALONE, Config, encoder_of
from siamese.errors import DataError, UserError
from siamese.losses.labelled import LogisticLoss
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.pile import read_pile
from siamese.system.files import sha256
from siamese.system.progress import Progress
from siamese.text.ragged import Texts
from siamese.text.subwords import AnyTokenizer, SubwordTokenizer
from siamese.text.tokenizer import Tokenizer, first_word
from siamese.towers import word_vectors
from siamese.towers.encoders import checksum as encoder_checksum
from siamese.towers.lstm_tower import Tower
from siamese.towers.plugin import PluginTower
from siamese.training import pile as piles
from siamese.training.batches import PairTokens, Prepared, drawn, number_of_batches
from siamese.training.cache import names_in
from siamese.training.checkpoints import Checkpoint, Run
from siamese.training.objective import Objective
from siamese.training.optimizers import make_optimizer
from siamese.training.processes import Processes
from siamese.training.step import Step

LEAST_EPOCHS, LEAST_STEPS = 4, 500  # of a run whose recipe leaves its length open
STARTED_STEPS = 200  # in place of LEAST_STEPS, of a run that starts from a model


@dataclass
class Started:
    """A training run that is ready for its next step: the first one, or the one after its checkpoint."""

    tokenizer: AnyTokenizer
    pairs: PairTokens
    step: Step
    epochs: int  # with a pile, equal parts of the run
    checkpoint: Checkpoint
    pile: piles.Pile | None = None  # questions without labels


def start(
    config: Config, training: Pairs, validation: Pairs, folder: str | Path | None, resume: bool,
    start_from: SiameseModel | None, prepared: Prepared | None, progress: Progress, processes: Processes,
) -> Started:  # fmt: skip
    """Prepare a run for its next step. The arguments and errors are those of `train_model`."""
    if config.padding != "none" and processes.count > 1:
        raise UserError("a preset of the course pads a batch to its longest question, so only one process trains it")
    if start_from:
        _check_start(config, start_from.config)
    questions = _read_unlabelled(config, start_from, processes) if config.unlabelled else None
    if questions is not None and config.near_misses:
        training = piles.with_near_misses(config, questions, training)
    if questions is not None and prepared is None:
        known = start_from.tokenizer if start_from else piles.vocabulary(config, questions)
        prepared = Prepared.of(config, training, start_from, processes, known)
    prepared = prepared or Prepared.of(config, training, start_from, processes)
    tokenizer, pairs = prepared.tokenizer, prepared.pairs
    if questions is None or len(training):
        _check_labels(config, pairs.labels)
    if (questions is None or len(validation)) and len(np.unique(validation.labels)) < 2:
        raise DataError("the validation pairs need both duplicates and non-duplicates, to choose the threshold")
    batches = number_of_batches(int((pairs.labels == 1).sum()), config.batch_size, config.drop_last, config.wrap)
    if batches == 0 and questions is None:
        raise DataError(f"--drop-last leaves no batch: fewer than {config.batch_size} duplicates to train on")
    if questions is None:
        epochs = planned_epochs(config, batches)
        steps = epochs * batches
    else:
        steps = piles.planned_steps(config, len(questions))
        epochs = piles.planned_epochs(steps)

    tower = _first_tower(config, tokenizer, start_from, progress).to(processes.device)
    objective = Objective(config).to(processes.device)
    if questions is not None and start_from and isinstance(objective.labelled, LogisticLoss):
        objective.labelled.start_at(start_from.calibration.slope, start_from.threshold)
    weights: list[Any] = [*tower.parameters(), *objective.parameters()]
    if questions is not None:
        weights = [{"params": tower.parameters()}, {"params": objective.parameters(), "factor": piles.LABELLED_RATE}]
    run = Run(tower, objective, make_optimizer(config, weights))
    identity: dict[str, Any] = {
        "config": {
            field: value
            for field, value in dataclasses.asdict(config).items()
            if config.unlabelled or field not in UNLABELLED_ALONE
        },
        "training pairs": checksum(prepared.training),
        "validation pairs": checksum(validation),
        "vocabulary": hashlib.sha256(tokenizer.text().encode("utf-8", "surrogatepass")).hexdigest(),
        "word vectors": sha256(config.word_vectors) if config.word_vectors else None,
        "model to start from": _fingerprint(start_from.weights) if start_from else None,
        "encoder": _fingerprint(arrays(tower.state_dict())) if config.encoder else None,
    }
    if given := objective.about_plugins():
        identity["losses"] = given
    if questions is not None:
        identity["unlabelled questions"] = piles.fingerprint(questions)
        identity["teacher's files"] = [encoder_checksum(name) for name in names_in(config.teacher or "")]
    checkpoint = Checkpoint(folder, identity, progress.kept, processes.first)
    if not resume:
        checkpoint.check_new()
    elif checkpoint.load(run):
        progress.resumed(run.history)
    else:
        progress.say("nothing to resume: training starts")
    processes.check_same(json.dumps([identity, run.step]))
    if questions is not None and start_from and config.teacher is None:
        pairs = dataclasses.replace(pairs, targets=piles.kept(start_from, prepared.training, progress.encoded))
    elif config.teacher and questions is None and len(run.history) < epochs:
        from siamese.training import teacher

        targets = processes.first_of_all(lambda: teacher.targets(config, prepared, progress.encoded))
        pairs = dataclasses.replace(pairs, targets=targets)
    pile = None
    if questions is not None:
        assert isinstance(tokenizer, Tokenizer) and isinstance(tower, Tower)
        held = piles.held_out(len(questions))
        progress.say(f"{len(questions):,} questions without labels, {held:,} of them held out")
        pile, rows = piles.prepare(config, questions, tokenizer, start_from, progress.encoded)
        if rows is not None and run.step == 0:
            piles.start_words(tower, rows, config.seed)
    progress.start(steps, run.step)
    step = Step(config, run, tokenizer.pad, steps, processes)
    return Started(tokenizer, pairs, step, epochs, checkpoint, pile)


def _read_unlabelled(config: Config, start_from: SiameseModel | None, processes: Processes) -> Texts:
    """Return the questions without labels."""
    assert config.unlabelled is not None
    if processes.count > 1:
        raise UserError("--unlabelled: only one process trains on such questions; start it without torchrun")
    if config.teacher is None and start_from is None:
        lack = "--teacher NAME, whose vectors are learned, or --start-from MODEL, whose own vectors are kept"
        raise UserError(f"--unlabelled needs {lack}")
    families = [name.strip() for name in config.families.split(",")] if config.families else None
    questions = read_pile(config.unlabelled, families)
    piles.check(questions, config.unlabelled)
    return questions


def make_tower(config: Config, vocabulary: int) -> Tower:
    """Return the recipe's LSTM tower with its first weights, which depend on the seed alone."""
    torch.manual_seed(config.seed)
    return Tower(vocabulary, *config.sizes, skip=config.skip, first_word=first_word(config), initial=config.initial,
                 products=_products(config), plain=config.plain)  # fmt: skip


def _products(config: Config) -> torch.dtype | None:
    return torch.bfloat16 if config.precision == "bfloat16" else None


def _first_tower(
    config: Config, tokenizer: AnyTokenizer, start_from: SiameseModel | None, progress: Progress
) -> nn.Module:
    """Return the recipe's tower with the weights of its encoder, of word vectors, or of the model to start from."""
    if isinstance(tokenizer, SubwordTokenizer):
        from siamese.towers.encoders import load_parts

        return load_parts(encoder_of(config)).tower(_products(config))
    if config.tower not in CHOICES["tower"]:
        torch.manual_seed(config.seed)
        return PluginTower(
            plugins.admitted(plugins.TOWERS, config.tower), len(tokenizer), *config.sizes, first_word(config)
        )
    tower = make_tower(config, len(tokenizer))
    if config.word_vectors:
        found = word_vectors.start(tower.embedding.weight.detach().numpy(), tokenizer, config.word_vectors)
        progress.say(f"{config.word_vectors} has {found:,} of the vocabulary's {len(tokenizer.words):,} words")
    if start_from:
        _take_over(tower, tokenizer, start_from)
    return tower


@torch.no_grad()
def _take_over(tower: Tower, tokenizer: Tokenizer, start: SiameseModel) -> None:
    """Copy the weights of a model into a tower. A new word gets the row of its bucket, or the mean of its pieces'."""
    for name, weight in tower.state_dict().items():
        weight[: len(start.weights[name])] = torch.from_numpy(np.array(start.weights[name]))
    new, rows = tokenizer.words[len(start.tokenizer) - tokenizer.first_word :], tower.embedding.weight
    if tokenizer.rule == "pieces":
        assert isinstance(start.tokenizer, Tokenizer)
        for row, word in enumerate(new, len(start.tokenizer)):
            rows[row] = rows[list(start.tokenizer.pieces(word))].mean(0)
    elif tokenizer.buckets:
        rows[len(start.tokenizer) :] = rows[[tokenizer.bucket(word) for word in new]]


def planned_epochs(config: Config, batches: int) -> int:
    """Return the number of epochs of a run: the recipe's, or enough for LEAST_STEPS or STARTED_STEPS steps."""
    steps = STARTED_STEPS if config.start_from else LEAST_STEPS
    return max(LEAST_EPOCHS, -(-steps // max(1, batches))) if config.epochs is None else config.epochs


def fit_to_labels(config: Config, training: Pairs, say: Callable[[str], None]) -> Config:
    """Leave out a recipe's labelled loss if there are no non-duplicates to train on, and `say` so.

    On unlabelled questions alone it has nothing to do, so that nothing is said.
    """
    if config.unlabelled and not len(training):
        return config if config.near_misses else config.replace(labelled="none")
    if config.near_misses or "none" in (config.loss, config.labelled) or (drawn(config, training).labels == 0).any():
        return config
    say(f"no non-duplicates to train on: the {config.labelled} loss is left out (--labelled none)")
    return config.replace(labelled="none")


def _check_labels(config: Config, labels: np.ndarray) -> None:
    if (labels == 1).sum() < 2:
        raise DataError("fewer than two duplicate pairs to train on; a batch needs at least two, to have negatives")
    if config.labelled != "none" and not (labels == 0).any():
        raise DataError(
            f"no non-duplicates to train on, but the {config.labelled} loss needs them; use --labelled none"
        )


def _check_start(config: Config, start: Config) -> None:
    """Refuse a model whose weights and vocabulary do not fit the recipe's tower."""
    for name in ("tower", "tokens", "embedding", "hidden"):
        if (wanted := getattr(config, name)) != (given := getattr(start, name)):
            raise UserError(f"--start-from: the model has {name} {given!r}, the recipe {wanted!r}; they must agree")


def _fingerprint(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def arrays(weights: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return weights as numpy arrays."""
    return {name: weight.detach().cpu().numpy() for name, weight in weights.items()}
