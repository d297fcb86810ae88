"""Weights rounded to int8 per row and float16: the arithmetic, the file, and the training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import TRAIN
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file, save_file

from siamese import SiameseModel
from siamese.cli.entry import main
from siamese.config import Config
from siamese.errors import ModelError
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import calibrate
from siamese.model.compact import SCALE, TABLE, pack, rounded, unpack
from siamese.pairs import splits
from siamese.training.train import train_model

BIAS = "lstm.bias_ih_l0"
# Sizes from the smallest float32 to near the largest that fits, so that scales meet float16's subnormals and 0.
numbers = st.builds(
    lambda sign, exponent, fraction: np.float32(sign * fraction * 2.0**exponent),
    st.sampled_from([-1, 1]), st.integers(-149, 14), st.floats(1, 1.875, width=32),
) | st.just(np.float32(0))  # fmt: skip
tables = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=numbers)
vectors = arrays(np.float32, st.integers(0, 6), elements=numbers)


def test_by_hand() -> None:
    # Row 1: s = 38.1 / 127 = 0.3 = 1228.8 / 2^12, as a float16 rounded down 1228 / 2^12.
    #   38.1 / s = 127.08 → 127;  -0.45 / s = -1.501 → -2;  0.14 / s = 0.47 → 0
    # Row 2: s = 127 / 127 = 1:  127,  -63.4 → -63,  0.6 → 1.  Row 3: zeros.
    table = np.array([[38.1, -0.45, 0.14], [127, -63.4, 0.6], [0, 0, 0]], np.float32)
    stored = pack({TABLE: table, BIAS: np.array([0.1, -2], np.float32)})
    assert stored[TABLE].tolist() == [[127, -2, 0], [127, -63, 1], [0, 0, 0]]
    assert stored[SCALE].tolist() == [1228 / 2**12, 1, 0]
    assert stored[BIAS].tolist() == [1638 / 2**14, -2]  # 0.1 = 1638.4 / 2^14
    assert {name: str(tensor.dtype) for name, tensor in stored.items()} == {
        TABLE: "int8", SCALE: "float16", BIAS: "float16"
    }  # fmt: skip
    weights = unpack(stored)
    s = 1228 / 2**12
    assert weights[TABLE].tolist() == [[127 * s, -2 * s, 0], [127, -63, 1], [0, 0, 0]]
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float32)}


@given(tables, vectors)
# 1.501 steps of float16's smallest: rounded to the nearest, s would be 2 steps, q = 95, and the next time 1 step.
@example(np.array([[1.501 * 127 * 2.0**-24]], np.float32), np.zeros(0, np.float32))
def test_rounding_twice_is_rounding_once(table: np.ndarray, bias: np.ndarray) -> None:
    weights = {TABLE: table, BIAS: bias}
    once, again = pack(weights), pack(rounded(weights))
    assert once.keys() == again.keys()
    for name in once:
        assert once[name].dtype == again[name].dtype
        assert once[name].tobytes() == again[name].tobytes()


@given(tables)
def test_no_number_moves_far(table: np.ndarray) -> None:
    # Half a step of s, and s is below 2^-11 + 2^-24 of its exact value at most; the largest is cut by no more
    # than 127 times that. Rows whose s is a subnormal float16 lose up to 127 steps of 2^-24, which is nothing.
    top = np.abs(table).max(axis=1, keepdims=True).astype(np.float64)
    error = np.abs(rounded({TABLE: table})[TABLE].astype(np.float64) - table)
    assert (error <= np.maximum(top / 127 / 2 * 1.001, 127 * 2.0**-24)).all()


@pytest.mark.parametrize("name", [TABLE, BIAS])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e7])
def test_what_a_float16_cannot_hold_is_an_error(name: str, bad: float) -> None:
    weights = {TABLE: np.ones((3, 2), np.float32), BIAS: np.ones(4, np.float32)}
    weights[name].flat[1] = bad
    with pytest.raises(ModelError, match=f"{name}: weights that are not finite, or too large"):
        pack(weights)


@pytest.fixture(scope="module")
def compact(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny model, saved compact."""
    model = SiameseModel.load(tiny_model)
    model.config = model.config.replace(compact=True)
    folder = tmp_path_factory.mktemp("compact")
    model.save(folder)
    return folder


def test_the_folder_is_small_and_says_the_same(tiny_model: Path, compact: Path) -> None:
    before, after = SiameseModel.load(tiny_model), SiameseModel.load(compact)
    # (V, 16): 16 bytes and a scale of 2 instead of 64; the LSTM's numbers 2 bytes instead of 4
    words, rest = before.weights[TABLE].size, sum(w.size for name, w in before.weights.items() if name != TABLE)
    size = words + words // 16 * 2 + rest * 2
    assert size < (compact / "model.safetensors").stat().st_size < size + 1_000
    for name, weight in rounded(before.weights).items():
        assert after.weights[name].dtype == np.float32
        assert after.weights[name].tobytes() == weight.tobytes()
    pair = (["Why does my bike chain skip?"], ["What makes the chain of a bike skip?"])
    assert after.similarity(*pair) == pytest.approx(before.similarity(*pair), abs=0.02)
    assert after.config.compact


def test_saved_again_it_is_the_same_file(compact: Path, tmp_path: Path) -> None:
    SiameseModel.load(compact).save(tmp_path)
    for name in ("model.safetensors", "config.json", "vocabulary.txt"):
        assert (tmp_path / name).read_bytes() == (compact / name).read_bytes()


def test_damaged_compact_weights_are_named(compact: Path, tmp_path: Path, seal: Callable[[Path], None]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(compact, folder)
    path = folder / "model.safetensors"
    good = load_file(path)
    nan = good[SCALE].copy()
    nan[3] = np.nan
    broken = {
        "table of floats": {**good, TABLE: good[TABLE].astype(np.float32)},
        "a scale missing": {**good, SCALE: good[SCALE][:-1].copy()},
        "not finite": {**good, SCALE: nan},
        "no scale": {name: tensor for name, tensor in good.items() if name != SCALE},
    }
    for case, tensors in broken.items():
        save_file(tensors, path)
        seal(folder)
        with pytest.raises(ModelError, match="model.safetensors: (compact )?weights"):
            SiameseModel.load(folder)
            pytest.fail(case)


@pytest.mark.slow
def test_threshold_and_calibration_are_chosen_on_the_rounded_model(parts: splits.Datasets, tmp_path: Path) -> None:
    config = Config(embedding=16, hidden=16, batch_size=32, epochs=2, learning_rate=0.02)
    plain = train_model(config, parts.training, parts.training)
    model = train_model(config.replace(compact=True), parts.training, parts.training)
    for name, weight in rounded(plain.weights).items():
        assert model.weights[name].tobytes() == weight.tobytes()
    pairs = parts.training
    assert model.facts["history"][-1]["average_precision"] == plain.facts["history"][-1]["average_precision"]
    model.save(tmp_path)
    similarity = SiameseModel.load(tmp_path).similarity(pairs.question1, pairs.question2)
    assert model.calibration == calibrate(pairs.labels, similarity)
    assert model.threshold == choose_threshold(pairs.labels, similarity, config.goal)
    assert model.calibration != plain.calibration


@pytest.mark.slow
def test_train_compact(small_file: Path, tmp_path: Path) -> None:
    main([*TRAIN, "--data", str(small_file), "--compact", "--epochs", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["config"]["compact"] is True
    assert load_file(tmp_path / "model.safetensors")[TABLE].dtype == np.int8
