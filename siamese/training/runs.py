"""Train from the command line or from Python: read the pairs, train, and save the model with its report."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from siamese.config import PACKAGED, Config, recipe, start_of, with_plugins
from siamese.errors import DivergedError, UserError
from siamese.evaluation.evaluate import Setting, evaluate_in
from siamese.model import folder as model_folder
from siamese.model.model import SiameseModel
from siamese.model.packaged import model_folder_of
from siamese.pairs import splits
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.reading import PairsLike, pairs_of
from siamese.pairs.splits import Datasets, Source
from siamese.report import card
from siamese.system.locking import locked
from siamese.system.optional import optional
from siamese.system.outputs import Folder, Ours, beginning_with, check_outputs
from siamese.system.progress import CountBar, Listeners, Progress
from siamese.system.resuming import differing
from siamese.training.callbacks import Callback, Called
from siamese.training.checkpoints import CHECKPOINT, is_checkpoint, writing
from siamese.training.logs import METRICS, TENSORBOARD, MetricsFile, TensorBoard
from siamese.training.processes import Processes, connected
from siamese.training.start import fit_to_labels
from siamese.training.train import train_model


def train(
    pairs: PairsLike | None = None, validation: PairsLike | None = None, *, preset: str = Config.preset,
    start_from: str | Path | None = None, out: str | Path | None = None, resume: bool = False,
    progress: Progress | None = None, callbacks: Iterable[Callback] = (), **options: Any,
) -> SiameseModel:  # fmt: skip
    """Train a model on labelled pairs of questions.

    Args:
        pairs: training pairs: a DataFrame with the columns question1, question2 and is_duplicate, the path of such a
            file, hf:NAME for a data set of Hugging Face, "quora", or `Pairs`. None: there are only the questions that
            the option `unlabelled` names.
        validation: pairs that choose the epoch and the threshold. None: those that a column `split` calls validation,
            else one pair in ten, by chance.
        preset: name of the recipe.
        start_from: a model folder, "pretrained" or "quora", whose weights and vocabulary the training begins with;
            "none": nothing. None: "pretrained" if the recipe fits it (the preset best, with its own tower and sizes),
            else nothing.
        out: the model folder to write, with metrics.csv, report.md and its figures; None writes nothing.
        resume: continue the run that was stopped in `out`; a finished one is loaded.
        progress: shows the progress, such as `siamese.system.progress.TrainingBar()`.
        callbacks: called after each step, after each epoch and at the end.
        options: fields of `siamese.config.Config` to change in the preset, such as epochs=3.

    Returns:
        The model of the best epoch, with threshold and calibration.

    Raises:
        DataError: the pairs cannot be used, or a label is too rare.
        UserError: an option is unknown or impossible; `out` is in use; `resume`, and `out` holds another run.
        DivergedError: the loss is not finite.
    """
    options = with_plugins(options)  # before a model is loaded that may have one of them
    named = start_of(start_from, preset, options)
    start = None if named is None else SiameseModel.load(named)
    changes = options if named is None else {**options, "start_from": named}
    config = recipe(None if preset == Config.preset else preset, changes, start.config if start else None)
    data: Source | Datasets
    if pairs is None:
        data = splits.validation_alone(validation)
    elif isinstance(pairs, str | Path) and isinstance(validation, str | Path | None):
        data = Source(str(pairs), None if validation is None else str(validation))
    else:
        chosen_on = None if validation is None else pairs_of(validation)
        data = splits.part(pairs_of(pairs, need=(1,)), chosen_on and (chosen_on.part("validation") or chosen_on))
    with Called(callbacks, progress) as called:
        called.model = train_recipe(config, data, out, start=start, resume=resume, progress=called.progress).model
    return called.model


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    model: SiameseModel
    summary: str  # for a person; empty without a folder, and in all processes but the first


def train_recipe(
    config: Config, data: Source | Datasets, out: str | Path | None, *, start: SiameseModel | None = None,
    resume: bool = False, progress: Progress | None = None, warn: Callable[[Pairs, str], None] | None = None,
    log: str | None = None, again: str = "train(..., resume=True)", anew: str = "train(...)", force: bool = False,
) -> Trained:  # fmt: skip
    """Train, score and save, or continue a stopped run, alone or with the other processes that torchrun started.

    Args:
        config: the recipe. If there are no non-duplicates among the training pairs, its labelled loss is left out.
        data: the pairs, or where to read them.
        out: the model folder; None writes nothing.
        start: the model to start from.
        resume: continue from the checkpoint in `out`; if there is none, start.
        progress: callbacks.
        warn: called with the pairs and the name of each file that was read, to report faulty rows.
        log: "tensorboard" writes event files for TensorBoard beside metrics.csv.
        again, anew: the calls or commands that continue a stopped run and that begin one, for messages.
        force: replace files of the folder that we may not have written.

    Raises:
        UserError: another process uses the folder; the folder is an input, or has files that we did not write under
            names that a run writes; `resume`, and the folder holds the model of another run; or what `train_model`
            raises.
    """
    if out is None and (resume or log):
        raise UserError("out is None, so there is nothing to resume or log; give a folder")
    if log == "tensorboard":
        optional("torch.utils.tensorboard", "--log tensorboard")
    if out is not None:
        inputs = [config.encoder, config.teacher, config.word_vectors, config.start_from, config.unlabelled]
        inputs = [str(model_folder_of(name)) if name in PACKAGED else name for name in inputs]
        inputs += [data.data, data.validation] if isinstance(data, Source) else []
        check_outputs([_output(out)], inputs, force)

    with connected() as processes:
        listener = progress if progress and processes.first else Progress()

        def tell(pairs: Pairs, name: str) -> None:
            if pairs.skipped:
                listener.say(f"{name}: {pairs.skipped} of {pairs.rows} rows skipped, such as {pairs.faults[0]}")

        parts, about = _read(data, warn if warn and processes.first else tell, processes)
        config = fit_to_labels(config, parts.training, listener.say)
        run = partial(train_model, config, parts.training, parts.validation, start_from=start, processes=processes)
        if out is None:
            model = run(progress=listener)
            model.facts["data"] = about
            return Trained(model, "")
        folder = Path(out)
        run = partial(run, folder, resume=resume)
        if not processes.first:
            finished = processes.largest(False)
            return Trained(SiameseModel.load(folder) if finished else run(), "")
        with locked(folder):
            if processes.largest(resume and _is_finished(folder, config, about)):
                summary = f"{folder}: this run is finished and its model saved; without --resume it is trained again"
                return Trained(SiameseModel.load(folder), summary)
            listeners = [MetricsFile(folder), *([TensorBoard(folder, config)] if log else []), listener]
            return _in_folder(run, parts, about, folder, listeners, again, anew)


def _output(folder: str | Path) -> Folder:
    """Return the folder of a run as an output."""
    beside: dict[str, Ours] = {
        "README.md": beginning_with(card.RECIPE),
        METRICS: beginning_with("epoch,"),
        CHECKPOINT: is_checkpoint,
    }
    beside[TENSORBOARD] = Path.is_dir
    return model_folder.output(folder, "--out", {**beside, **dict.fromkeys((card.REPORT, *card.FIGURES))})


def _read(
    data: Source | Datasets, warn: Callable[[Pairs, str], None], processes: Processes
) -> tuple[Datasets, dict[str, Any]]:
    """Return the pairs, and the facts about their source that the model keeps."""
    if isinstance(data, Datasets):
        return data, {"pairs": {"training": checksum(data.training), "validation": checksum(data.validation)}}
    if data.data == "quora":
        from siamese.pairs import quora

        with CountBar("B") as bar:
            path = processes.first_of_all(lambda: quora.fetch(progress=bar))
        data = dataclasses.replace(data, data=str(path))
    return splits.load(data, warn), splits.remember(data)


class _Kept(Progress):
    """Remembers the step of the checkpoint."""

    step_kept: int | None = None

    def kept(self, step: int) -> None:
        self.step_kept = step


def _in_folder(
    run: Callable[..., SiameseModel], parts: Datasets, about: dict[str, Any], folder: Path, listeners: list[Progress],
    again: str, anew: str,
) -> Trained:  # fmt: skip
    """Train, score and save in the folder, which this process has locked."""
    kept, result = _Kept(), None
    progress = Listeners(*listeners, kept)
    try:
        model = run(progress=progress)
        progress.close()
        model.facts["data"] = about
        if parts.test is not None:
            result = evaluate_in(Setting(model, parts.test, parts.training, parts.validation))
        with writing():
            model.save(folder, force=True)  # checked at the start
            if len(parts.validation):
                card.write_report(model, parts, result, folder)
                card.write_card(model, parts, result, folder, "# A detector of duplicate questions\n")
    except KeyboardInterrupt:
        progress.close()
        if kept.step_kept is None:
            progress.say(f"\nstopped before the first checkpoint; start again with: {anew}")
        else:
            progress.say(f"\nstopped; step {kept.step_kept:,} is kept, continue with: {again}")
        raise
    except UserError as error:
        if kept.step_kept is None:
            raise
        where = f" in {folder}" if isinstance(error, DivergedError) else f", continue with: {again}"
        raise type(error)(f"{error}\nthe checkpoint of step {kept.step_kept:,} is kept{where}") from error
    finally:
        progress.close()
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return Trained(model, card.summary(model, result, str(folder)))


def _is_finished(folder: Path, config: Config, about: dict[str, Any]) -> bool:
    """Return whether the folder has the model of this run and no checkpoint; UserError if it is of another run."""
    if (folder / CHECKPOINT).exists() or not (folder / "config.json").exists():
        return False
    model = SiameseModel.load(folder)
    now = {"config": dataclasses.asdict(config), "data": _contents(about)}
    before = {"config": dataclasses.asdict(model.config), "data": _contents(model.facts.get("data"))}
    if what := differing(now, before):
        raise UserError(f"{folder}: holds the finished model of a run that differs in {', '.join(what)}; "
                        "train without --resume, or choose another --out")  # fmt: skip
    return True


def _contents(about: Any) -> object:
    """Return the facts about a model's pairs without the paths of their files."""
    try:
        if "pairs" in about:
            return list(about["pairs"].values())
        return [about["source"]["split"], about["source"]["columns"], list(about["sha256"].values())]
    except (TypeError, KeyError, AttributeError):
        return None
