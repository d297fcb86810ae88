"""Callbacks of a training from Python."""

from pathlib import Path
from typing import Any

import pytest

import siamese
from siamese import Callback, SiameseModel
from siamese.errors import DivergedError
from siamese.pairs.splits import Datasets
from siamese.training.callbacks import Called

SMALL = {"start_from": "none", "embedding": 8, "hidden": 8, "batch_size": 64, "epochs": 2}  # 4 steps an epoch


class Kept(Callback):
    """Keeps all that it is called with."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []
        self.epochs: list[dict[str, Any]] = []
        self.ends: list[SiameseModel | None] = []

    def on_step(self, step: int, loss: float) -> None:
        self.steps.append((step, loss))

    def on_epoch(self, record: dict[str, Any]) -> None:
        self.epochs.append(record)

    def on_end(self, model: SiameseModel | None) -> None:
        self.ends.append(model)


class Failing(Kept):
    def on_step(self, step: int, loss: float) -> None:
        super().on_step(step, loss)
        raise RuntimeError("no network")


@pytest.mark.slow
def test_each_step_each_epoch_and_the_end(parts: Datasets) -> None:
    kept, failing = Kept(), Failing()
    with pytest.warns(RuntimeWarning, match="Failing.on_step failed, and is not called again: .*no network"):
        model = siamese.train(parts.training, parts.validation, callbacks=[failing, kept], **SMALL)
    assert [step for step, _ in kept.steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert kept.epochs == model.facts["history"] and len(kept.epochs) == 2
    mean = sum(loss for _, loss in kept.steps[:4]) / 4
    assert kept.epochs[0]["loss"] == pytest.approx(mean)
    assert len(kept.ends) == 1 and kept.ends[0] is model
    assert len(failing.steps) == 1 and failing.ends == []


def test_a_run_that_fails_ends_without_a_model(parts: Datasets) -> None:
    kept = Kept()
    with pytest.raises(DivergedError):
        siamese.train(parts.training, parts.validation, callbacks=[kept], **SMALL, learning_rate=1e30)
    assert kept.ends == [None]


@pytest.mark.slow
def test_the_model_is_saved_before_the_end_and_a_finished_run_calls_none(parts: Datasets, tmp_path: Path) -> None:
    class Loading(Callback):
        def on_end(self, model: SiameseModel | None) -> None:
            self.threshold = SiameseModel.load(tmp_path / "m").threshold

    loading, kept = Loading(), Kept()
    model = siamese.train(parts.training, parts.validation, out=tmp_path / "m", callbacks=[loading], **SMALL)
    assert loading.threshold == model.threshold
    siamese.train(parts.training, parts.validation, out=tmp_path / "m", resume=True, callbacks=[kept], **SMALL)
    assert (kept.steps, kept.epochs, kept.ends) == ([], [], [])


def test_a_resumed_run_goes_on_counting() -> None:
    kept = Kept()
    with Called([kept], None) as called:
        assert called.progress is not None
        called.progress.start(8, 4)
        called.progress.step(0.5)
    assert kept.steps == [(5, 0.5)] and kept.ends == [None]
