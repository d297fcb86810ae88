"""The same question gets the same answer: alone or in a batch, on one or two threads, by numpy or torch, reloaded.

Beside these: test_tower.py has numpy against the tower at each size, test_model.py the course presets' batches and the
symmetry of similarities, test_training.py the same weights from the same seed in two processes, test_survival.py in
runs that are stopped, test_folder.py a model that is saved onto itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from siamese import Pairs, SiameseModel
from siamese.config import PRESETS, Config
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import HIGHEST
from siamese.model.files import write_predictions
from siamese.pairs import splits
from siamese.pairs.reading import read_pairs
from siamese.text.ragged import Tokens
from siamese.text.tokenizer import first_word
from siamese.towers import lstm_numpy
from siamese.training.start import make_tower
from siamese.training.train import train_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
SMALL = {"embedding": 16, "hidden": 16, "batch_size": 32, "epochs": 2}
KINDS = {  # of models: every preset, and what changes the tower or its file
    **{name: config.replace(**SMALL) for name, config in PRESETS.items() if config.tower == "lstm"},
    "compact": Config(**SMALL, compact=True),
    "without skip, other sizes": Config(**{**SMALL, "embedding": 12}, skip=False),
    "without buckets": Config(**SMALL, buckets=0),
    "bfloat16 training": Config(**SMALL, precision="bfloat16"),
}
ALONE = [name for name in KINDS if KINDS[name].padding == "none"]  # a question's vector is its own


def trained(config: Config, path: str | Path) -> SiameseModel:
    parts = splits.load(splits.Source(str(path)))
    return train_model(config, parts.training, parts.validation)


@pytest.fixture(scope="module")
def models(small_file: Path) -> dict[str, SiameseModel]:
    return {name: trained(config, small_file) for name, config in KINDS.items()}


@pytest.fixture(scope="module")
def texts(small_file: Path) -> list[str]:
    pairs = read_pairs(small_file)
    distinct = sorted({*pairs.question1, *pairs.question2})
    return [*distinct, "", "zzz", " ".join(distinct), *(text.upper() + " zzz?" for text in distinct)]


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(number):
            yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.ci
@pytest.mark.parametrize("engine", ["encode", "encode_torch"])
@pytest.mark.parametrize("name", ALONE)
def test_a_vector_is_the_questions_own(
    models: dict[str, SiameseModel], texts: list[str], name: str, engine: str
) -> None:
    model, run = models[name], getattr(lstm_numpy, engine)
    many = texts * (2 * lstm_numpy.QUESTIONS_WITH_TORCH // len(texts) + 1)  # more than run together, in both

    def encode(questions: list[str]) -> np.ndarray:
        tokens = model.tokenizer.encode(questions)
        found: np.ndarray = run(model.weights, tokens, skip=model.config.skip, known=model.tokenizer.knows(tokens))
        return found

    together = encode(many)
    assert encode(many).tobytes() == together.tobytes()
    for number in (1, 2):
        with threads(number):
            np.testing.assert_allclose(encode(many), together, rtol=0, atol=1e-6)
    order = np.random.default_rng(1).permutation(len(many))
    np.testing.assert_allclose(encode([many[i] for i in order]), together[order], rtol=0, atol=1e-6)
    for size in (1, 2, 31, 500):
        for start in range(0, len(texts), max(size, len(texts) // 10)):
            part = slice(start, start + size)
            np.testing.assert_allclose(encode(many[part]), together[part], rtol=0, atol=1e-6)


@pytest.mark.ci
def test_the_number_of_threads_of_a_process_changes_nothing(tiny_model: Path, texts: list[str], tmp_path: Path) -> None:
    code = """
import json, sys
from siamese import SiameseModel
texts = json.load(open(sys.argv[2], encoding="utf-8"))
if sys.argv[3]:
    import torch
