"""Models that `export` refuses, and missing libraries. tests/extras/test_export.py has the rest."""

import sys
from pathlib import Path

import pytest
from commands import Command
from hostile_questions import model_of

from siamese.cli.export import FORMS


@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_exported(form: str, tmp_path: Path, command: Command) -> None:
    model_of("course-trax-2020").save(tmp_path / "course")
    code, out, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", tmp_path / "course")
    assert (code, out) == (2, "")
    assert "course: the preset course-trax-2020 averages the padding" in err
    code, _, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", tmp_path / "nothing")
    assert code == 2 and "no trained model there" in err
    assert not (tmp_path / "out").exists()


def test_without_sentence_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers.sentence_transformer.modules", None)
    code, _, err = command(
        "export", "--to", "sentence-transformers", "--out", tmp_path / "out", "--model", "pretrained"
    )
    assert code == 2 and err.splitlines()[-1].endswith("needs sentence-transformers: pip install sentence-transformers")


def test_without_onnx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert (code, err.splitlines()[-1]) == (2, "error: export --to onnx needs onnx: pip install onnx")
