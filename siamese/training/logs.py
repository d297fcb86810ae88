"""Logs of a training run, for plots: metrics.csv, with a row per epoch, and event files for TensorBoard."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.config import Config
from siamese.system.files import replacing
from siamese.system.progress import Progress
from siamese.training.checkpoints import writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"  # folder of event files, in the model folder
TRAINING = ("epoch", "step", "loss", "learning_rate", "seconds", "pairs_per_second")  # fields of an epoch's record
VALIDATION = ("average_precision", "roc_auc", "accuracy", "threshold")  # of the same record

UNLABELLED = ("cosine",)  # of the record of a run on unlabelled questions: to the teacher, on held-out questions


class MetricsFile(Progress):
    """Writes metrics.csv: a row per epoch, with the mean loss of its steps and the learning rate of the last one.

    The file is replaced after each epoch. So after `--resume` it equals that of an uninterrupted run, except for times.
    Until the first epoch ends, it belongs to the previous run, like the model in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self.history: list[dict[str, Any]] = []

    def resumed(self, history: list[dict[str, Any]]) -> None:
        self.history = list(history)
        if history:  # the checkpoint may have one epoch more than the file
            self._write()

    def epoch(self, record: dict[str, Any]) -> None:
        self.history.append(record)
        self._write()

    def _write(self) -> None:
        with writing(self.path), replacing(self.path) as path, open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            own = [name for name in UNLABELLED if name in self.history[-1]]
            writer.writerow([*TRAINING, *(f"validation_{name}" for name in VALIDATION), *own])
            # Checkpoints of older versions have no learning rates.
            names = (*TRAINING, *VALIDATION, *own)
            writer.writerows([record.get(name, "") for name in names] for record in self.history)


class TensorBoard(Progress):
    """Writes event files for TensorBoard: loss and learning rate of each step, validation scores of each epoch.

    A resumed run makes TensorBoard drop the points after its checkpoint, a new run those of an earlier run, so that no
    curve has two points at one step.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder / TENSORBOARD, config
        self.writer: SummaryWriter | None = None

    def start(self, steps: int, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with writing(self.folder):
            self.writer = SummaryWriter(str(self.folder), purge_step=done + 1)
        self.steps, self.done = steps, done

    def step(self, loss: float) -> None:
        from siamese.training.optimizers import learning_rate

        self.done += 1
        rate = learning_rate(self.config, self.done, self.steps)
        self._write(self.done, {"training/loss": loss, "training/learning_rate": rate})

    def epoch(self, record: dict[str, Any]) -> None:
        names = [name for name in (*VALIDATION, *UNLABELLED) if name in record]
        self._write(record["step"], {f"validation/{name}": record[name] for name in names})

    def close(self) -> None:
        if self.writer:
            with suppress(OSError):  # the last write has reported it
                self.writer.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        assert self.writer is not None
        with writing(self.folder):
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)
            self.writer.flush()  # so that every step before a checkpoint is in the file
