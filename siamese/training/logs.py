"""What a training run leaves for whoever plots it: metrics.csv, a row an epoch, and event files for TensorBoard."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.config import Config
from siamese.errors import UserError
from siamese.system.files import remove_leftovers, replacing
from siamese.system.optional import optional
from siamese.system.progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"  # the folder of its event files, in the model folder
TRAINING = ("epoch", "step", "loss", "learning_rate", "seconds", "pairs_per_second")  # of an epoch's record
VALIDATION = ("average_precision", "roc_auc", "accuracy", "threshold")  # of the validation pairs, in the same record


class MetricsFile(Progress):
    """Writes metrics.csv: a row for each epoch, with the mean loss of its steps and the rate of the last one.

    The file is replaced whole after each epoch, so that after `--resume` it is
    that of an undisturbed run, but for the times. Until the first epoch is done
    it stays that of the run before, as the model in the folder does.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self.history: list[dict[str, Any]] = []
        remove_leftovers(self.path)

    def resumed(self, history: list[dict[str, Any]]) -> None:
        self.history = list(history)
        if history:  # the checkpoint may have an epoch more than the file
            self._write()

    def epoch(self, record: dict[str, Any]) -> None:
        self.history.append(record)
        self._write()

    def _write(self) -> None:
        try:
            with replacing(self.path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([*TRAINING, *(f"validation_{name}" for name in VALIDATION)])
                # A checkpoint of an older version knows no learning rates.
                writer.writerows([record.get(name, "") for name in (*TRAINING, *VALIDATION)] for record in self.history)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error


class TensorBoard(Progress):
    """Writes TensorBoard's event files: loss and learning rate of each step, the validation scores of each epoch.

    A run that goes on tells TensorBoard to forget what came after its
    checkpoint, and one that begins to forget the run before, so that no curve
    has two points at a step.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        require_tensorboard()
        self.folder, self.config = folder / TENSORBOARD, config
        self.writer: SummaryWriter | None = None

    def start(self, steps: int, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with self._refusing():
            self.writer = SummaryWriter(str(self.folder), purge_step=done + 1)
        self.steps, self.done = steps, done

    def step(self, loss: float) -> None:
        from siamese.training.optimizers import learning_rate

        self.done += 1
        rate = learning_rate(self.config, self.done, self.steps)
        self._write(self.done, {"training/loss": loss, "training/learning_rate": rate})

    def epoch(self, record: dict[str, Any]) -> None:
        self._write(record["step"], {f"validation/{name}": record[name] for name in VALIDATION})

    def close(self) -> None:
        if self.writer:
            with suppress(OSError):  # told of by the write before
                self.writer.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        assert self.writer is not None
        with self._refusing():
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)
            self.writer.flush()  # so that no step is missing that a checkpoint counts as done

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror}") from error


def require_tensorboard() -> None:
    """UserError where TensorBoard is not installed."""
    optional("torch.utils.tensorboard", "--log tensorboard")
