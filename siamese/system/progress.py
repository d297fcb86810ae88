"""What long work tells whoever watches it: a progress bar on a terminal, elsewhere a plain line now and then."""

import sys
import time
from typing import Any

from tqdm import tqdm

EVERY = 30.0  # seconds between plain lines


class Progress:
    """What the loop tells whoever watches it; here nobody does."""

    def resumed(self, history: list[dict[str, Any]]) -> None:
        """The run goes on after these epochs; told before `start`."""

    def start(self, steps: int, done: int) -> None:
        """Training begins; so many steps in all, so many done before."""

    def step(self, loss: float) -> None:
        """A step is done."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done and scored."""

    def kept(self, step: int) -> None:
        """The state after so many steps is on the disk."""

    def encoded(self, done: int, total: int) -> None:
        """The teacher has encoded so many of the questions."""

    def say(self, message: str) -> None:
        """Something a person should know."""

    def close(self) -> None:
        """Nothing more will be told, whether all went well or not; may come twice."""


class Listeners(Progress):
    """Several that are told the same, one after the other."""

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = listeners

    def resumed(self, history: list[dict[str, Any]]) -> None:
        for listener in self.listeners:
            listener.resumed(history)

    def start(self, steps: int, done: int) -> None:
        for listener in self.listeners:
            listener.start(steps, done)

    def step(self, loss: float) -> None:
        for listener in self.listeners:
            listener.step(loss)

    def epoch(self, record: dict[str, Any]) -> None:
        for listener in self.listeners:
            listener.epoch(record)

    def kept(self, step: int) -> None:
        for listener in self.listeners:
            listener.kept(step)

    def encoded(self, done: int, total: int) -> None:
        for listener in self.listeners:
            listener.encoded(done, total)

    def say(self, message: str) -> None:
        for listener in self.listeners:
            listener.say(message)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()


class TrainingBar(Progress):
    """Shows a training run: steps, loss, and a line of validation scores an epoch."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()
        self.bar: tqdm | None = None

    def start(self, steps: int, done: int) -> None:
        self.bar = tqdm(total=steps, initial=done, unit="step", disable=not self.terminal, file=sys.stderr)
        self.done, self.steps = done, steps

    def step(self, loss: float) -> None:
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self.bar.update()
        if not self.terminal and time.monotonic() - self.last > EVERY:
            self._line(f"step {self.done:,} of {self.steps:,}, loss {loss:.3f}")

    def epoch(self, record: dict[str, Any]) -> None:
        self._line(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}, validation: average precision "
            f"{record['average_precision']:.4f}, ROC AUC {record['roc_auc']:.4f}, accuracy {record['accuracy']:.4f} "
            f"({record['pairs_per_second']:,.0f} pairs/s)"
        )

    def encoded(self, done: int, total: int) -> None:
        self._line(f"the teacher has encoded {done:,} of {total:,} questions")

    def say(self, message: str) -> None:
        self._line(message)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _line(self, text: str) -> None:
        self.last = time.monotonic()
        tqdm.write(text, file=sys.stderr)


class CountBar:
    """Shows how far something is: called with what is done and the whole."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.bar: tqdm | None = None
        self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            terminal = sys.stderr.isatty()
            self.bar = tqdm(total=total, initial=done, unit=self.unit, unit_scale=True, disable=not terminal)
        self.bar.n = done  # a download that starts over takes it back
        self.bar.refresh()
        if self.bar.disable and time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            print(f"{done:,} of {total:,} {self.unit}", file=sys.stderr)

    def __enter__(self) -> "CountBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


class StageBar:
    """A bar for each stage of some work: called with the stage, what is done of it, and its whole."""

    def __init__(self) -> None:
        self.stage, self.bar = "", CountBar("")

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self.bar.__exit__()
            self.stage, self.bar = stage, CountBar(f"units of the stage {stage}")
        self.bar(done, total)

    def __enter__(self) -> "StageBar":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__()
