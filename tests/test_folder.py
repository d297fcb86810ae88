"""Writing a model folder: checksums, and crashes between two files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siamese import SiameseModel
from siamese.errors import ModelError
from siamese.model.folder import FILES, MOST_BYTES, WEIGHTS
from siamese.system import files

QUESTIONS = ["Why does my bike chain skip?", "What is a bike?"]


def changed(path: Path, **changes: float) -> SiameseModel:
    """Load a folder's model with other weights (`shift`), other words (`turned`) or another threshold."""
    model = SiameseModel.load(path)
    if shift := changes.get("shift"):
        model.weights["lstm.bias_ih_l0"] = model.weights["lstm.bias_ih_l0"] + np.float32(shift)
    if changes.get("turned"):
        model.tokenizer.words.reverse()
    model.threshold = changes.get("threshold", model.threshold)
    return model


CHANGES = [{"shift": 0.5, "turned": 1, "threshold": 0.25}, {"shift": 0.5}, {"turned": 1}, {"threshold": 0.25}]


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FILES}


def test_the_checksums_are_those_of_the_files(tiny_model: Path) -> None:
    text = (tiny_model / "config.json").read_text(encoding="utf-8")
    settings = json.loads(text)
    assert settings["format"] == 3
    own = settings["sha256"].pop("config.json")
    assert own == hashlib.sha256(text.replace(own, "0" * 64).encode()).hexdigest()
    for name, checksum in settings["sha256"].items():
        assert checksum == hashlib.sha256((tiny_model / name).read_bytes()).hexdigest()


def test_a_folder_of_format_2_is_read_and_saved_as_format_3(tiny_model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
    del settings["sha256"]
    (path / "config.json").write_text(json.dumps({**settings, "format": 2}), encoding="utf-8")
    old = SiameseModel.load(path)
    assert old.encode(QUESTIONS).tobytes() == SiameseModel.load(tiny_model).encode(QUESTIONS).tobytes()
    old.save(path)
    assert contents(path) == contents(tiny_model)


def test_loaded_and_saved_onto_itself(tiny_model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    loaded = SiameseModel.load(path)
    before = loaded.encode(QUESTIONS).tobytes()
    loaded.save(path)
    assert contents(path) == contents(tiny_model)
    assert loaded.encode(QUESTIONS).tobytes() == before
    assert all(weight.flags.writeable and weight.flags.aligned for weight in loaded.weights.values())
    (path / WEIGHTS).write_bytes(b"")  # what was loaded no longer hangs on the files
    assert loaded.encode(QUESTIONS).tobytes() == before


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_crash_leaves_the_old_model_or_the_new_one(
    changes: dict[str, float], version: int, tiny_model: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tiny_model, old)
    if version == 2:
        settings = json.loads((old / "config.json").read_text(encoding="utf-8"))
        del settings["sha256"]
        (old / "config.json").write_text(json.dumps({**settings, "format": 2}), encoding="utf-8")
    model = changed(old, **changes)
    model.save(new)
    outcomes = []
    for crash in range(40):  # just before the crash-th call that makes something durable or renames it
        path = Path(shutil.copytree(old, tmp_path / str(crash)))
        ended = in_a_child(lambda path=path, crash=crash: (crash_at(crash), model.save(path)))
        if ended == "whole":
            break
        (tmp_path / "settled").mkdir(exist_ok=True)
        SiameseModel.load(path).save(tmp_path / "settled")
        found = contents(tmp_path / "settled")
        outcomes.append("new" if found == contents(new) else "old")
        if version == 3 or outcomes[-1] == "new":
            assert found in (contents(old), contents(new))
        model.save(path)  # what the crash left is in nobody's way
        assert contents(path) == contents(new) and {file.name for file in path.iterdir()} == set(FILES)
    assert ended == "whole" and contents(path) == contents(new)
    assert {file.name for file in path.iterdir()} == set(FILES)
    assert outcomes == sorted(outcomes, reverse=True)  # old, old, …, new, new
    assert set(outcomes) == {"old", "new"}
    # Two names looked for where there are checksums, and the folder synced; of three files the data, the new name and
    # the folder; two names of their own, and the folder.
    assert len(outcomes) == (2 if version == 3 else 0) + 1 + 3 * 3 + 2 + 1


def crash_at(number: int) -> None:
    """Let this process end without more ado at so many calls of fsync and rename."""
    left = [number]

    def counted(call: Callable) -> Callable:
        def run(*arguments: object) -> object:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return call(*arguments)

        return run

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)  # type: ignore[assignment]


def in_a_child(run: Callable) -> str:
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    return "whole" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else "crashed"


def test_an_error_before_the_names_change_leaves_the_old_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(tiny_model, tmp_path / "model"))

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_file", full)
    with pytest.raises(OSError, match="No space left"):
        changed(path, shift=0.5).save(path)
    assert contents(path) == contents(tiny_model)
    assert {file.name for file in path.iterdir()} == set(FILES)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 2e9])
def test_what_would_be_refused_is_not_saved(number: float, tiny_model: Path, tmp_path: Path) -> None:
    model = SiameseModel.load(tiny_model)
    model.weights["lstm.bias_ih_l0"][3] = number
    with pytest.raises(ModelError, match="lstm.bias_ih_l0 holds a number that is not finite, or beyond 1e.09"):
        model.save(tmp_path / "new")
    model = SiameseModel.load(tiny_model)
    for word in ("a b", "", "a\0b", "a\n", model.tokenizer.words[1]):
        model.tokenizer.words[0] = word
        with pytest.raises(ModelError, match="vocabulary"):
            model.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_too_large_a_file_is_not_saved(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    monkeypatch.setitem(MOST_BYTES, WEIGHTS, 1_000)
    with pytest.raises(ModelError, match="model.safetensors: .* bytes, expected 1,000 at most"):
        SiameseModel.load(path)
    monkeypatch.setitem(MOST_BYTES, WEIGHTS, 2 << 30)
    model = changed(path, shift=0.5)
    monkeypatch.setitem(MOST_BYTES, WEIGHTS, 1_000)
    with pytest.raises(ModelError, match="model.safetensors: .* bytes, expected 1,000 at most"):
        model.save(path)
    assert contents(path) == contents(tiny_model)
