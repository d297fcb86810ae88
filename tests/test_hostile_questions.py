"""Any string as a question: a finite vector of length 1 or the zero vector, in linear time."""

import contextlib
import json
import os
import subprocess
import sys
import time
import timeit
import unicodedata
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from files import read_csv, write_csv
from hostile_questions import QUESTIONS, anything, model_of
from hypothesis import given
from hypothesis import strategies as st

from siamese import SiameseModel
from siamese.cli import entry
from siamese.config import PRESETS
from siamese.model.differences import Difference
from siamese.text.cleaning import clean, composed
from siamese.text.keys import key
from siamese.text.tokenizer import MOST_WORDS, RULES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def known(model: SiameseModel, question: str) -> bool:
    return bool(clean(question)) and not model.without_a_known_word([question])[0]


LSTM = [name for name, config in PRESETS.items() if config.tower == "lstm"]
KINDS = [*LSTM, "shipped"]


@pytest.mark.parametrize("name", KINDS)
def test_a_vector_of_length_one_or_zero(name: str) -> None:
    model = model_of(name)
    together = model.encode(QUESTIONS)
    expected = [known(model, question) for question in QUESTIONS]
    assert 5 < sum(expected) < len(QUESTIONS) - 5
    for vectors in (together, np.concatenate([model.encode([question]) for question in QUESTIONS])):
        assert np.isfinite(vectors).all()
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.array(expected, float), abs=1e-6)
    assert not together[~np.array(expected)].any()


@given(st.lists(anything | st.sampled_from(QUESTIONS), min_size=1, max_size=6), st.sampled_from(KINDS))
def test_any_code_points(texts: list[str], name: str) -> None:
    model = model_of(name)
    vectors = model.encode(texts)
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([float(known(model, text)) for text in texts], abs=1e-6)


ACCENTS = [("caf\u00e9", "cafe\u0301"), ("CAF\u00c9 ?", "CAFE\u0301 ?"), ("x \u1ec7", "x e\u0323\u0302"),
           ("x \u1ec7", "x e\u0302\u0323"), ("x \u00c5", "x \u212b"), ("x \ud55c", "x \u1112\u1161\u11ab"),
           ("x \u304c", "x \u304b\u3099"), ("x \u01d6", "x \u00fc\u0304")]  # fmt: skip


@pytest.mark.parametrize("pair", ACCENTS, ids=ascii)
@pytest.mark.parametrize("name", KINDS)
def test_both_spellings_of_an_accent(name: str, pair: tuple[str, str]) -> None:
    model = model_of(name)
    assert pair[0] != pair[1]
    assert model.tokenizer.split(pair[0]) == model.tokenizer.split(pair[1])
    tokens = model.tokenizer.encode(pair)
    assert tokens[0].tolist() == tokens[1].tolist()
    vectors = model.encode(pair)
    assert vectors[0].tolist() == vectors[1].tolist()
    assert key(pair[0]) == key(pair[1])
    if known(model, pair[0]):
        assert model.predict(*pair).similarity == 1


@given(anything, st.sampled_from(["NFC", "NFD"]), st.sampled_from(KINDS))
def test_any_spelling(text: str, form: str, name: str) -> None:
    model, other = model_of(name), unicodedata.normalize(form, text)
    assert model.encode([text]).tolist() == model.encode([other]).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_the_order_of_two_hostile_questions(name: str) -> None:
    model = model_of(name)
    firsts = [*QUESTIONS, *QUESTIONS[::-1], *["how old are you ?"] * len(QUESTIONS)]
    seconds = [*QUESTIONS[1:], "", *QUESTIONS, *QUESTIONS]
    for first, second in zip(firsts, seconds):
        there, back = model.predict(first, second), model.predict(second, first)
        turned = tuple(Difference(kind, b, a) for kind, a, b in map(astuple, back.differences))
        assert there == replace(back, differences=turned), ascii((first, second))
        assert -1 <= there.similarity <= 1
        assert 0 <= there.probability <= 1
    for question in QUESTIONS:
        said = model.predict(question, question, threshold=0.999)
        equal = clean(question) if model.config.padding == "none" else known(model, question)
        assert (said.is_duplicate, said.similarity) == ((True, 1) if equal else (False, 0))


