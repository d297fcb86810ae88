"""Exported models give the vectors of `SiameseModel.encode`, wherever they are read. Needs onnx, onnxruntime and
sentence-transformers."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from encoders import KINDS as TRANSFORMERS
from encoders import WORDS, make_transformer
from files import QUESTIONS, read_csv
from hostile_questions import QUESTIONS as HOSTILE
from hostile_questions import WORDS as HOSTILE_WORDS
from hostile_questions import anything
from hypothesis import given
from hypothesis import strategies as st
from libraries import needs
from tiny_models import random_model

needs("onnx", "onnxruntime", "sentence_transformers")

from siamese import SiameseModel
from siamese.cli.export import FORMS
from siamese.config import Config
from siamese.export import crc, lstm, writing
from siamese.model.calibration import Calibration
from siamese.text.cleaning import clean
from siamese.text.subwords import SubwordTokenizer
from siamese.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
KINDS = ["shipped", "tiny", "plain", "wide", "pieces"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def questions() -> list[str]:
    """Return the 2,700 questions of the first edition of data/, the hostile ones, and some that are long or empty."""
    found = sorted({row[name] for row in read_csv(QUESTIONS)[:18_695] for name in ("question1", "question2")})
    assert len(found) > 1_000
    long = ["how old are you ? " * 400, " ".join(found[:200])]
    return [*found, *HOSTILE, "", "zzzq", "how [UNK] old [PAD]", "[UNK]", *long]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """Model folders: the one that comes with the package, which is compact; a trained one of 16 numbers; one without
    `skip` and buckets; and one whose embedding and state have different sizes."""
    folder = tmp_path_factory.mktemp("models")
    random_model(Config(skip=False, buckets=0), HOSTILE_WORDS).save(folder / "plain")
    pieces = Tokenizer.learn(HOSTILE, "pieces", min_count=2).words
    random_model(Config(tokens="pieces", buckets=0), pieces).save(folder / "pieces")
    wide = random_model(Config(), HOSTILE_WORDS)
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
    own = {name: folder / name for name in ("plain", "wide", "pieces")}
    return {"tiny": tiny_model, **own, "shipped": Path("pretrained")}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """Return a folder with NAME.onnx of each model."""
    from siamese.cli import entry

    out = tmp_path_factory.mktemp("exported")
    for name, folder in folders.items():
        entry.main(["export", "--to", "onnx", "--out", str(out / f"{name}.onnx"), "--model", str(folder)])
    return out


def onnx_session(path: Path) -> Any:
    from onnxruntime import InferenceSession

    return InferenceSession(path)


def run_onnx(path: Path, questions: list[str]) -> np.ndarray:
    """Encode questions with the ONNX file and its metadata alone."""
    session = onnx_session(path)
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


def spelt(question: str) -> bool:
    """Return whether the library tokenizers takes a question: it refuses half surrogate pairs."""
    return not any("\ud800" <= letter <= "\udfff" for letter in question)


@pytest.fixture(scope="session")
def stocks(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """Return a folder with each model in the form of sentence-transformers."""
    from siamese.cli import entry

    out = tmp_path_factory.mktemp("stock")
    for name, folder in folders.items():
        entry.main(["export", "--to", "sentence-transformers", "--out", str(out / name), "--model", str(folder)])
    return out


def plain(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", trust_remote_code=False, local_files_only=True)


@pytest.mark.parametrize("name", KINDS)
def test_a_plain_folder_gives_the_same_vectors(
    name: str, stocks: Path, folders: dict[str, Path], questions: list[str]
) -> None:
    texts = [*filter(spelt, questions)]
    expected = SiameseModel.load(folders[name]).encode(texts)
    assert 10 < (~expected.any(1)).sum() < len(texts) - 10
    encoder = plain(stocks / name)
    assert_same(encoder.encode([*map(clean, texts)], batch_size=64), expected)
    assert (encoder.max_seq_length, encoder.similarity_fn_name) == (100_000, "cosine")
    assert encoder.get_embedding_dimension() == expected.shape[1]


def test_one_known_word_among_fifty_thousand(stocks: Path, folders: dict[str, Path]) -> None:
    texts = ["zzzq " * 50_000 + "how", "zzzq " * 50_000]
    assert_same(plain(stocks / "tiny").encode(texts), SiameseModel.load(folders["tiny"]).encode(texts))


def test_names_that_nobody_knew_are_told_apart(stocks: Path) -> None:
    model, encoder = SiameseModel.pretrained(), plain(stocks / "shipped")
    texts = [f"how {name} is {name}?" for name in ("zzzq", "qqqz", "zzzé", "駅日本", "ʃ" * 127, "x" * 255)]
    assert model.tokenizer.unknown_words(texts).tolist() == [0, 0, 0, 2, 2, 2]  # the first ones are spelt in pieces
    vectors = encoder.encode(texts)
    assert_same(vectors, model.encode(texts))
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-2
    # But those that are too long to be cut are one.
    first, second = encoder.encode(["how " + "x" * 256, "how " + "é" * 128])
    assert first.tolist() == second.tolist()


def test_it_is_saved_and_loaded_again(stocks: Path, tmp_path: Path) -> None:
    texts = ["How old are you?", "zzzq how", "zzzq", ""]
    encoder = plain(stocks / "shipped")
    first, *_, last = vectors = encoder.encode(texts)
    assert float(encoder.similarity(first, vectors[1])) == pytest.approx(float(first @ vectors[1]), abs=1e-5)
    assert not last.any()
    encoder.save(str(tmp_path))
    assert plain(tmp_path).encode(texts).tolist() == vectors.tolist()
    assert "CC BY-SA 4.0" in (stocks / "shipped" / "README.md").read_text("utf-8")


def cutting(
    buckets: int, words: Sequence[str] = (), rule: str = "words"
) -> tuple[Tokenizer, Callable[[str], list[int]]]:
    """A tokenizer of ours, and what gives the ids of a text by the same one as a file of the library tokenizers.

    The library does not clean, so that one gets the clean text.
    """
    tokenizer = Tokenizer(words, rule, buckets)
    backend = lstm.stock_tokenizer(tokenizer).backend_tokenizer
    return tokenizer, lambda text: backend.encode(clean(text), add_special_tokens=False).ids


OURS, THEIRS = cutting(4096, ["how", "é", "?", "駅", "\U0001f469", "x" * 300, "zzzq"])


SIGMAS = ["ΣΑΣ ΌΣΟΣ Σ", "Α'Σ'Α Α'Σ'", "aʰΣ ʰΣ ΑΣʰ", "ΑΣ.Β 1Σ ΑΣ\u0301", "ΑΣΣ ΑΣ ΣΣ"]


def without_long(text: str) -> str:
    """Return the words of a text, without those that have no bucket in the export."""
    return " ".join(word for word in OURS.split(text) if len(word.encode()) <= crc.LONGEST_WORD)


@pytest.mark.parametrize("text", [*filter(spelt, HOSTILE), *SIGMAS], ids=ascii)
def test_the_ids_are_ours(text: str) -> None:
    assert len(THEIRS(text)) == len(OURS.encode([text])[0])
    text = without_long(text)
    assert THEIRS(text) == OURS.encode([text])[0].tolist()


@given(anything.filter(spelt))
def test_the_ids_of_anything_are_ours(text: str) -> None:
    text = without_long("".join(letter for letter in text if unicodedata.category(letter) != "Cn"))
    assert THEIRS(text) == OURS.encode([text])[0].tolist()


PIECES = ["how", "h", "##o", "##ow", "é", "##é", "a", "##a", "##bc", "?", "駅", "x", "##x", "σ", "##ς", "##σ"]


@pytest.mark.parametrize("text", [*filter(spelt, HOSTILE), *SIGMAS, "hoow aabc habca", "x" * 64, "x" * 65], ids=ascii)
def test_the_pieces_are_ours(text: str) -> None:
    ours, theirs = cutting(0, PIECES, "pieces")
    assert theirs(text) == ours.encode([text])[0].tolist()


@given(st.lists(st.text("howabcxéσ?駅z", max_size=70)).map(" ".join) | anything.filter(spelt))
def test_the_pieces_of_anything_are_ours(text: str) -> None:
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cn")
    ours, theirs = cutting(0, PIECES, "pieces")
    assert theirs(text) == ours.encode([text])[0].tolist()


def test_words_of_every_length() -> None:
    random = np.random.default_rng(0)
    for n in range(1, 262):
        for word in ("".join(random.choice([*"abcxyz0189_"], n)), "".join(random.choice([*"éaж駅"], n))):
            long = len(word.encode()) > crc.LONGEST_WORD
            assert THEIRS(f"how {word} é") == [OURS.first_word, OURS.unknown if long else OURS.bucket(word), 4099]
    assert THEIRS("x" * 300) == OURS.encode(["x" * 300])[0].tolist() == [OURS.first_word + 5]


@pytest.mark.parametrize("buckets", [0, 2, 4, 64, 2048])
def test_the_ids_with_other_numbers_of_buckets(buckets: int) -> None:
    ours, theirs = cutting(buckets, ["how", "mno"])
    for text in ("how mno abc xyz? é駅 駅é", *(f"zz{i} how" for i in range(50))):
        assert theirs(text) == ours.encode([text])[0].tolist()


@pytest.mark.parametrize("buckets", [0, 2])
def test_every_letter_is_cut_as_we_do(buckets: int) -> None:
    # But those that Python's Unicode does not have, and one that has become a mark since.
    ours, theirs = cutting(buckets)
    letters = [chr(code) for code in range(sys.maxunicode + 1) if code != 0x1171E]
    letters = [letter for letter in letters if unicodedata.category(letter) not in ("Cn", "Cs")]
    assert len(letters) > 250_000
    for first in range(0, len(letters), 5_000):
        text = " ".join(f"{letter}a{letter} AΣ{letter}Σ" for letter in letters[first : first + 5_000])
        assert theirs(text) == ours.encode([text])[0].tolist()


def test_a_process_without_this_package(stocks: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    export_transformer(tmp_path, "bert")
    code = (
        "import sys\n"
        "sys.modules['siamese'] = None\n"
        "from sentence_transformers import SentenceTransformer\n"
        "for path in sys.argv[1:]:\n"
        "    print(*map(repr, SentenceTransformer(path).encode(['How old are you?'])[0].tolist()))"
    )
    paths = {stocks / "tiny": folders["tiny"], tmp_path / "plain": tmp_path / "model"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, paths)], cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line, folder in zip(done.stdout.splitlines(), paths.values(), strict=True):
        expected = SiameseModel.load(folder).encode(["How old are you?"])[0]
        assert [float(number) for number in line.split()] == pytest.approx(expected.tolist(), abs=1e-5)


def test_an_onnx_file(exported: Path, tmp_path: Path) -> None:
    model = SiameseModel.pretrained()
    import onnx

    onnx.checker.check_model(exported / "shipped.onnx", full_check=True)
    session = onnx_session(exported / "shipped.onnx")
    about = session.get_modelmeta()
    assert "CC BY-SA 4.0" in about.description
    about = about.custom_metadata_map
    assert about.keys() == {"tokenizer", "threshold", "calibration"}
    assert float(about["threshold"]) == model.threshold
    assert Calibration(**json.loads(about["calibration"])) == model.calibration
    assert json.loads(about["tokenizer"])["words"] == model.tokenizer.words


@pytest.mark.parametrize("name", KINDS)
def test_any_batch_and_length(name: str, exported: Path, folders: dict[str, Path]) -> None:
    model = SiameseModel.load(folders[name])
    session = onnx_session(exported / f"{name}.onnx")
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


def export_transformer(folder: Path, kind: str) -> SiameseModel:
    """A model of two layers with random weights, in folder/model; its exports are folder/plain and folder/file.onnx."""
    from siamese.cli import entry

    model = make_transformer(folder, kind)
    model.save(folder / "model")
    for form, name in (("sentence-transformers", "plain"), ("onnx", "file.onnx")):
        entry.main(["export", "--to", form, "--model", str(folder / "model"), "--out", str(folder / name)])
    return model


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_transformer(kind: str, tmp_path: Path) -> None:
    model = export_transformer(tmp_path, kind)
    texts = [*HOSTILE, *WORDS, "how old are you ? " * 40, " How is my age?  "]
    expected = model.encode(texts)
    known = expected.any(1)
    assert 10 < known.sum() <= len(texts) - (1 if kind == "roberta" else 10)  # whose bytes are all known
    encoder = plain(tmp_path / "plain")
    assert encoder.max_seq_length == 32
    which = [i for i, text in enumerate(texts) if known[i] and spelt(text)]
    assert_same(encoder.encode([clean(texts[i]) for i in which]), expected[which])

    session = onnx_session(tmp_path / "file.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert (float(about["threshold"]), json.loads(about["calibration"])["slope"]) == (0.5, 6.0)
    tokens = SubwordTokenizer(about["tokenizer"]).encode(texts)

    def run(part: Any, length: int, pad: int = 0) -> np.ndarray:
        ids = part.padded(length, pad).ids.reshape(len(part), length).astype(np.int64)
        mask = np.arange(length) < part.lengths[:, None]
        return session.run(None, {"ids": ids, "attention_mask": mask.astype(np.int64)})[0]

    assert tokens.lengths.max() == 32
    assert_same(run(tokens, 32), expected)
    assert_same(run(tokens, 32, pad=7), expected)  # what stands behind a question says nothing
    for i in range(0, len(texts), 5):
        assert_same(run(tokens.take(np.array([i])), int(tokens.lengths[i])), expected[i : i + 1])
    for batch, length in ((0, 0), (0, 3), (1, 0), (2, 0), (2, 3)):
        nothing = np.zeros((batch, length), np.int64)
        (vectors,) = session.run(None, {"ids": nothing, "attention_mask": nothing})
        assert vectors.shape == (batch, model.dimensions)
        assert not vectors.any()


def test_what_the_command_says(folders: dict[str, Path], tmp_path: Path, command: Command) -> None:
    export = ["export", "--to", "sentence-transformers", "--out"]
    for name, but in (
        ("tiny", "; there, unknown words of more than 255 bytes share one vector"),
        ("plain", ""),
    ):
        code, out, err = command(*export, tmp_path / name, "--model", folders[name])
        assert (code, err) == (0, "")
        but += "; give it clean text (siamese.text.cleaning)\n"
        assert out == f'{tmp_path / name}: load with SentenceTransformer("{tmp_path / name}"){but}'
    assert command(*export, tmp_path / "tiny", "--model", folders["tiny"])[0] == 0  # again
    (tmp_path / "tiny" / "notes.txt").write_text("a person's")
    for force in ((), ("--force",)):
        code, _, err = command(*export, tmp_path / "tiny", "--model", folders["tiny"], *force)
        assert code == 2 and "notes.txt: not a file of an export" in err
    assert (tmp_path / "tiny" / "modules.json").exists()
    code, _, err = command(*export, tmp_path, "--model", folders["tiny"])
    assert code == 2 and f"{tmp_path}: exists already; give a new folder, or that of an earlier export" in err
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "tiny"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": "spaces"}, "rule 'words' or 'pieces'; use --to onnx"),
        ({"tokens": "pieces"}, "the model has pieces of words and 4,096 buckets; use --to onnx"),
        ({"buckets": 11}, "the model has 11 buckets, expected a power of 2 from 2 to 4,096; use --to onnx"),
    ],
)
def test_a_model_that_no_plain_folder_holds(
    changes: dict[str, Any], message: str, tmp_path: Path, command: Command
) -> None:
    random_model(Config(**changes), HOSTILE_WORDS).save(tmp_path / "model")
    export = ["--out", tmp_path / "out", "--model", tmp_path / "model"]
    code, _, err = command("export", "--to", "sentence-transformers", *export)
    assert code == 2 and message in err
    assert not (tmp_path / "out").exists()
    assert command("export", "--to", "onnx", *export)[0] == 0


@pytest.mark.parametrize("form", FORMS)
def test_an_output_below_a_file(form: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = command("export", "--to", form, "--out", tmp_path / "file" / "out", "--model", "pretrained")
    assert code == 2 and str(tmp_path / "file") in err


def test_weights_beyond_two_gigabytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    monkeypatch.setattr(writing, "LARGEST_FILE", 130 << 20)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert code == 0
    monkeypatch.setattr(writing, "LARGEST_FILE", 115 << 20)
    code, _, err = command("export", "--to", "onnx", "--out", tmp_path / "out.onnx", "--model", "pretrained")
    assert code == 2 and "an ONNX file has at most" in err


def test_the_examples_of_the_guide(
    exported: Path, stocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "siamese/export/README.md").read_text("utf-8")
    examples = re.findall(r"^```python extras\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    (tmp_path / "models").mkdir()
    os.symlink(stocks / "shipped", tmp_path / "models" / "questions")
    os.symlink(exported / "shipped.onnx", tmp_path / "models" / "questions.onnx")
    monkeypatch.chdir(tmp_path)
    for code in examples:
        found: dict[str, Any] = {}
        exec(code, found)
        assert_same(found["vectors"], SiameseModel.pretrained().encode(["How old are you?", "What is your age?"]))
