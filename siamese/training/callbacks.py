"""Callbacks of a training from Python, for the logs of other tools: `siamese.train(..., callbacks=[MyCallback()])`."""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from siamese.system.progress import Listeners, Progress

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel


class Callback:
    """What a training calls as it goes on. The base class does nothing; override what you need.

    Of several processes the first one calls. If a method raises an exception, the training warns and goes on without
    this callback, since a lost log is no reason to lose a model.
    """

    def on_step(self, step: int, loss: float) -> None:
        """Take note of step 1, 2, … of the whole run, and of the loss of its batch before the step.

        A resumed run continues the count. The steps between its checkpoint and the moment it was stopped come again.
        """

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Take note of an epoch: its fields are the columns of metrics.csv.

        They are epoch, step, loss, learning_rate, seconds, pairs_per_second, and of the validation pairs
        average_precision, roc_auc, accuracy and threshold.
        """

    def on_end(self, model: "SiameseModel | None") -> None:
        """Take note of the end: the trained model, already saved if there is a folder; None after a stop or an error.

        Called once if the training began. A finished run that is only loaded begins none.
        """


class Calling(Progress):
    """Passes what happens in a training on to a callback."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback
        self.began, self.done = False, 0

    def start(self, steps: int, done: int) -> None:
        self.began, self.done = True, done

    def step(self, loss: float) -> None:
        self.done += 1
        self._call("on_step", self.done, loss)

    def epoch(self, record: dict[str, Any]) -> None:
        self._call("on_epoch", dict(record))

    def end(self, model: "SiameseModel | None") -> None:
        """Call `on_end` if the training began."""
        if self.began:
            self._call("on_end", model)

    def _call(self, name: str, *arguments: Any) -> None:
        if self.callback is None:
            return
        try:
            getattr(self.callback, name)(*arguments)
        except Exception as error:  # of the code of others, which may raise anything
            kind, self.callback = type(self.callback).__name__, None
            what = f"{type(error).__name__}: {error}"
            warnings.warn(f"{kind}.{name} failed, and is not called again: {what}", RuntimeWarning, stacklevel=2)


class Called:
    """The callbacks of a training, for a `with` block: `progress` passes on to them, and `end` to `on_end`.

    Args:
        callbacks: of the user.
        progress: what else is told of the progress.
    """

    def __init__(self, callbacks: Iterable[Callback], progress: Progress | None) -> None:
        self.calling = [Calling(callback) for callback in callbacks]
        self.progress = Listeners(*([progress] if progress else []), *self.calling) if self.calling else progress
        self.model: SiameseModel | None = None

    def __enter__(self) -> "Called":
        return self

    def __exit__(self, *error: object) -> None:
        for calling in self.calling:
            calling.end(self.model)