UNKNOWN = ["", " ", "zzzq", "zzzq zzzq", "ɷɷɷ", "\0\0\0\0", "\ud800", "ꙮꙮ", "ཀྵཀྵ", "\u0e5b" * 3, "\u202e\u2067"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("threshold", [0.0, None])
@pytest.mark.parametrize("prior", [None, 1 - 1e-9])
def test_unknown_words_alone(name: str, threshold: float | None, prior: float | None) -> None:
    model = model_of(name)
    unknown = [question for question in UNKNOWN if not known(model, question)]
    assert len(unknown) >= (5 if name == "shipped" else 8)  # whose pieces spell more
    assert not model.encode(unknown).any()
    for first in unknown:
        for second in [*unknown, first + " " + first, "how old are you ?"]:  # buckets would tell their words apart
            for pair in ((first, second), (second, first)):
                if clean(first) and clean(first) == clean(second):
                    continue
                said = model.predict(*pair, threshold=threshold, prior=prior)
                assert (said.is_duplicate, said.similarity) == (False, 0), ascii(pair)


MILLION = 1_000_000
LONG = {
    "letters": "x" * MILLION, "words": ("how old are you ? " * (MILLION // 18 + 1))[:MILLION], "spaces": " " * MILLION,
    "signs": "?" * MILLION, "marks": "e" + "\u0323\u0301" * (MILLION // 2),
    "marks in wrong order": ("\u0345\u0301\u0323\u0f72\u0f71\u0338" * MILLION)[:MILLION],
    "marks in pairs": "\u0f73" * MILLION, "unknown words": ("zzz " * MILLION)[:MILLION],
    "a script without spaces": "駅" * MILLION, "quotes": ("a' \"" * MILLION)[:MILLION], "sigmas": "Σ'" * (MILLION // 2),
    "Hangul in parts": ("\u1112\u1161\u11ab" * MILLION)[:MILLION],
}  # fmt: skip


def seconds(run: Callable[[], object]) -> float:
    """Return the least CPU time of three runs, with garbage collection off."""
    return min(timeit.repeat(run, timer=time.process_time, number=1, repeat=3))  # it pauses the collector


def assert_linear(run: Callable[[int], object], n: int) -> None:
    """Check that eight times the length takes about eight times the time. Quadratic code would take 64 times."""
    short, long = (seconds(lambda size=size: run(size)) for size in (n, 8 * n))
    assert long < 24 * max(short, 0.001), f"{short:.4f} s, then {long:.4f} s for eight times the text"


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("rule", RULES)
def test_cutting_takes_linear_time(rule: str, kind: str) -> None:
    split, text = RULES[rule].split(), LONG[kind]
    assert_linear(lambda n: split(text[:n]), 12_500)


@pytest.mark.parametrize("kind", ["marks", "words", "signs"])
def test_encoding_takes_linear_time(kind: str) -> None:
    model, text = model_of("best"), LONG[kind]
    assert_linear(lambda n: model.encode([text[:n]]), 2_500)


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["signs", "letters", "unknown words", "a script without spaces"])
def test_a_million_characters(kind: str) -> None:
    model, text = model_of("shipped"), LONG[kind]
    start = time.process_time()
    vector = model.encode([text])[0]
    # "signs" are a million words, of which the first MOST_WORDS take two seconds; the others take less than one.
    assert time.process_time() - start < 15
    assert model.tokenizer.encode([text]).lengths[0] == {"signs": MOST_WORDS, "unknown words": MOST_WORDS}.get(kind, 1)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(float(known(model, text)), abs=1e-5)


@pytest.mark.parametrize("kind", ["marks", "marks in pairs"])
def test_a_million_marks_are_composed_in_linear_time(kind: str) -> None:
    assert seconds(lambda: composed(LONG[kind][:50_000])) < 0.8  # else what follows would take too long to fail
    start = time.process_time()
    assert len(composed(LONG[kind])) >= MILLION  # a second; by inserting one after the other, 8 minutes or more
    assert time.process_time() - start < 15
    start = time.process_time()
    key(LONG[kind][:100_000])
    assert time.process_time() - start < 2


def predict(*words: str) -> dict:
    """Return the answer of `predict --json` in this process."""
    import io

    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as out:
        entry.main(["predict", "--json", "--model", "pretrained", *words])
    out.seek(0)
    return json.loads(out.read())


@pytest.mark.ci
def test_predict_any_question() -> None:
    for question in QUESTIONS:
        for words in ((question, "how old are you?"), (question, question)):
            said, expected = predict("--", *words), model_of("shipped").predict(*words)
            assert said.pop("differences") == [vars(difference) for difference in expected.differences], ascii(question)
            numbers = {name: getattr(expected, name) for name in said}
            assert said == pytest.approx(numbers), ascii(question)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no arguments that are no text")
def test_predict_bytes_that_are_no_text() -> None:
    line = [sys.executable, "run.py", "predict", "--threshold", "0", "--model", "pretrained"]
    for pair in (
        (b"\xff\xfe", b"\xed\xa0\x80"),
        (b"\xffhow old", "👩\u200d👧 é \u202e".encode()),
        (b"", b"x" * 100_000),
    ):
        done = subprocess.run([*line, *pair], cwd=ROOT, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith((b"duplicate: ", b"not duplicate: ", b"no verdict: "))
        assert b"Traceback" not in done.stderr


def writable(question: str) -> bool:
    """Return whether a file of pairs can hold the text: UTF-8, and not empty once it is clean."""
    return bool(clean(question)) and not any("\ud800" <= letter <= "\udfff" for letter in question)


def test_files_of_hostile_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = [question for question in QUESTIONS if writable(question)]
    assert len(questions) > 30
    path, out = tmp_path / "pairs.csv", tmp_path / "out.csv"
    rows = [(question, "how old are you?", question) for question in questions]
    write_csv(path, rows, "question1,question2,question")
    entry.main(["predict", "--model", "pretrained", "--file", str(path), "--out", str(out)])
    rows = read_csv(out)
    assert [row["question1"] for row in rows] == questions
    expected = model_of("shipped").similarity(questions, ["how old are you?"] * len(questions))
    assert [float(row["similarity"]) for row in rows] == pytest.approx(expected, abs=1e-5)
    entry.main(["predict", "--model", "pretrained", "--file", str(path)])  # printed
    assert capsys.readouterr().out.endswith(out.read_text("utf-8").replace("\r\n", "\n")[-200:])
    entry.main(["encode", "--model", "pretrained", str(path), "--out", str(tmp_path / "vectors.npy")])
    vectors = np.load(tmp_path / "vectors.npy", allow_pickle=False)
    assert vectors == pytest.approx(model_of("shipped").encode(questions), abs=1e-6)
    # JSON can spell half a surrogate pair, which no file of ours could hold; such a row gets the vector of a blank one.
    lines = tmp_path / "questions.jsonl"
    lines.write_text("".join(json.dumps({"question": question}) + "\n" for question in QUESTIONS))
    entry.main(["encode", "--model", "pretrained", str(lines), "--out", str(tmp_path / "vectors.npy")])
    vectors = np.load(tmp_path / "vectors.npy", allow_pickle=False)
    kept = [question if writable(question) else "" for question in QUESTIONS]
    assert vectors == pytest.approx(model_of("shipped").encode(kept), abs=1e-6)
