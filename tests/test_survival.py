"""Training survives signals, kills, full disks, power cuts, a second run, and divergence.

After each of them `--resume` ends with the bits of an undisturbed run.
"""

import errno
import itertools
import os
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import TRAIN, Command, Typed, posix, python
from files import saved
from trainings import TINY, fit

from siamese import SiameseModel
from siamese.config import PRESETS, preset
from siamese.errors import DivergedError, UserError
from siamese.experiment import comparison
from siamese.experiment.variants import against_first
from siamese.model import folder as model_folder
from siamese.pairs.splits import Datasets
from siamese.system.files import UNFINISHED
from siamese.system.locking import LOCK, locked
from siamese.system.progress import Progress
from siamese.system.stopping import Stopped, stopping_at_once, stopping_when_asked
from siamese.training import loop
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.logs import METRICS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def bits(model: SiameseModel) -> dict[str, object]:
    """Return all that a run decides, to the bit, without times."""
    clock = ("seconds", "pairs_per_second")
    history = [{name: r[name] for name in r if name not in clock} for r in model.facts["history"]]
    weights = {name: weight.tobytes() for name, weight in model.weights.items()}
    return {"threshold": model.threshold, "calibration": model.calibration, "history": history, **weights}


class Notes(Progress):
    def __init__(self) -> None:
        self.begun, self.said, self.kept_steps = [(0, 0)], list[str](), list[int]()

    def start(self, steps: int, done: int) -> None:
        self.begun.append((steps, done))

    def say(self, message: str) -> None:
        self.said.append(message)

    def kept(self, step: int) -> None:
        self.kept_steps.append(step)


def after(steps: int) -> Callable[[], bool]:
    """Return a callback that asks to stop after this many steps."""
    count = itertools.count(1)
    return lambda: next(count) >= steps


@pytest.mark.ci
@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.tower == "lstm"])
def test_stopped_at_any_step_it_ends_with_the_same_bits(parts: Datasets, tmp_path: Path, name: str) -> None:
    config = preset(name).replace(embedding=16, hidden=16, batch_size=32, epochs=3)
    expected, step = bits(fit(config, parts)), 0
    for more in (3, 4, 1, 7, 5):  # in the middle, at the end of an epoch, right after, over a whole one
        notes = Notes()
        with pytest.raises(Stopped):
            fit(config, parts, tmp_path, resume=True, stop=after(more), progress=notes)
        assert notes.begun[-1] == (21, step)
        step += more
        assert notes.kept_steps[-1] == step
    assert bits(fit(config, parts, tmp_path, resume=True)) == expected


def test_nothing_is_drawn_while_it_steps(parts: Datasets) -> None:
    """So there are no random states to keep."""

    class Dice(Progress):
        def start(self, steps: int, done: int) -> None:
            self.before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]

        def epoch(self, record: dict[str, Any]) -> None:
            assert torch.equal(torch.get_rng_state(), self.before[0])
            assert (np.random.get_state()[1] == self.before[1]).all()

    fit(TINY, parts, progress=Dice())