sys.stdout.buffer.write(SiameseModel.load(sys.argv[1]).encode(texts).tobytes())
"""
    (tmp_path / "texts.json").write_text(json.dumps(texts * 15), encoding="utf-8")
    found = []
    for number, library in (("1", ""), ("2", ""), ("2", "torch")):
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), number)
        done = subprocess.run(
            [sys.executable, "-c", code, tiny_model, tmp_path / "texts.json", library], cwd=ROOT, check=True,
            capture_output=True, timeout=60, env={**os.environ, **variables},
        )  # fmt: skip
        found.append(np.frombuffer(done.stdout, np.float32).reshape(len(texts) * 15, -1))
    assert len(found[0]) > lstm_numpy.QUESTIONS_WITH_TORCH
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-6)


def tower_vectors(model: SiameseModel, tokens: Tokens) -> np.ndarray:
    """Encode with the tower that training runs."""
    tower = make_tower(model.config, len(model.tokenizer))
    tower.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in model.weights.items()})
    tower.products = None  # bfloat16 is for training
    with torch.no_grad():
        found: np.ndarray = tower(torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.lengths)).numpy()
    return found


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", KINDS)
def test_numpy_and_torch_agree(models: dict[str, SiameseModel], texts: list[str], name: str) -> None:
    model = models[name]
    tokens = model.tokenizer.encode(texts)
    if model.config.padding != "none":
        tokens = tokens.padded(int(tokens.lengths.max()), model.tokenizer.pad)
    words = np.concatenate(([0], np.cumsum(tokens.ids >= first_word(model.config))))
    known = words[tokens.starts[1:]] > words[tokens.starts[:-1]]
    by_numpy, by_torch = (
        run(model.weights, tokens, skip=model.config.skip, known=known)
        for run in (lstm_numpy.encode, lstm_numpy.encode_torch)
    )
    np.testing.assert_allclose(by_numpy, by_torch, rtol=0, atol=1e-5)
    np.testing.assert_allclose(by_numpy, tower_vectors(model, tokens), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.ci
def test_numpy_and_torch_agree_on_long_questions(tiny_model: Path) -> None:
    # A float32 sum of the same word 30,000 times is off by 1e-4, in each by another amount.
    model = SiameseModel.load(tiny_model)
    words = model.tokenizer.words[:3]
    texts = [f"{words[0]} " * 6_000, " ".join(words) + f" {words[1]}" * 1_999, words[2], f"{words[2]} " * 64,
             f"{words[0]} " * 65, "", f"zzz {words[1]} " * 64]  # fmt: skip
    tokens = model.tokenizer.encode(texts)
    known = model.tokenizer.knows(tokens)
    exact = encoder_in_float64(model, tokens)
    for run in (lstm_numpy.encode, lstm_numpy.encode_torch):
        np.testing.assert_allclose(run(model.weights, tokens, skip=True, known=known), exact, rtol=0, atol=2e-6)
    np.testing.assert_allclose(tower_vectors(model, tokens), exact, rtol=0, atol=2e-6)


def encoder_in_float64(model: SiameseModel, tokens: Tokens) -> np.ndarray:
    """Encode with the tower written out, one word at a time, in float64."""
    w = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    vectors = []
    for i in range(len(tokens)):
        total = h = c = np.zeros(model.config.hidden)
        for word in w["embedding.weight"][tokens[i]]:
            gates = w["lstm.weight_ih_l0"] @ word + w["lstm.weight_hh_l0"] @ h
            a, f, g, o = np.split(gates + w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"], 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-a))
            h = np.tanh(c) / (1 + np.exp(-o))
            total = total + h + word
        vectors.append(total / max(np.linalg.norm(total), 1e-12))
    return np.array(vectors)


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_loaded_twice(models: dict[str, SiameseModel], texts: list[str], name: str, tmp_path: Path) -> None:
    model = models[name]
    model.save(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loaded = SiameseModel.load(tmp_path)
    loaded.save(tmp_path)  # onto itself
    again = SiameseModel.load(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    for other in (loaded, again):
        assert (other.threshold, other.calibration, other.config) == (model.threshold, model.calibration, model.config)
        assert {k: w.tobytes() for k, w in other.weights.items()} == {k: w.tobytes() for k, w in model.weights.items()}
        assert other.encode(texts).tobytes() == model.encode(texts).tobytes()
        assert other.predict(texts[0], texts[1]) == model.predict(texts[0], texts[1])


@settings(max_examples=30)
@given(st.data())
def test_a_verdict_does_not_depend_on_the_side(models: dict[str, SiameseModel], data: st.DataObject) -> None:
    for model in models.values():
        some = st.lists(st.sampled_from([*model.tokenizer.words[:40], "zzz"]), max_size=8).map(" ".join) | st.text()
        a, b = data.draw(some), data.draw(some)
        threshold, prior = data.draw(st.none() | st.floats(0, 1)), data.draw(st.none() | st.floats(1e-6, 1 - 1e-6))
        assert model.predict(a, b, threshold, prior) == model.predict(b, a, threshold, prior)


@settings(max_examples=30)
@given(st.data(), st.none() | st.floats(0, 1, exclude_max=True), st.none() | st.floats(1e-6, 1 - 1e-6))
@example(None, HIGHEST, None)
@example(None, float(np.nextafter(1, 0)), None)
def test_a_question_is_its_own_duplicate(
    models: dict[str, SiameseModel], data: st.DataObject | None, threshold: float | None, prior: float | None
) -> None:
    for model in models.values():
        word = model.tokenizer.words[0]
        before, after = (data.draw(st.text()), data.draw(st.text())) if data else ("", "")
        text = f"{before} {word} {after}"
        said = model.predict(text, text, threshold, prior)
        assert (said.is_duplicate, said.similarity) == (True, 1.0)


@pytest.mark.parametrize("goal", ["probability", "accuracy", "f1", "precision=0.01"])
def test_no_training_chooses_a_threshold_of_1(parts: splits.Datasets, goal: str) -> None:
    # The same question twice, said to be no duplicates: it is most accurate to call nothing a duplicate.
    known = list(dict.fromkeys(parts.training.question1))[:30]
    odd = Pairs.of([*known, *known[:2]], [*known, *known[2:4]], [0] * len(known) + [1] * 2)
    model = train_model(Config(**SMALL, goal=goal), parts.training, odd)
    assert choose_threshold(odd.labels, model.similarity(odd.question1, odd.question2)) == 1.0
    assert model.threshold <= HIGHEST
    assert model.predict(known[0], known[0]).is_duplicate


@pytest.mark.parametrize("name", ALONE)
def test_a_file_of_pairs_and_one_pair_at_a_time(
    models: dict[str, SiameseModel], small_file: Path, tmp_path: Path, name: str
) -> None:
    model, pairs = models[name], read_pairs(small_file)
    together = model.similarity(pairs.question1, pairs.question2)
    write_predictions(model, small_file, tmp_path / "scored.csv")
    rows = (tmp_path / "scored.csv").read_text(encoding="utf-8").splitlines()[1:]
    for i in range(0, len(pairs), 7):
        said = model.predict(pairs.question1[i], pairs.question2[i])
        assert said.similarity == pytest.approx(together[i], abs=1e-6)
        similarity, probability, verdict = rows[i].rsplit(",", 4)[1:4]
        assert float(similarity) == pytest.approx(said.similarity, abs=1.5e-6)
        assert float(probability) == pytest.approx(said.probability, abs=1e-5)
        assert abs(said.similarity - said.threshold) < 1e-6 or verdict == str(int(said.is_duplicate))
