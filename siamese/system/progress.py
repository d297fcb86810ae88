"""Progress of long work: callbacks, a bar on a terminal, and elsewhere a line every 30 seconds."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from tqdm import tqdm

from siamese.system.console import visible

EVERY = 30.0  # seconds between plain lines


class Progress:
    """Callbacks of a training run. The base class ignores them all."""

    def resumed(self, history: list[dict[str, Any]]) -> None:
        """Continue a run after these epochs. Called before `start`."""

    def start(self, steps: int, done: int) -> None:
        """Begin the training, after `done` of `steps` steps."""

    def step(self, loss: float) -> None:
        """Take note of a step and its loss."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Take note of an epoch and its scores."""

    def kept(self, step: int) -> None:
        """Take note that a checkpoint of the state after this step is on the disk."""

    def encoded(self, done: int, total: int) -> None:
        """Take note that a teacher, or the model to start from, has encoded `done` of the `total` questions."""

    def say(self, message: str) -> None:
        """Show a message to the user."""

    def close(self) -> None:
        """End the run, with or without an error. May be called twice."""


class Listeners(Progress):
    """Pass every callback to several listeners, one after the other."""

    def __init__(self, *listeners: Progress) -> None:
        for name in vars(Progress):
            if not name.startswith("_"):
                setattr(self, name, partial(_call, [getattr(listener, name) for listener in listeners]))


def _call(callbacks: list[Callable[..., None]], *arguments: Any) -> None:
    for callback in callbacks:
        callback(*arguments)


class CountBar(AbstractContextManager["CountBar"]):
    """Show the progress of a count: call it with the number done, the total, and perhaps a note."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.bar: tqdm | None = None
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if self.bar is None:
            terminal = sys.stderr.isatty()
            self.bar = tqdm(total=total, initial=done, unit=self.unit, unit_scale=total > 9_999, disable=not terminal)
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.n, self.bar.total = done, total  # falls if a download, or the next stage, starts over
        self.bar.refresh()
        if self.bar.disable and time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            print(f"{done:,} of {total:,} {self.unit}{note and f', {note}'}", file=sys.stderr)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


class TrainingBar(Progress):
    """Show the steps and the loss of a training run, and a line of validation scores for each epoch."""

    def __init__(self) -> None:
        self.bar, self.encoding = CountBar("steps"), CountBar("questions encoded")

    def start(self, steps: int, done: int) -> None:
        self.encoding.__exit__()
        self.done, self.steps = done, steps
        self.bar(done, steps)

    def step(self, loss: float) -> None:
        self.done += 1
        self.bar(self.done, self.steps, f"loss {loss:.3f}")

    def epoch(self, record: dict[str, Any]) -> None:
        scores, unit = "", "pairs"
        if "cosine" in record:
            scores, unit = f", cosine to the teacher on held-out questions {record['cosine']:.4f}", "questions"
        if "average_precision" in record:
            scores += (
                f", validation: average precision {record['average_precision']:.4f}, ROC AUC {record['roc_auc']:.4f}, "
                f"accuracy {record['accuracy']:.4f}"
            )
        speed = f"{record['pairs_per_second']:,.0f} {unit}/s"
        self.say(f"epoch {record['epoch']}: loss {record['loss']:.4f}{scores} ({speed})")

    def encoded(self, done: int, total: int) -> None:
        self.encoding(done, total)
        if done == total:  # the words of the vocabulary may follow
            self.encoding.__exit__()
            self.encoding = CountBar(self.encoding.unit)

    def say(self, message: str) -> None:
        tqdm.write(visible(message), file=sys.stderr)

    def close(self) -> None:
        self.encoding.__exit__()
        self.bar.__exit__()
