"""Writing survives power cuts at any moment, and full disks.

A cut is simulated: a content that was not synced is lost, and a rename or removal whose folder was not synced after it
may have come to the disk or not, each for itself.
"""

import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import TRAIN
from files import Room, saved

from siamese import SiameseModel
from siamese.cli import entry
from siamese.config import Config
from siamese.errors import ModelError
from siamese.model.folder import FILES
from siamese.pairs.splits import Datasets
from siamese.system import files
from siamese.system.progress import Progress, TrainingBar
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.logs import METRICS
from siamese.training.train import train_model

pytestmark = pytest.mark.slow

OLD, NEW = b"old and whole", b"new and whole, and longer"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


class Disk:
    """Record the order in which files of a folder are synced, renamed and removed, and the folder is synced."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any]] = []
        here = os.stat(folder)
        self.contents: dict[int, bytes] = {}  # by inode; of the files that are there, all is on the disk
        self.names: dict[str, int] = {}
        for path in folder.iterdir():
            self.names[path.name] = path.stat().st_ino
            self.contents[path.stat().st_ino] = path.read_bytes()
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def noted_fsync(handle: int) -> None:
            about = os.fstat(handle)
            if os.path.samestat(about, here):
                self.calls.append(("folder", None))
            else:
                self.calls.append(("sync", (about.st_ino, os.pread(handle, 1 << 26, 0))))
            fsync(handle)

        def noted_replace(old: Path, new: Path) -> None:
            self.calls.append(("names", {Path(old).name: None, Path(new).name: os.stat(old).st_ino}))
            replace(old, new)

        def noted_unlink(path: Path, **options: Any) -> None:
            unlink(path, **options)
            self.calls.append(("names", {Path(path).name: None}))

        monkeypatch.setattr(files.os, "fsync", noted_fsync)
        monkeypatch.setattr(files.os, "replace", noted_replace)
        monkeypatch.setattr(files.os, "unlink", noted_unlink)

    def after_a_cut(self, number: int) -> Iterator[dict[str, bytes]]:
        """Yield what the folder may hold, by name, if the power fails after this many calls."""
        contents, names = dict(self.contents), dict[str, int | None](self.names)
        changes: list[dict[str, int | None]] = []  # that may have come to the disk
        for call, about in self.calls[:number]:
            if call == "sync":
                contents[about[0]] = about[1]
            elif call == "names":
                changes.append(about)
            else:
                for change in changes:
                    names |= change
                changes = []
        for came in itertools.product((False, True), repeat=len(changes)):
            now = dict(names)
            for change in itertools.compress(changes, came):
                now |= change
            yield {name: contents.get(inode, b"") for name, inode in now.items() if inode is not None}

    def after_any_cut(self) -> Iterator[dict[str, bytes]]:
        for number in range(len(self.calls) + 1):
            yield from self.after_a_cut(number)


@linux
def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    disk = Disk(tmp_path, monkeypatch)
    with files.replacing(path) as temporary:
        assert list(disk.after_any_cut()) == [{"file": OLD}]
        temporary.write_bytes(NEW)
    assert path.read_bytes() == NEW
    # The data synced, the name changed, which may have come to the disk, and the folder synced.
    assert list(disk.after_any_cut()) == [{"file": content} for content in (OLD, OLD, OLD, NEW, NEW)]


@linux
def test_a_checkpoint_is_on_the_disk_when_it_is_said_to_be(
    parts: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, monkeypatch)

    class Cut(Progress):
        def kept(self, step: int) -> None:
            assert list(disk.after_a_cut(len(disk.calls))) == [{CHECKPOINT: (tmp_path / CHECKPOINT).read_bytes()}]

    config = Config(embedding=16, hidden=16, batch_size=32, epochs=3)
    train_model(config, parts.training, parts.validation, tmp_path, progress=Cut())
    assert len(disk.calls) == 3 * 3


@linux
@pytest.mark.parametrize("version", [None, 2, 3])
def test_a_model_is_the_old_one_or_the_new_one(
    version: int | None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, left = tmp_path / "model", tmp_path / "left"
    path.mkdir()
    if version:
        shutil.copytree(tiny_model, path, dirs_exist_ok=True)
        if version == 2:  # without checksums
            settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
            del settings["sha256"]
            (path / "config.json").write_text(json.dumps({**settings, "format": 2}), encoding="utf-8")
    old = SiameseModel.load(tiny_model)
    new = SiameseModel.load(tiny_model)
    new.weights["lstm.bias_ih_l0"] = new.weights["lstm.bias_ih_l0"] + np.float32(0.5)
    new.tokenizer.words.reverse()
    disk = Disk(path, monkeypatch)
    new.save(path)
    outcomes = []
    monkeypatch.undo()
    for found in disk.after_any_cut():
        left.mkdir()
        for name, content in found.items():
            (left / name).write_bytes(content)
        try:
            outcomes.append(which(SiameseModel.load(left), old, new))
        except ModelError as error:
            assert "no trained model there" in str(error)
            outcomes.append("none")
        old.save(left)  # what is left disturbs no later save
        assert which(SiameseModel.load(left), old, new) == "old"
        assert {path.name for path in left.iterdir()} == set(FILES)
        shutil.rmtree(left)
    assert outcomes == sorted(outcomes, key=["none", "old", "new"].index)
    assert set(outcomes) == {"old" if version else "none", "new"}
    assert len(outcomes) > 20


def which(model: SiameseModel, old: SiameseModel, new: SiameseModel) -> str:
    """Return which of the two models this is. Fail if it is neither."""

    def content(model: SiameseModel) -> tuple[object, ...]:
        return model.tokenizer.words, {name: weight.tobytes() for name, weight in model.weights.items()}

    assert content(model) in (content(old), content(new))
    return "old" if content(model) == content(old) else "new"


@pytest.mark.slow
@pytest.mark.ci
@linux
def test_a_training_command_can_go_on_or_is_finished(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, monkeypatch)
    entry.main([*TRAIN, "--data", str(small_file), "--out", str(tmp_path), "--batch-size", "32", "--epochs", "2"])
    written = [about[1] for call, about in disk.calls if call == "sync"]
    final = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert CHECKPOINT not in final and len(final) > len(FILES)
    kept = 0
    for found in disk.after_any_cut():
        assert all(content in written for content in found.values())  # each file is whole
        if kept and CHECKPOINT not in found:
            assert found == final
        kept += CHECKPOINT in found
    assert kept


@linux
def test_predictions_are_the_old_ones_or_the_new_ones(
    small_file: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    out.write_bytes(OLD)
    disk = Disk(tmp_path, monkeypatch)
    entry.main(["predict", "--force", "--model", str(tiny_model), "--file", str(small_file), "--out", str(out)])
    new = out.read_bytes()
    assert [found["out.csv"] for found in disk.after_any_cut()] == [OLD, OLD, OLD, new, new]


@pytest.mark.ci
def test_a_disk_that_is_full_again_and_again(
    room: Room, small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(folder: Path, *more: str) -> tuple[int, list[str]]:
        """Return the exit code, and the lines of the error."""
        line = [*TRAIN, "--data", str(small_file), "--batch-size", "32", "--epochs", "2", "--out", str(folder)]
        try:
            entry.main([*line, *more])
        except SystemExit as stop:
            _, found, error = capsys.readouterr().err.partition("error: ")
            assert isinstance(stop.code, int)
            return stop.code, (found + error).splitlines()
        return 0, []

    assert train(tmp_path / "undisturbed") == (0, [])
    folder = room.folder / "model"

    # At the first checkpoint, when half of it would fit.
    room.fill(but=1 << 20)
    full = "No space left on device"
    code, said = train(folder)
    assert (code, said) == (2, [f"error: {folder / CHECKPOINT}: cannot be written: {full}"])
    assert not folder.exists()
    room.make()

    # At the second checkpoint.
    with monkeypatch.context() as patch:
        epoch = TrainingBar.epoch
        patch.setattr(TrainingBar, "epoch", lambda bar, record: (epoch(bar, record), room.fill()))
        code, said = train(folder)
    assert code == 2 and len(said) == 2, said
    assert said[0] == f"error: {folder / CHECKPOINT}: cannot be written: {full}"
    assert re.match(r"the checkpoint of step \d+ is kept, continue with: ", said[1])
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT, METRICS}
    room.make()

    # When the model is saved: nothing fits; its words do, and its weights do not.
    save = SiameseModel.save
    for but in (0, 64 << 10):
        with monkeypatch.context() as patch:
            patch.setattr(SiameseModel, "save", lambda *to, but=but, **how: (room.fill(but), save(*to, **how)))
            code, said = train(folder, "--resume")
        assert code == 2 and len(said) == 2, said
        assert said[0] == f"error: {folder}: cannot be written: {full}"
        assert re.match(r"the checkpoint of step \d+ is kept, continue with: ", said[1])
        assert {path.name for path in folder.iterdir()} == {CHECKPOINT, METRICS}
        room.make()

    assert train(folder, "--resume") == (0, [])
    assert saved(folder) == saved(tmp_path / "undisturbed")
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "undisturbed").iterdir()}
