"""One training run in a folder: nobody else writes there, and what is left is the model with its report."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from siamese.config import Config
from siamese.errors import DivergedError, UserError
from siamese.evaluation.evaluate import evaluate_in
from siamese.evaluation.setting import Setting
from siamese.model.model import SiameseModel
from siamese.pairs import splits
from siamese.pairs.splits import Datasets, Source
from siamese.report import card
from siamese.system.locking import locked
from siamese.system.progress import Listeners, TrainingBar
from siamese.training import loop
from siamese.training.checkpoints import CHECKPOINT, remove_checkpoint
from siamese.training.logs import MetricsFile, TensorBoard
from siamese.training.processes import Processes


def train_in_folder(
    config: Config,
    source: Source,
    parts: Datasets,
    out: str,
    resume: bool,
    start_from: SiameseModel | None,
    command: str,
    log: str | None = None,
    processes: Processes | None = None,
) -> str:
    """Train, score and save, or go on with that.

    Args:
        config: the recipe.
        source: where the pairs are from.
        parts: the pairs.
        out: the model folder.
        resume: go on from the checkpoint there; where there is none, begin.
        start_from: the model to start from.
        command: the line that goes on, to tell whoever stops the run.
        log: "tensorboard" writes its event files beside metrics.csv, which is always written.
        processes: those that train together; the first one holds the folder, writes and tells. None: this one alone.

    Returns:
        The summary to print; of the other processes "".

    Raises:
        UserError: another process uses the folder, and what `training.train` raises; with `resume`, the folder
            holds the model of another run.
    """
    folder, bar, processes = Path(out), TrainingBar(), processes or Processes()
    if not processes.first:
        if not processes.largest(False):
            loop.train(
                config, parts.training, parts.validation, folder, resume=resume, start_from=start_from,
                processes=processes,
            )  # fmt: skip
        return ""
    with locked(folder):
        if processes.largest(resume and _is_finished(folder, config, source)):
            return f"{out}: this run is finished and its model saved; without --resume it is trained again"
        logs = [TensorBoard(folder, config)] if log == "tensorboard" else []
        progress = Listeners(MetricsFile(folder), *logs, bar)
        try:
            model = loop.train(
                config, parts.training, parts.validation, folder, resume=resume, start_from=start_from,
                progress=progress, processes=processes,
            )  # fmt: skip
            progress.close()
            model.facts["data"] = splits.remember(source)
            result = None
            if parts.test is not None:
                result = evaluate_in(Setting(model, parts.test, parts.training, parts.validation))
            model.save(folder)
            card.write_report(model, parts, result, folder)
            card.write_card(model, parts, result, folder, "# A detector of duplicate questions\n")
        except KeyboardInterrupt:
            progress.close()
            if bar.step_kept is None:
                print(f"\nstopped before the first checkpoint; begin with: {command}", file=sys.stderr)
            else:
                print(f"\nstopped; step {bar.step_kept:,} is kept, go on with: {command}", file=sys.stderr)
            raise
        except UserError as error:
            if bar.step_kept is None:
                raise
            kept = f"the checkpoint of step {bar.step_kept:,} is kept"
            kept += f" in {folder}" if isinstance(error, DivergedError) else f", go on with: {command}"
            raise type(error)(f"{error}\n{kept}") from error
        except OSError as error:  # a full disk at the end: the checkpoint is that of the whole run
            raise UserError(f"{error.filename2 or error.filename}: cannot be written: {error.strerror}\n"
                            f"all steps are kept, go on with: {command}") from error  # fmt: skip
        finally:
            progress.close()
        remove_checkpoint(folder)
        return card.summary(model, result, out)


def _is_finished(folder: Path, config: Config, source: Source) -> bool:
    """Whether the folder has no checkpoint and the model of this run; UserError where it has the model of another."""
    if (folder / CHECKPOINT).exists() or not (folder / "config.json").exists():
        return False
    model = SiameseModel.load(folder)
    now, then = dataclasses.asdict(config), dataclasses.asdict(model.config)
    if then["labelled"] == "none":  # perhaps since there was nothing to use it on
        now["labelled"] = "none"
    differing = [name for name in now if now[name] != then[name]]
    if _contents(splits.remember(source)) != _contents(model.facts.get("data")):
        differing.append("the data")
    if differing:
        raise UserError(f"{folder}: holds the finished model of a run that differs in {', '.join(differing)}; "
                        "train without --resume, or choose another --out")  # fmt: skip
    return True


def _contents(data: Any) -> object:
    """What `datasets.remember` says of the pairs, wherever their files are."""
    try:
        return data["source"]["split"], data["source"]["columns"], list(data["sha256"].values())
    except (TypeError, KeyError, AttributeError):
        return None
