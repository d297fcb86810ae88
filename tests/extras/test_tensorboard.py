"""`train --log tensorboard`: the event files hold the numbers of metrics.csv, and no step twice."""

import signal
import time
from pathlib import Path

import pytest
from commands import python
from files import Room, read_csv
from libraries import needs
from trainings import TINY

from siamese.config import Config
from siamese.errors import UserError
from siamese.pairs.splits import Source
from siamese.system.progress import TrainingBar
from siamese.training import runs
from siamese.training.logs import TensorBoard

needs("tensorboard")

ROOT = Path(__file__).parents[2]
VALIDATION = ("average_precision", "roc_auc", "accuracy", "threshold")
TAGS = {"training/loss", "training/learning_rate", *(f"validation/{name}" for name in VALIDATION)}


@pytest.fixture(scope="module")
def source(small_file: Path) -> Source:
    return Source(str(small_file))


def train(source: Source, folder: Path, config: Config = TINY, resume: bool = False) -> None:
    runs.train_recipe(config, source, folder, resume=resume, progress=TrainingBar(), log="tensorboard")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return each curve as TensorBoard shows it: steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def check(folder: Path, epochs: int, steps: int) -> dict[str, list[tuple[int, float]]]:
    """Check that the curves are complete, have each step once, and agree with metrics.csv."""
    found = curves(folder)
    rows = read_csv(folder / "metrics.csv")
    assert set(found) == TAGS and len(rows) == epochs
    for tag in ("training/loss", "training/learning_rate"):
        assert [step for step, _ in found[tag]] == list(range(1, epochs * steps + 1)), tag
    losses, rates = dict(found["training/loss"]), dict(found["training/learning_rate"])
    for row in rows:
        last = int(row["step"])
        mean = sum(losses[step] for step in range(last - steps + 1, last + 1)) / steps
        assert mean == pytest.approx(float(row["loss"]), rel=1e-6)  # event files hold float32
        assert rates[last] == pytest.approx(float(row["learning_rate"]), rel=1e-6)
    for name in VALIDATION:
        expected = [(int(row["step"]), pytest.approx(float(row[f"validation_{name}"]), rel=1e-6)) for row in rows]
        assert found[f"validation/{name}"] == expected, name
    return found


@pytest.mark.slow
def test_the_curves_are_those_of_metrics_csv(source: Source, tmp_path: Path) -> None:
    train(source, tmp_path)
    first = check(tmp_path, epochs=3, steps=7)
    # Another run in the same folder: its curves alone, even if they are shorter.
    train(source, tmp_path, TINY.replace(seed=9, epochs=2))
    assert check(tmp_path, epochs=2, steps=7)["training/loss"][0] != first["training/loss"][0]


KILLED = """
import os, signal, sys
from test_tensorboard import *

def step(bar, loss, steps=iter(range(1, 18))):
    if next(steps) == 17:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingBar.step = step
source = Source(sys.argv[1])
train(source, Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_without_double_points(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    done = python("-c", KILLED, source.data, folder)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Step 17 was told to TensorBoard; the checkpoint is that of step 14, from which 15 to 17 are made again.
    assert [step for step, _ in curves(folder)["training/loss"]] == list(range(1, 18))
    time.sleep(1)  # the names of event files have the second, by which they are read in order
    train(source, folder, resume=True)
    assert len(list((folder / "tensorboard").iterdir())) == 2
    train(source, tmp_path / "undisturbed")
    assert check(folder, epochs=3, steps=7) == check(tmp_path / "undisturbed", epochs=3, steps=7)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's own thread
def test_a_full_disk_is_told(room: Room) -> None:
    logs = TensorBoard(room.folder, TINY)
    logs.start(steps=1000, done=0)
    logs.step(0.5)
    room.fill()
    with pytest.raises(UserError, match=f"^{room.folder / 'tensorboard'}: cannot be written: No space left on device$"):
        for _ in range(999):
            logs.step(0.5)
    logs.close()