def test_a_checkpoint_every_few_minutes(parts: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    fit(TINY.replace(epochs=1), parts, tmp_path / "a", progress=notes)
    assert notes.kept_steps == [7]  # within five minutes only the end of the epoch
    monkeypatch.setattr(loop, "INTERVAL", 0.0)
    fit(TINY.replace(epochs=1), parts, tmp_path / "b", progress=notes)
    assert notes.kept_steps[1:] == [1, 2, 3, 4, 5, 6, 7, 7]  # the last with the scores of the epoch


def test_a_run_that_was_stopped_is_not_begun_anew_unawares(parts: Datasets, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fit(TINY, parts, tmp_path, stop=after(3))
    with pytest.raises(
        UserError, match="this run was stopped after step 3; continue with --resume, or remove the file"
    ):
        fit(TINY, parts, tmp_path)
    fit(TINY.replace(seed=9, epochs=1), parts, tmp_path)  # another run is meant


def test_where_there_is_nothing_to_resume_it_begins_and_says_so(parts: Datasets, tmp_path: Path) -> None:
    notes = Notes()
    assert bits(fit(TINY, parts, tmp_path, resume=True, progress=notes)) == bits(fit(TINY, parts))
    assert notes.said[0] == "nothing to resume: training starts"


KILLED = """
import itertools, os, random, signal, sys
from test_survival import *
from siamese.pairs import splits
from siamese.system import files
from siamese.training import step

parts = splits.load(splits.Source(sys.argv[1]))
config = TINY.replace(epochs=24)
expected = bits(fit(config, parts))
loop.INTERVAL = 0.0  # a checkpoint after every step
chance = random.Random(6)
events = itertools.count(1)

def counted(function, half=False):
    def call(*words, **options):
        if next(events) == fatal:
            if half:  # some of the file is written
                function(*words, **options)
                os.truncate(words[0], chance.randrange(os.path.getsize(words[0])))
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*words, **options)
    return call

def attempt(seconds=0.0):
    pid = os.fork()
    if pid == 0:
        # Of the processor's time, so that a busy machine does not let a run end first; nothing handles the signal.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        same = bits(fit(config, parts, Path("."), resume=True)) == expected
        os._exit(0 if same else 1)
    return pid

files.os.fsync, files.os.replace = counted(os.fsync), counted(os.replace)
Path.write_bytes = counted(Path.write_bytes, half=True)
step.encode_batch = counted(step.encode_batch)
ends = []
for k in range(20):
    fatal = chance.randint(1, 15) if k % 2 else 0  # by what it does, and by the clock
    pid = attempt(0.0 if fatal else chance.uniform(0.001, 0.1))
    ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    # What a killed run was writing is put away by the next.
    assert len([name for name in os.listdir(".") if name != "checkpoint.safetensors"]) <= 1, os.listdir(".")
fatal = 0
ends.append(os.waitstatus_to_exitcode(os.waitpid(attempt(), 0)[1]))
print(*ends, *os.listdir("."))
"""


@pytest.mark.ci
@posix
def test_killed_at_twenty_random_points(small_file: Path, tmp_path: Path) -> None:
    done = python("-c", KILLED, small_file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *ends, left = done.stdout.split()
    clock, event = str(-signal.SIGPROF), str(-signal.SIGKILL)
    assert ends == [clock, event] * 10 + ["0"], done.stderr  # 0: the bits of the undisturbed run
    assert left == CHECKPOINT


def test_the_last_good_checkpoint_stays(parts: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "INTERVAL", 0.0)
    notes = Notes()
    # Adam's first step moves by the rate: weights of 1e30, and 13/14 of it in the second, whose loss is no number.
    with pytest.raises(DivergedError, match=r"^step 2: the loss is nan at a learning rate of 9\.52e\+29; try a lower"):
        fit(TINY.replace(learning_rate=1e30), parts, tmp_path / "a", progress=notes)
    assert notes.kept_steps == [1]
    from safetensors.torch import load_file

    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "a" / CHECKPOINT).values())
    # 1e300 is infinite as float32, after the first step already: this is not kept, whatever the clock says
    config = preset("course-tensorflow").replace(embedding=16, hidden=16, batch_size=32, learning_rate=1e300)
    with pytest.raises(DivergedError, match=r"^step 1: weights are no longer finite at a learning rate of 1e\+300"):
        fit(config, parts, tmp_path / "b")
    assert not (tmp_path / "b" / CHECKPOINT).exists()


@posix
def test_a_signal_waits_and_the_second_does_not() -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = [signal.signal(s, signal.default_int_handler) for s in (signal.SIGINT, signal.SIGTERM)]
        try:
            with stopping_when_asked() as asked:
                assert asked() == 0
                os.kill(os.getpid(), number)
                assert asked() == number
                with pytest.raises(Stopped) as stopped:
                    os.kill(os.getpid(), number)
                assert stopped.value.code == code
            assert signal.getsignal(signal.SIGINT) == signal.default_int_handler  # as it was
            with pytest.raises(Stopped) as stopped, stopping_at_once():
                os.kill(os.getpid(), signal.SIGTERM)
            assert stopped.value.code == 143
        finally:
            for s, handler in zip((signal.SIGINT, signal.SIGTERM), before):
                signal.signal(s, handler)


@posix
def test_signals_that_are_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_when_asked() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    found = []

    def inside() -> None:
        with stopping_when_asked() as asked, stopping_at_once():
            found.append(asked())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [0]


@posix
def test_a_second_signal_leaves_the_last_checkpoint(parts: Datasets, tmp_path: Path) -> None:
    class Signals(Progress):
        """Send the signal in the first step."""

        def __init__(self, count: int) -> None:
            self.count = count

        def step(self, loss: float) -> None:
            for _ in range(self.count):
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        fit(TINY, parts, tmp_path, stop=after(4))
    for count, is_kept in ((1, True), (2, False)):
        before = (tmp_path / CHECKPOINT).read_bytes()
        with pytest.raises(Stopped):
            fit(TINY, parts, tmp_path, resume=True, progress=Signals(count))
        assert ((tmp_path / CHECKPOINT).read_bytes() != before) == is_kept


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with locked(folder):
        since = time.strftime("%Y-%m-%d")
        for _ in range(2):
            with pytest.raises(UserError) as refused, locked(folder):
                pass
            assert re.fullmatch(
                rf"{re.escape(str(folder))}: in use by process {os.getpid()} on \S+ since {since} \d\d:\d\d:\d\d; "
                "wait for its end, or choose another --out",
                str(refused.value),
            )
        with locked(tmp_path / "other"):
            pass
    assert not folder.exists()
    folder.mkdir()
    (folder / LOCK).write_text("process 1 on nowhere since long ago\n")  # of a process that was killed
    with pytest.raises(RuntimeError), locked(folder):
        assert str(os.getpid()) in (folder / LOCK).read_text("utf-8")
        assert "nowhere" not in (folder / LOCK).read_text("utf-8")
        raise RuntimeError
    with locked(folder):
        pass
    assert folder.exists()  # it was there before
    with pytest.raises(RuntimeError), locked(tmp_path / "newer"):
        raise RuntimeError
    assert not (tmp_path / "newer").exists()


@posix
def test_a_lock_that_was_removed_before_it_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last holder ends between the opening and the locking: the file without a name holds nobody off."""
    import fcntl

    lock, calls = fcntl.flock, itertools.count()

    def late(file: int, wanted: int) -> None:
        if next(calls) == 0:
            (tmp_path / LOCK).unlink()
        lock(file, wanted)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path), pytest.raises(UserError, match="in use"), locked(tmp_path):
        pass


@posix
@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    import fcntl

    def refuse(file: int, wanted: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "new"), locked(tmp_path / "new"):
        pass
    assert not any(tmp_path.iterdir())


def test_a_comparison_has_its_folder_alone(parts: Datasets, tmp_path: Path) -> None:
    names = ("rows", "both")
    with locked(tmp_path), pytest.raises(UserError, match=f"{tmp_path}: in use by process {os.getpid()} on"):
        comparison.compare(against_first(names, TINY), parts, 1, tmp_path, jobs=1)
    assert not any(tmp_path.iterdir())


def end(process: Typed) -> tuple[int | None, str, str]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def until(process: Typed, start: str) -> None:
    next(line for line in process.stderr if line.startswith(start))


@pytest.mark.ci
@posix
def test_a_command_that_meets_it_all(small_file: Path, tmp_path: Path, command: Command) -> None:
    recipe = ["--batch-size", 32, "--learning-rate", 0.02, "--epochs", 6]
    line = ["run.py", *TRAIN, "--data", small_file, *recipe, "--out"]
    folder = tmp_path / "my model"
    undisturbed = Typed([*line, tmp_path / "undisturbed"])

    first = Typed([*line, folder])
    until(first, "epoch 1")
    first.send_signal(signal.SIGSTOP)  # so that it is there for long enough
    code, out, err = command(*line[1:], folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder}: in use by process {first.pid} on ")
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    code, out, err = end(first)
    assert (code, out) == (143, "")
    said = re.search(r"^stopped; step [\d,]+ is kept, continue with: python (.*)$", err, re.MULTILINE)
    assert said
    again = shlex.split(said[1])
    assert again == [*map(str, line), str(folder), "--resume"]

    code, out, err = command(*line[1:], folder)  # forgot to resume
    assert code == 2 and "this run was stopped after step" in err

    # Half a checkpoint fits on the disk.
    kept = (folder / CHECKPOINT).read_bytes()
    code, out, err = end(Typed(again, limit=len(kept) // 2))
    assert (code, out) == (2, "")
    error, advice = err[err.index("error: ") :].splitlines()
    assert error.startswith(f"error: {folder / CHECKPOINT}: cannot be written: ") and "File too large" in error
    assert re.fullmatch(r"the checkpoint of step [\d,]+ is kept, continue with: python .* --resume", advice)
    assert (folder / CHECKPOINT).read_bytes() == kept
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT, METRICS}

    killed = Typed(again)
    until(killed, "epoch ")
    killed.kill()
    assert end(killed)[0] == -signal.SIGKILL
    assert (folder / LOCK).exists()  # and holds nobody off
    (folder / f".{CHECKPOINT}.12345678{UNFINISHED}").write_bytes(b"half a checkpoint")

    assert end(undisturbed)[0] == 0
    code, out, err = end(Typed(again))
    assert code == 0, err
    assert saved(folder) == saved(tmp_path / "undisturbed")
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "undisturbed").iterdir()}
    assert not (folder / CHECKPOINT).exists()

    code, out, err = command(*again[1:])
    assert (code, err) == (0, "")
    assert out == f"{folder}: this run is finished and its model saved; without --resume it is trained again\n"
    assert saved(folder) == saved(tmp_path / "undisturbed")
    code, out, err = command(*again[1:], "--seed", 2)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {folder}: holds the finished model of a run that differs in seed; train without --resume, "
        "or choose another --out\n"
    )


def test_a_command_whose_numbers_go_wild(small_file: Path, tmp_path: Path, command: Command) -> None:
    line = [*TRAIN, "--data", small_file, "--out", tmp_path / "m", "--learning-rate", "1e30"]
    code, out, err = command(*line, "--batch-size", 32, "--epochs", 1)
    assert (code, out) == (2, "")
    assert err == "error: step 2: the loss is nan at a learning rate of 8.57e+29; try a lower --learning-rate\n"
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_a_disk_that_is_full_at_the_very_end(
    small_file: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "m"
    line = [*TRAIN, "--data", small_file, "--out", folder, "--batch-size", 32, "--epochs", 1]

    def full(_: Path, like: Path | None = None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(model_folder, "replacing", full)
        code, out, err = command(*line)
    assert (code, out) == (2, "")
    error, advice = err[err.index("error: ") :].splitlines()
    assert error == f"error: {folder}: cannot be written: No space left on device"
    assert re.match(r"the checkpoint of step [\d,]+ is kept, continue with: python ", advice)
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT, METRICS}
    code, out, err = command(*line, "--resume")
    assert code == 0 and "epoch" not in err  # nothing is trained again
    SiameseModel.load(folder)
