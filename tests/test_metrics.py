"""metrics.csv: one row per epoch, whatever happens to the run."""

import csv
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import TRAIN, Command
from trainings import TINY

from siamese.config import Config
from siamese.errors import DivergedError, UserError
from siamese.pairs.splits import Datasets
from siamese.system.progress import Listeners, Progress
from siamese.system.stopping import Stopped
from siamese.training import step
from siamese.training.logs import METRICS, MetricsFile
from siamese.training.train import train_model

COLUMNS = [
    "epoch", "step", "loss", "learning_rate", "seconds", "pairs_per_second",
    "validation_average_precision", "validation_roc_auc", "validation_accuracy", "validation_threshold",
]  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / METRICS, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def without_times(folder: Path) -> list[dict[str, str]]:
    times = ("seconds", "pairs_per_second")
    return [{name: row[name] for name in row if name not in times} for row in rows(folder)]


def fit(
    parts: Datasets, folder: Path, config: Config = TINY, *others: Progress, **options: Any
) -> list[dict[str, Any]]:
    progress = Listeners(*others, MetricsFile(folder))
    return train_model(config, parts.training, parts.validation, folder, progress=progress, **options).facts["history"]


@pytest.mark.slow
def test_a_row_an_epoch(parts: Datasets, tmp_path: Path) -> None:
    history = fit(parts, tmp_path)
    expected = [[record[name.removeprefix("validation_")] for name in COLUMNS] for record in history]
    assert [[float(value) for value in row.values()] for row in rows(tmp_path)] == expected
    assert [row["step"] for row in rows(tmp_path)] == ["7", "14", "21"]
    # Linear decay over 21 steps: before step s a share (s - 1) / 21 of the rate is gone.
    rates = [0.02 * (1 - (step - 1) / 21) for step in (7, 14, 21)]
    assert [float(row["learning_rate"]) for row in rows(tmp_path)] == pytest.approx(rates, rel=1e-12)


class KilledBeforeTheRow(Progress):
    """Stop the run when its checkpoint has the epoch and metrics.csv does not."""

    def epoch(self, record: dict[str, Any]) -> None:
        raise Stopped


@pytest.mark.slow
def test_stopped_anywhere_it_ends_with_the_same_rows(parts: Datasets, tmp_path: Path) -> None:
    fit(parts, tmp_path / "undisturbed")
    expected = without_times(tmp_path / "undisturbed")
    folder, step = tmp_path / "stopped", 0
    for more in (3, 4, 6):  # in the middle, at the end of an epoch, in the middle again
        step, left = step + more, iter(range(more - 1))
        with pytest.raises(Stopped):
            fit(parts, folder, resume=True, stop=lambda left=left: next(left, None) is None)
        done = (step - 1) // 7  # after step 7 the epoch is not scored yet
        assert (without_times(folder) if done else []) == expected[:done]
        assert (folder / METRICS).exists() == bool(done)
    with pytest.raises(Stopped):
        fit(parts, folder, TINY, KilledBeforeTheRow(), resume=True)
    assert len(rows(folder)) == 1
    with pytest.raises(Stopped):
        fit(parts, folder, resume=True, stop=lambda: True)
    assert without_times(folder) == expected[:2]  # the row that was missing
    fit(parts, folder, resume=True)
    assert without_times(folder) == expected
    os.remove(folder / METRICS)
    fit(parts, folder, resume=True)  # nothing is left to train
    assert without_times(folder) == expected


@pytest.mark.slow
def test_it_is_of_the_run_that_last_ended_an_epoch_in_the_folder(parts: Datasets, tmp_path: Path) -> None:
    fit(parts, tmp_path)
    before, other = rows(tmp_path), TINY.replace(seed=9)
    with pytest.raises(Stopped):
        fit(parts, tmp_path, other, stop=lambda: True)
    assert rows(tmp_path) == before  # as the model there is
    with pytest.raises(Stopped):
        fit(parts, tmp_path, other, KilledBeforeTheRow(), resume=True)
    assert rows(tmp_path) == before
    with pytest.raises(Stopped):
        fit(parts, tmp_path, other, resume=True, stop=lambda: True)
    assert len(rows(tmp_path)) == 1 and rows(tmp_path)[0] != before[0]


@pytest.mark.slow
def test_what_a_diverging_run_has_finished_stays(
    parts: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoiling(Progress):
        def epoch(self, record: dict[str, Any]) -> None:
            if record["epoch"] == 2:
                monkeypatch.setattr(step, "learning_rate", lambda *_: float("inf"))

    with pytest.raises(DivergedError):
        fit(parts, tmp_path, TINY, Spoiling())
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]


@pytest.mark.slow
def test_a_write_that_fails_leaves_the_old_file(
    parts: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Progress):
        def epoch(self, record: dict[str, Any]) -> None:
            if record["epoch"] == 2:
                monkeypatch.setattr(os, "fsync", fail)

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    metrics = MetricsFile(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path / METRICS}: cannot be written: No space left on device$"):
        train_model(TINY, parts.training, parts.validation, progress=Listeners(Failing(), metrics))
    assert [row["epoch"] for row in rows(tmp_path)] == ["1"]
    assert [path.name for path in tmp_path.iterdir()] == [METRICS]


def test_tensorboard_that_is_not_there_is_told_before_anything_else(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    code, out, err = command(
        *TRAIN, "--data", tmp_path / "nowhere.csv", "--out", tmp_path / "m", "--log", "tensorboard"
    )
    assert (code, out, err) == (2, "", "error: --log tensorboard needs tensorboard: pip install tensorboard\n")
    assert not (tmp_path / "m").exists()
