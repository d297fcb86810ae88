"""Exported models give the vectors of `SiameseModel.encode`, wherever they are read. Needs onnx, onnxruntime and
sentence-transformers."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

needs = "pip install -r tests/extras/requirements.txt"
onnx = pytest.importorskip("onnx", reason=f"needs onnx: {needs}")
onnxruntime = pytest.importorskip("onnxruntime", reason=f"needs onnxruntime: {needs}")
pytest.importorskip("sentence_transformers", reason=f"needs sentence-transformers: {needs}")

import torch
from conftest import QUESTIONS, Command
from sentence_transformers import SentenceTransformer
from test_hostile_questions import QUESTIONS as HOSTILE
from test_hostile_questions import make, model_of

from siamese import SiameseModel
from siamese.calibration import Calibration
from siamese.config import Config
from siamese.export import graph
from siamese.export.commands import MODULE
from siamese.export.module import TowerModule
from siamese.text import Tokenizer

ROOT = Path(__file__).parents[2]
KINDS = ["shipped", "tiny", "plain", "wide"]


@pytest.fixture(scope="session")
def questions() -> list[str]:
    """All 2,700 questions of data/, the hostile ones, and some that are long or empty."""
    with open(QUESTIONS, encoding="utf-8", newline="") as file:
        found = sorted({row[name] for row in csv.DictReader(file) for name in ("question1", "question2")})
    assert len(found) > 1_000
    return [*found, *HOSTILE, "", "zzzq", "how old are you ? " * 400, " ".join(found[:200])]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """Model folders: the one that comes with the package, which is compact; a trained one of 16 numbers; one without
    `skip` and buckets; and one whose embedding and state have different sizes."""
    folder = tmp_path_factory.mktemp("models")
    make(Config(skip=False, buckets=0)).save(folder / "plain")
    wide = make(Config())
    random = np.random.default_rng(0)
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in (
            ("embedding.weight", (len(wide.tokenizer), 6)),
            ("lstm.weight_ih_l0", (40, 6)),
            ("lstm.weight_hh_l0", (40, 10)),
            ("lstm.bias_ih_l0", (40,)),
            ("lstm.bias_hh_l0", (40,)),
        )
    }
    config = wide.config.replace(skip=False, embedding=6, hidden=10)
    dataclasses.replace(wide, config=config, weights=weights).save(folder / "wide")
    return {"tiny": tiny_model, "plain": folder / "plain", "wide": folder / "wide", "shipped": Path("pretrained")}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """A folder with the exports of each model, NAME and NAME.onnx."""
    from siamese import cli

    out = tmp_path_factory.mktemp("exported")
    for name, folder in folders.items():
        for words in (("sentence-transformers", out / name), ("onnx", out / f"{name}.onnx")):
            cli.main(["export", "--to", words[0], "--out", str(words[1]), "--model", str(folder)])
    return out


def run_onnx(path: Path, questions: list[str]) -> np.ndarray:
    """The vectors by the ONNX file and what is written in it, and nothing else."""
    session = onnxruntime.InferenceSession(path)
    tokenizer = Tokenizer(**json.loads(session.get_modelmeta().custom_metadata_map["tokenizer"]))
    tokens = tokenizer.encode(questions)
    order = np.argsort(tokens.lengths, kind="stable")  # batches of like lengths, as one question is very long
    vectors = np.zeros((len(questions), session.get_outputs()[0].shape[1]), np.float32)
    for first in range(0, len(order), 100):
        rows = order[first : first + 100]
        part = tokens.take(rows)
        length = int(part.lengths.max())
        ids = part.padded(length, tokenizer.pad).ids.reshape(len(part), length)
        vectors[rows] = session.run(None, {"ids": ids.astype(np.int64), "lengths": part.lengths})[0]
    return vectors


def assert_same(vectors: np.ndarray, expected: np.ndarray) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape == expected.shape
    assert np.abs(vectors - expected).max() < 1e-5
    assert (vectors.any(1) == expected.any(1)).all()


@pytest.mark.parametrize("name", KINDS)
def test_the_same_vectors(name: str, exported: Path, folders: dict[str, Path], questions: list[str]) -> None:
    expected = SiameseModel.load(folders[name]).encode(questions)
    assert 10 < (~expected.any(1)).sum() < len(questions) - 10
    assert_same(run_onnx(exported / f"{name}.onnx", questions), expected)
    encoder = SentenceTransformer(str(exported / name), trust_remote_code=True, device="cpu")
    assert_same(encoder.encode(questions, batch_size=64), expected)


# sentence-transformers


def test_a_folder_of_sentence_transformers(exported: Path, tmp_path: Path) -> None:
    model = SiameseModel.pretrained()
    encoder = SentenceTransformer(str(exported / "shipped"), trust_remote_code=True, device="cpu")
    assert encoder.similarity_fn_name == "cosine"
    assert encoder.max_seq_length == 100_000
    assert encoder.get_embedding_dimension() == 128
    pair = ["How old are you?", "What is your age?"]
    first, second = encoder.encode(pair)
    assert float(encoder.similarity(first, second)) == pytest.approx(model.predict(*pair).similarity, abs=1e-5)
    assert encoder.encode("").tolist() == [0.0] * 128
    assert_same(encoder.encode(pair, prompt="how "), model.encode(["how " + question for question in pair]))
    features = encoder.preprocess([*pair, ""])
    assert features["input_ids"].shape == features["attention_mask"].shape == (3, 5)
    assert features["attention_mask"].sum(1).tolist() == [5, 5, 0]

    encoder.save(str(tmp_path / "again"))
    again = SentenceTransformer(str(tmp_path / "again"), trust_remote_code=True, device="cpu")
    assert again.encode(pair).tolist() == encoder.encode(pair).tolist()
    assert "for non-commercial use" in (tmp_path / "again" / "README.md").read_text("utf-8")
    # It is a model folder as well, in full numbers.
    kept = SiameseModel.load(tmp_path / "again")
    assert model.config.compact and not kept.config.compact
    assert (kept.threshold, kept.calibration) == (model.threshold, model.calibration)
    assert all((kept.weights[name] == weight).all() for name, weight in model.weights.items())


def test_it_can_be_trained_further(tmp_path: Path) -> None:
    module = TowerModule(model_of("best"))
    encoder = SentenceTransformer(modules=[module], device="cpu")
    before = encoder.encode(["how old are you ?"])
    features = encoder.preprocess(["how old are you ?", "old"])
    encoder(features)["sentence_embedding"][:, 0].sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in module.parameters())
    torch.optim.SGD(module.parameters(), 0.1).step()
    encoder.save(str(tmp_path))
    after = SiameseModel.load(tmp_path).encode(["how old are you ?"])
    assert_same(after, encoder.encode(["how old are you ?"]))
    assert np.abs(after - before).max() > 1e-3


def test_a_new_process_elsewhere(exported: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    # The package is where pip would put it, on the path; nothing else of this project is.
    code = (
        "from sentence_transformers import SentenceTransformer\n"
        "encoder = SentenceTransformer('tiny', trust_remote_code=True, device='cpu')\n"
        "print(*map(repr, encoder.encode(['How old are you?'])[0].tolist()))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    expected = SiameseModel.load(folders["tiny"]).encode(["How old are you?"])[0]
    assert [float(number) for number in done.stdout.split()] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_class_that_folders_name() -> None:
    assert f"{TowerModule.__module__}.{TowerModule.__qualname__}" == MODULE


# ONNX


def test_an_onnx_file(exported: Path, tmp_path: Path) -> None:
    model = SiameseModel.pretrained()
    onnx.checker.check_model(exported / "shipped.onnx", full_check=True)
    session = onnxruntime.InferenceSession(exported / "shipped.onnx")
    about = session.get_modelmeta()
    assert "for non-commercial use" in about.description
    about = about.custom_metadata_map
    assert about.keys() == {"tokenizer", "threshold", "calibration"}
    assert float(about["threshold"]) == model.threshold
    assert Calibration(**json.loads(about["calibration"])) == model.calibration
    assert json.loads(about["tokenizer"])["words"] == model.tokenizer.words


@pytest.mark.parametrize("name", KINDS)
def test_any_batch_and_length(name: str, exported: Path, folders: dict[str, Path]) -> None:
    model = SiameseModel.load(folders[name])
    session = onnxruntime.InferenceSession(exported / f"{name}.onnx")
    ids, hidden = len(model.tokenizer), model.config.hidden

    def run(padded: np.ndarray, lengths: list[int]) -> np.ndarray:
        return session.run(None, {"ids": padded, "lengths": np.array(lengths, np.int64)})[0]

    for batch, length in ((0, 0), (0, 3), (1, 0), (2, 0)):
        empty = run(np.zeros((batch, length), np.int64), [0] * batch)
        assert empty.shape == (batch, hidden)
        assert not empty.any()
    random = np.random.default_rng(1)
    for batch, length in ((1, 1), (3, 2), (7, 40), (2, 2_000)):
        padded = random.integers(ids, size=(batch, length))
        lengths = random.integers(length + 1, size=batch).tolist()
        vectors = run(padded, lengths)
        # What stands behind a question says nothing, nor do the other questions, nor more room.
        other = random.integers(ids, size=(batch, length + 3))
        other[:, :length] = np.where(np.arange(length) < np.array(lengths)[:, None], padded, other[:, :length])
        assert run(other, lengths) == pytest.approx(vectors, abs=1e-6)
        for row, n in enumerate(lengths):
            assert run(padded[row : row + 1, :n], [n])[0] == pytest.approx(vectors[row], abs=1e-6)
    unknown = np.full((3, 4), model.tokenizer.unknown)
    assert not run(unknown, [1, 2, 4]).any()
    bucket = np.full((1, 1), model.tokenizer.first_word - 1)  # the last of the buckets
    assert not run(bucket, [1]).any()
    assert run(bucket + 1, [1]).any()


def test_a_question_of_twenty_thousand_words(exported: Path) -> None:
    # In float32 the sum would be off by more than 1e-5.
    question = ["how old are you ? " * 4_000]
    assert_same(run_onnx(exported / "shipped.onnx", question), SiameseModel.pretrained().encode(question))


# The command


@pytest.mark.parametrize("form", ["sentence-transformers", "onnx"])
def test_what_cannot_be_exported(form: str, tmp_path: Path, command: Command) -> None:
    model_of("course-trax-2020").save(tmp_path / "course")
    code, out, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", tmp_path / "course")
    assert (code, out) == (2, "")
    assert "course: a model of the preset course-trax-2020 averages the padding" in err
    code, _, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", tmp_path / "nothing")
    assert code == 2 and "no trained model there" in err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    code, _, err = command("export", "--to", form, "--out", tmp_path / "file" / "out", "--model", "pretrained")
    assert code == 2 and str(tmp_path / "file") in err


def test_without_onnx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert (code, err.splitlines()[-1]) == (2, "error: export --to onnx needs onnx: pip install onnx")


def test_weights_beyond_two_gigabytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    monkeypatch.setattr(graph, "MOST", 80 << 20)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert code == 0
    monkeypatch.setattr(graph, "MOST", 70 << 20)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert code == 2 and "an ONNX file has at most" in err


# What is written about it


def test_the_examples_of_the_readme(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"^```py\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    (tmp_path / "models").mkdir()
    os.symlink(exported / "shipped", tmp_path / "models" / "questions")
    os.symlink(exported / "shipped.onnx", tmp_path / "models" / "questions.onnx")
    monkeypatch.chdir(tmp_path)
    for code in examples:
        found: dict[str, Any] = {}
        exec(code, found)
        assert_same(found["vectors"], SiameseModel.pretrained().encode(["How old are you?", "What is your age?"]))
