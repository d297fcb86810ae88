"""Training: the loss falls, a seed decides every bit, and a stopped run resumes to the same bits."""

import dataclasses
import hashlib
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import TRAIN, Command, python
from files import read_csv, write_csv
from trainings import TINY, fit

import siamese
from siamese import Pairs, SiameseModel
from siamese.config import PRESETS, Config, preset
from siamese.errors import DataError, DivergedError, UserError
from siamese.evaluation import metrics, thresholds
from siamese.model.calibration import calibrate
from siamese.pairs import splits
from siamese.pairs.held import split_questions
from siamese.pairs.pairs import Columns
from siamese.pairs.splits import Datasets, Source
from siamese.system.progress import Listeners, Progress
from siamese.text.tokenizer import Tokenizer
from siamese.training import train
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.start import LEAST_EPOCHS, LEAST_STEPS, fit_to_labels
from siamese.training.train import train_model

LSTM = [name for name, config in PRESETS.items() if config.tower == "lstm"]


def tiny(name: str, **changes: Any) -> Config:
    return preset(name).replace(embedding=16, hidden=16, batch_size=32, epochs=2, **changes)


def bits(model: SiameseModel) -> str:
    """Return a hash of weights, vocabulary, threshold and calibration."""
    digest = hashlib.sha256(repr((model.tokenizer.words, model.threshold, model.calibration)).encode())
    for name in sorted(model.weights):
        digest.update(model.weights[name].tobytes())
    return digest.hexdigest()


class Stop(Progress):
    """Interrupt after some epochs, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def epoch(self, record: dict[str, Any]) -> None:
        if record["epoch"] == self.after:
            raise KeyboardInterrupt


class Notes(Progress):
    """Record the calls."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.losses: list[float] = []
        self.records: list[dict[str, Any]] = []

    def start(self, steps: int, done: int) -> None:
        self.started.append((steps, done))

    def step(self, loss: float) -> None:
        self.losses.append(loss)

    def epoch(self, record: dict[str, Any]) -> None:
        self.records.append(record)


# What a run does


@pytest.mark.slow
def test_it_learns(parts: Datasets) -> None:
    notes = Notes()
    model = fit(TINY.replace(epochs=8), parts, progress=notes)
    losses = [record["loss"] for record in model.facts["history"]]
    assert losses[-1] < 0.7 * losses[0]
    # 210 duplicates in batches of 32 are 7 steps an epoch
    assert notes.started == [(8 * 7, 0)]
    assert notes.records == model.facts["history"]
    assert [record["step"] for record in notes.records] == [7 * epoch for epoch in range(1, 9)]
    assert losses == pytest.approx(np.reshape(notes.losses, (8, 7)).mean(1))
    # and knows its training pairs: better than chance by far
    similarity = model.similarity(parts.training.question1, parts.training.question2)
    assert metrics.roc_auc(parts.training.labels, similarity) > 0.8


@pytest.mark.slow
def test_the_facts_are_those_of_the_model(parts: Datasets) -> None:
    parts = dataclasses.replace(parts, validation=parts.training)  # which the model knows
    model = fit(TINY, parts)
    validation = parts.validation
    similarity = model.similarity(validation.question1, validation.question2)
    assert model.calibration == calibrate(validation.labels, similarity)
    assert model.threshold == thresholds.choose_threshold(validation.labels, similarity, "probability")
    assert model.threshold == model.calibration.threshold()
    assert model.facts["chosen_threshold"] == model.threshold
    assert model.verdict is not None
    rule = model.rule()
    judged = rule.scores(validation.question1, validation.question2, similarity)
    scores = metrics.all_scores(validation.labels, judged, rule.threshold).to_dict()
    assert model.facts["validation"] == scores | {"threshold": model.threshold}  # which stays that of the similarity
    assert json.loads(json.dumps(model.facts)) == model.facts
    course = fit(tiny("course-tensorflow"), parts)
    assert course.threshold == 0.7 and course.verdict is None  # as published, whatever would be best
    assert course.facts["chosen_threshold"] == course.calibration.threshold()
    assert model.facts["unseen"] is None  # since all validation pairs are training pairs


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["probability", "accuracy", "f1", "precision=0.4"])
def test_the_threshold_is_chosen_for_the_goal(parts: Datasets, goal: str) -> None:
    parts = dataclasses.replace(parts, validation=parts.training)
    model = fit(TINY.replace(goal=goal), parts)
    similarity = model.similarity(parts.validation.question1, parts.validation.question2)
    assert model.threshold == thresholds.choose_threshold(parts.validation.labels, similarity, goal)
    assert model.calibration == calibrate(parts.validation.labels, similarity)  # whatever the goal


def test_length_of_a_run_that_the_recipe_leaves_open(parts: Datasets) -> None:
    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        fit(TINY.replace(epochs=None), parts, progress=Listeners(notes, Stop(1)))
    # 7 steps an epoch: 500 steps are 71.4 epochs, so 72
    assert (LEAST_EPOCHS, LEAST_STEPS) == (4, 500)
    assert notes.started == [(7 * 72, 0)]


@pytest.mark.slow
def test_the_best_epoch_is_kept(parts: Datasets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The scores are given, so that the best epoch is neither the first nor the last, and two are equally good.
    given = [0.3, 0.6, 0.5, 0.6, 0.2]
    towers: list[dict[str, np.ndarray]] = []

    def scores(model: SiameseModel, validation: Pairs) -> dict[str, float]:
        towers.append({name: weight.copy() for name, weight in model.weights.items()})
        return {"average_precision": given[len(towers) - 1], "roc_auc": 0.5, "accuracy": 0.5, "threshold": 0.5}

    monkeypatch.setattr(train, "validation_scores", scores)
    model = fit(TINY.replace(epochs=5), parts, tmp_path)
    assert [record["average_precision"] for record in model.facts["history"]] == given
    for name, weight in model.weights.items():
        assert weight.tobytes() == towers[1][name].tobytes()  # the first of the equals, as the report says
        assert weight.tobytes() != towers[4][name].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patience", "scores", "epochs"),
    [
        (1, [0.3, 0.4, 0.4, 0.9], 3),  # equal is not better
        (2, [0.5, 0.4, 0.3, 0.9], 3),
        (2, [0.5, 0.4, 0.6, 0.5, 0.4, 0.9], 5),
        (2, [0.1, 0.2, 0.3, 0.4], 4),
        (9, [0.5, 0.1, 0.1, 0.1], 4),
        (None, [0.5, 0.4, 0.3, 0.2], 4),
    ],
)
def test_patience(
    parts: Datasets, monkeypatch: pytest.MonkeyPatch, patience: int | None, scores: list[float], epochs: int
) -> None:
    seen = iter(scores)
    monkeypatch.setattr(
        train,
        "validation_scores",
        lambda model, validation: {"average_precision": next(seen), "roc_auc": 0.5, "accuracy": 0.5, "threshold": 0.5},
    )
    config = TINY.replace(epochs=len(scores), patience=patience, batch_size=256)
    assert len(fit(config, parts).facts["history"]) == epochs


@pytest.mark.slow
def test_the_caller_gets_denormal_numbers_back(parts: Datasets) -> None:
    smallest = np.array([5e-324])
    with pytest.raises(KeyboardInterrupt):
        fit(TINY, parts, progress=Stop(1))
    fit(TINY.replace(epochs=1), parts)
    assert smallest[0] / 1 > 0 and np.all(smallest * 1 > 0)


# Seeds


@pytest.mark.ci
@pytest.mark.parametrize("name", LSTM)
def test_a_seed_decides_every_bit(parts: Datasets, name: str) -> None:
    config = tiny(name, seed=3)
    assert bits(fit(config, parts)) == bits(fit(config, parts))
    assert bits(fit(config.replace(seed=4), parts)) != bits(fit(config, parts))


@pytest.mark.slow
def test_every_epoch_and_every_seed_has_its_own_batches(parts: Datasets, tiny_model: Path) -> None:
    # With the same weights, which at a learning rate of 0 stay, only the batches can make the losses differ.
    start, losses = SiameseModel.load(tiny_model), []
    for seed in (1, 2):
        notes = Notes()
        fit(TINY.replace(learning_rate=0, epochs=2, seed=seed), parts, start_from=start, progress=notes)
        losses += [tuple(notes.losses[:7]), tuple(notes.losses[7:])]
    assert len(set(losses)) == 4


@pytest.mark.ci
def test_another_process_gets_the_same_bits(parts: Datasets, small_file: Path) -> None:
    code = """
import sys
from test_training import *
parts = splits.load(Source(sys.argv[1]))
for name in LSTM:
    print(bits(fit(tiny(name), parts)))
"""
    done = python("-c", code, small_file, PYTHONHASHSEED="5")
    assert done.stdout.split() == [bits(fit(tiny(name), parts)) for name in LSTM]


@pytest.mark.slow
def test_training_does_not_depend_on_what_was_drawn_before(parts: Datasets) -> None:
    import torch

    torch.manual_seed(1)
    first = bits(fit(TINY, parts))
    torch.rand(1_000)
    np.random.seed(5)
    assert bits(fit(TINY, parts)) == first


# Resuming


@pytest.mark.ci
@pytest.mark.parametrize("name", LSTM)
def test_an_interrupted_run_goes_on_to_the_same_bits(parts: Datasets, tmp_path: Path, name: str) -> None:
    config = tiny(name).replace(epochs=4)
    expected = fit(config, parts)
    for after in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            fit(config, parts, tmp_path, resume=True, progress=Stop(after))
    notes = Notes()
    model = fit(config, parts, tmp_path, resume=True, progress=notes)
    assert bits(model) == bits(expected)
    steps = notes.started[0][0]
    assert notes.started == [(steps, steps * 3 // 4)]
    assert len(notes.losses) == steps // 4
    timeless = [
        [{name: value for name, value in record.items() if "second" not in name} for record in m.facts["history"]]
        for m in (model, expected)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(parts: Datasets, tmp_path: Path) -> None:
    first, notes = fit(TINY, parts, tmp_path), Notes()
    assert bits(fit(TINY, parts, tmp_path, resume=True, progress=notes)) == bits(first)
    assert notes.losses == []


@pytest.mark.slow
def test_without_resume_a_checkpoint_is_ignored(parts: Datasets, tmp_path: Path) -> None:
    fit(TINY.replace(seed=9), parts, tmp_path)
    assert bits(fit(TINY, parts, tmp_path)) == bits(fit(TINY, parts))


def half(some: Pairs) -> Pairs:
    return some.take(np.arange(len(some)) % 2 == 0)


@pytest.mark.slow
def test_resuming_something_else_is_refused(parts: Datasets, tmp_path: Path) -> None:
    fit(TINY, parts, tmp_path)
    checkpoint = (tmp_path / CHECKPOINT).read_bytes()
    relabelled = dataclasses.replace(parts.training, labels=parts.training.labels[::-1].copy())
    cases: list[tuple[Config, Datasets, str]] = [
        (TINY.replace(margin=0.3), parts, "margin"),
        (TINY.replace(seed=2, epochs=9), parts, "seed, epochs"),
        (TINY, dataclasses.replace(parts, training=half(parts.training)), "the training pairs"),
        (TINY, dataclasses.replace(parts, training=relabelled), "the training pairs"),
        (TINY, dataclasses.replace(parts, validation=half(parts.validation)), "the validation pairs"),
    ]
    for config, others, what in cases:
        with pytest.raises(UserError, match=f"{CHECKPOINT}: belongs to a run that differs in {what}.*; train without"):
            fit(config, others, tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT).read_bytes() == checkpoint


@pytest.mark.slow
def test_resuming_with_another_vocabulary_is_refused(parts: Datasets, tmp_path: Path) -> None:
    start = fit(TINY.replace(epochs=1, min_count=20), parts)  # a question stands in many pairs
    fit(TINY, parts, tmp_path, start_from=start)
    assert bits(fit(TINY, parts, tmp_path, start_from=start, resume=True))
    with pytest.raises(UserError, match="differs in the (vocabulary|model to start from)"):
        fit(TINY, parts, tmp_path, resume=True)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(parts: Datasets, tiny_model: Path, tmp_path: Path) -> None:
    fit(TINY.replace(epochs=1), parts, tmp_path)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1  # a weight, still a number
    other = (tiny_model / "model.safetensors").read_bytes()
    for content in (b"", b"{}", whole[:1_000], whole[:-1], flipped, other):
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(UserError, match=f"{CHECKPOINT}: not a checkpoint of a run.*train without --resume"):
            fit(TINY.replace(epochs=1), parts, tmp_path, resume=True)


def test_nothing_in_the_folder_is_a_pickle(parts: Datasets, tmp_path: Path) -> None:
    fit(TINY.replace(epochs=1), parts, tmp_path).save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {CHECKPOINT, "config.json", "model.safetensors", "vocabulary.txt"}
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        # torch.save writes a zip that holds a pickle; protocol 2 and later begin with \x80
        assert not content.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), path
        with pytest.raises(Exception):  # noqa: B017
            pickle.loads(content)


# Starting from a model


@pytest.mark.slow
def test_start_from_takes_weights_and_vocabulary(parts: Datasets, tiny_model: Path) -> None:
    start = SiameseModel.load(tiny_model)
    # At a learning rate of 0 nothing moves; other pairs would give another vocabulary.
    others = dataclasses.replace(parts, training=half(parts.training))
    model = fit(TINY.replace(learning_rate=0, epochs=1), others, start_from=start)
    assert model.tokenizer.words == start.tokenizer.words != fit(TINY.replace(epochs=1), others).tokenizer.words
    for name, weight in start.weights.items():
        assert model.weights[name].tobytes() == weight.tobytes(), name
    before = {name: weight.tobytes() for name, weight in start.weights.items()}
    moved = fit(TINY.replace(epochs=1), others, start_from=start)
    assert moved.weights["lstm.weight_hh_l0"].tobytes() != before["lstm.weight_hh_l0"]
    assert {name: weight.tobytes() for name, weight in start.weights.items()} == before  # the old model is as it was


@pytest.mark.slow
def test_start_from_adds_new_words(parts: Datasets, tiny_model: Path) -> None:
    start = SiameseModel.load(tiny_model)
    buckets = start.config.buckets
    start.tokenizer = Tokenizer(start.tokenizer.words[:100], buckets=buckets)
    rows = 2 + buckets + 100
    start.weights["embedding.weight"] = start.weights["embedding.weight"][:rows]
    model = fit(TINY.replace(learning_rate=0, epochs=1), parts, start_from=start)
    fresh = fit(TINY.replace(learning_rate=0, epochs=1), parts)
    assert model.tokenizer.words[:100] == start.tokenizer.words
    assert sorted(model.tokenizer.words) == sorted(fresh.tokenizer.words) and len(fresh.tokenizer.words) > 200
    table = model.weights["embedding.weight"]
    assert table[:rows].tobytes() == start.weights["embedding.weight"].tobytes()
    assert len(table) == len(model.tokenizer)
    for i, word in enumerate(model.tokenizer.words[100:], rows):  # a new word begins as the bucket that it was in
        assert table[i].tobytes() == table[start.tokenizer.bucket(word)].tobytes()
    text = " ".join(model.tokenizer.words)
    assert np.allclose(model.encode([text]), start.encode([text]), atol=1e-6)


@pytest.mark.slow
def test_start_from_a_model_without_buckets_adds_new_words_at_random(parts: Datasets) -> None:
    plain = TINY.replace(min_count=1, buckets=0, epochs=1)
    start, rows = fit(plain, parts), 102
    start.tokenizer = Tokenizer(start.tokenizer.words[:100])
    start.weights["embedding.weight"] = start.weights["embedding.weight"][:rows]
    model = fit(plain.replace(learning_rate=0), parts, start_from=start)
    table = model.weights["embedding.weight"]
    assert table[:rows].tobytes() == start.weights["embedding.weight"].tobytes()
    assert len(table) == len(model.tokenizer) > rows + 50
    assert 0.05 < table[rows:].std() < 0.2  # as a fresh tower begins


def test_start_from_a_model_that_does_not_fit_is_refused(parts: Datasets, tiny_model: Path) -> None:
    start = SiameseModel.load(tiny_model)
    with pytest.raises(UserError, match="--start-from: the model has tokens 'words', the recipe 'spaces'"):
        fit(tiny("course-tensorflow"), parts, start_from=start)
    with pytest.raises(UserError, match="--start-from: the model has embedding 16, the recipe 128"):
        fit(Config(epochs=1), parts, start_from=start)


# What the losses need


def only(some: Pairs, label: int) -> Pairs:
    return some.take(some.labels == label)


def test_a_recipe_that_the_labels_do_not_allow(parts: Datasets) -> None:
    duplicates = dataclasses.replace(parts, training=only(parts.training, 1))
    for config in (TINY, TINY.replace(loss="none")):
        with pytest.raises(DataError, match="no non-duplicates to train on, but the logistic loss needs them"):
            fit(config, duplicates)
    assert fit(TINY.replace(labelled="none", epochs=1), duplicates).config.labelled == "none"


def test_a_recipe_is_fitted_to_the_labels_and_says_so(parts: Datasets) -> None:
    said: list[str] = []
    duplicates = only(parts.training, 1)
    assert fit_to_labels(TINY, parts.training, said.append) == TINY
    assert fit_to_labels(TINY.replace(loss="none"), duplicates, said.append).labelled == "logistic"  # to be refused
    assert said == []
    assert fit_to_labels(TINY, duplicates, said.append) == TINY.replace(labelled="none")
    assert said == ["no non-duplicates to train on: the logistic loss is left out (--labelled none)"]
    # Of the pairs that the recipe draws, here the first duplicate and one other.
    few = TINY.replace(training_pairs=2)
    mixed = Pairs.of(["a", "b", "c"], ["d", "e", "f"], [1, 1, 0])
    drawn = {fit_to_labels(few.replace(seed=seed), mixed, said.append).labelled for seed in range(9)}
    assert drawn == {"logistic", "none"}


@pytest.mark.slow
def test_labelled_loss_alone(parts: Datasets) -> None:
    losses = [record["loss"] for record in fit(TINY.replace(loss="none", epochs=6), parts).facts["history"]]
    assert losses[-1] < losses[0]


def test_too_few_duplicates(parts: Datasets) -> None:
    one = parts.training.take(np.flatnonzero(parts.training.labels == 1)[:1])
    none = only(parts.training, 0)
    wordless = Pairs.of(["", " ", "how old"], ["how", "a", "what age"], [1, 1, 1])  # one that has words on both sides
    for some in (one, none, wordless):
        with pytest.raises(DataError, match="fewer than two duplicate pairs to train on"):
            train_model(TINY, some, parts.validation)
    with pytest.raises(DataError, match="--drop-last leaves no batch: fewer than 256 duplicates"):
        fit(TINY.replace(batch_size=256, drop_last=True), parts)


def test_validation_with_one_label(parts: Datasets) -> None:
    for label in (0, 1):
        with pytest.raises(DataError, match="the validation pairs need both duplicates and non-duplicates"):
            train_model(TINY, parts.training, only(parts.validation, label))


def test_two_duplicates_are_enough(parts: Datasets) -> None:
    two = Pairs.of(["how old are you", "where is it"], ["what is your age", "in what place is it"], [1, 1])
    model = train_model(TINY.replace(epochs=1, labelled="none"), two, parts.validation)
    assert math.isfinite(model.facts["history"][0]["loss"])


@pytest.mark.parametrize(("name", "rate"), [("best", 1e30), ("course-tensorflow", 1e300)])
def test_a_loss_that_is_not_finite(parts: Datasets, name: str, rate: float) -> None:
    # Of best, whose rate falls to 0 over the 14 steps, the second step has 13/14.
    at = r"9\.29e\+29" if name == "best" else r"1e\+300"
    with pytest.raises(
        DivergedError, match=f"step 2: the loss is nan at a learning rate of {at}; try a lower --learning-rate"
    ):
        fit(tiny(name, learning_rate=rate), parts)


# Which pairs train, validate and test


def numbered(count: int) -> list[list[object]]:
    """Return pairs of different words. Every second pair is a duplicate."""
    return [[f"first {i}", f"second {i}", i % 2] for i in range(count)]


SPLIT = "question1,question2,is_duplicate,split"


def test_the_files_own_split(small_file: Path, parts: Datasets) -> None:
    rows = read_csv(small_file)
    assert parts.test is not None
    for name, part in (("train", parts.training), ("validation", parts.validation), ("test", parts.test)):
        assert list(part.question1) == [row["question1"] for row in rows if row["split"] == name]
    assert parts.how == "split by the column split of the file"


def test_a_validation_file_goes_before_the_files_own_split(small_file: Path, parts: Datasets, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", numbered(6))
    found = splits.load(Source(str(small_file), str(other)))
    assert list(found.validation.question1) == [f"first {i}" for i in range(6)]
    assert list(found.training.question1) == list(parts.training.question1)
    assert found.test and parts.test and len(found.test) == len(parts.test)
    assert found.how == f"validation pairs from {other}"
    # of a validation file with parts of its own, the validation part counts
    found = splits.load(Source(str(other), str(small_file)))
    assert list(found.validation.question1) == list(parts.validation.question1)
    assert len(found.training) == 6 and found.test is None


def test_one_in_ten_by_chance(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "pairs.csv", numbered(1_000))
    found = splits.load(Source(str(path)))
    assert found.test is None
    assert found.how == "a tenth kept for validation, by questions; 0 pairs across the two parts left out"
    together = [*found.training.question1, *found.validation.question1]
    assert sorted(together) == sorted(f"first {i}" for i in range(1_000))
    assert len(found.validation) == 100
    assert list(splits.load(Source(str(path))).validation.question1) == list(found.validation.question1)


def test_a_split_without_validation_pairs(tmp_path: Path) -> None:
    rows = [[*row, "test" if i < 50 else "train"] for i, row in enumerate(numbered(500))]
    found = splits.load(Source(str(write_csv(tmp_path / "pairs.csv", rows, SPLIT))))
    assert found.test and set(found.test.question1) == {f"first {i}" for i in range(50)}
    assert len(found.training) + len(found.validation) == 450


def test_a_split_without_training_pairs(tmp_path: Path) -> None:
    rows = [[*row, "dev"] for row in numbered(20)]
    path = write_csv(tmp_path / "pairs.csv", rows, SPLIT)
    with pytest.raises(DataError, match="pairs.csv: no row has 'train' in its column 'split'"):
        splits.load(Source(str(path)))


def test_the_courses_cut_goes_before_the_files_own_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The published cut with a hundred rows for 300,000 and ten for 10,240.
    monkeypatch.setattr(splits, "COURSE_TRAINING", 100)
    monkeypatch.setattr(splits, "COURSE_TEST", 10)
    rows = [[*row, "validation"] for row in numbered(120)]
    found = splits.load(Source(str(write_csv(tmp_path / "pairs.csv", rows, SPLIT)), split="course"))
    assert list(found.training.question1) == [f"first {i}" for i in range(80)]
    assert list(found.validation.question1) == [f"first {i}" for i in range(80, 100)]
    assert found.test and list(found.test.question1) == [f"first {i}" for i in range(100, 110)]


def test_the_courses_cut_needs_its_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "pairs.csv", numbered(20))
    with pytest.raises(DataError, match="--split course needs 310,240 rows, the file has 20"):
        splits.load(Source(str(path), split="course"))
    with pytest.raises(UserError, match="--split course makes its own validation pairs; leave out --validation"):
        Source("a.csv", "b.csv", "course")
    with pytest.raises(UserError, match="--split: 'random' is not 'course'"):
        Source("a.csv", split="random")


def test_files_that_leave_a_part_without_a_label_are_named(tmp_path: Path) -> None:
    both = write_csv(tmp_path / "both.csv", numbered(40))
    one = write_csv(tmp_path / "one.csv", [["how old are you", "what is your age", 1]])
    with pytest.raises(DataError, match="one.csv: . duplicate pair.s. to train on"):
        splits.load(Source(str(one)))
    duplicates = write_csv(tmp_path / "duplicates.csv", [[f"a {i}", f"c {i}", 1] for i in range(100)])
    with pytest.raises(DataError, match="duplicates.csv: no non-duplicates among the .* validation pairs"):
        splits.load(Source(str(duplicates)))
    assert splits.load(Source(str(duplicates), str(both))).training.duplicates == 100


def test_every_file_that_is_read_is_told(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "first.csv", [*numbered(40), ["", "b", 1]])
    second = write_csv(tmp_path / "second.csv", [*numbered(4), ["a", "b", 2]])
    told: list[tuple[str, int]] = []
    splits.load(Source(str(first), str(second)), warn=lambda some, path: told.append((path, some.skipped)))
    assert told == [(str(first), 1), (str(second), 1)]


# What a model remembers


def test_recall(tmp_path: Path) -> None:
    columns = Columns(question1="left", question2="right", label="same")
    names = "left,right,same"
    first = write_csv(tmp_path / "a.csv", numbered(40), names)
    second = write_csv(tmp_path / "b.csv", numbered(8), names)
    source = Source(str(first), str(second), columns=columns)
    facts = json.loads(json.dumps({"data": splits.remember(source)}))  # as it comes from config.json
    found, expected = splits.recall(facts), splits.load(source)
    assert found is not None
    for part in ("training", "validation"):
        assert list(getattr(found, part).question1) == list(getattr(expected, part).question1)
    whole = first.read_bytes()
    for path in (first, second):  # a changed file is not the one that was trained on
        content = path.read_bytes()
        path.write_bytes(content + b"a,b,1\n")
        assert splits.recall(facts) is None
        path.write_bytes(content)
    assert first.read_bytes() == whole and splits.recall(facts) is not None
    second.unlink()
    assert splits.recall(facts) is None


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": {"source": {}, "sha256": {}}},
        {"data": {"source": {"data": "a.csv", "columns": {"no": "x"}}, "sha256": {}}},
        {"data": {"source": {"data": "nowhere.csv", "columns": {}}, "sha256": {}}},
        {"data": {"source": {"data": "nowhere.csv", "columns": {}}, "sha256": {"nowhere.csv": "0"}}},
    ],
)
def test_recall_of_nothing(facts: dict[str, Any]) -> None:
    assert splits.recall(facts) is None


OPTIONS = {name: getattr(TINY, name) for name in ("embedding", "hidden", "batch_size", "epochs", "learning_rate")}


# From Python


@pytest.mark.slow
def test_train_on_a_data_frame(parts: Datasets, tmp_path: Path) -> None:
    frames = [
        pd.DataFrame({"question1": list(p.question1), "question2": list(p.question2), "is_duplicate": p.labels})
        for p in (parts.training, parts.validation)
    ]
    expected = fit(TINY, parts)
    assert bits(siamese.train(*frames, **OPTIONS)) == bits(expected)
    notes = Notes()
    model = siamese.train(*frames, out=tmp_path, progress=notes, **OPTIONS)
    assert bits(model) == bits(SiameseModel.load(tmp_path)) == bits(expected)
    assert [record["epoch"] for record in notes.records] == [1, 2, 3]
    written = {path.name for path in tmp_path.iterdir()}
    assert {"model.safetensors", "report.md", "README.md", "metrics.csv"} <= written and CHECKPOINT not in written
    again = siamese.train(*frames, out=tmp_path, resume=True, progress=notes, **OPTIONS)
    assert bits(again) == bits(expected) and len(notes.losses) == 21  # nothing was trained again
    with pytest.raises(UserError, match="holds the finished model of a run that differs in the data"):
        siamese.train(frames[0][5:], frames[1], out=tmp_path, resume=True, **OPTIONS)


@pytest.mark.slow
def test_train_on_files_and_pairs(small_file: Path, parts: Datasets) -> None:
    expected = bits(fit(TINY, parts))
    model = siamese.train(small_file, **OPTIONS)  # with a column `split`
    assert bits(model) == expected
    assert splits.recall(model.facts) is not None
    assert bits(siamese.train(parts.training, small_file, **OPTIONS)) == expected
    # A tenth, by questions.
    training, validation, _ = split_questions(parts.training)
    kept = fit(TINY, dataclasses.replace(parts, training=training, validation=validation))
    assert bits(siamese.train(parts.training, **OPTIONS)) == bits(kept)


@pytest.mark.slow
def test_train_goes_on_and_starts_from_a_model(parts: Datasets, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        siamese.train(parts.training, parts.validation, out=tmp_path, progress=Stop(2), **OPTIONS)
    notes = Notes()
    model = siamese.train(parts.training, parts.validation, out=tmp_path, resume=True, progress=notes, **OPTIONS)
    assert notes.started == [(21, 14)] and bits(model) == bits(fit(TINY, parts))
    start = SiameseModel.load(tiny_model)
    taught = siamese.train(parts.training, parts.validation, start_from=tiny_model, epochs=1, batch_size=32)
    assert taught.config == Config(epochs=1, batch_size=32, start_from=str(tiny_model), embedding=16, hidden=16)
    assert taught.tokenizer.words[: len(start.tokenizer.words)] == start.tokenizer.words


@pytest.mark.slow
def test_train_leaves_out_a_loss_that_the_labels_do_not_allow(
    parts: Datasets, command: Command, tmp_path: Path
) -> None:
    class Said(Progress):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def say(self, message: str) -> None:
            self.lines.append(message)

    said, duplicates = Said(), only(parts.training, 1)
    model = siamese.train(duplicates, parts.validation, progress=said, **OPTIONS)
    assert model.config == TINY.replace(labelled="none")
    assert said.lines[:1] == ["no non-duplicates to train on: the logistic loss is left out (--labelled none)"]
    for name, some in (("train.csv", duplicates), ("validation.csv", parts.validation)):
        write_csv(
            tmp_path / name, [[a, b, int(label)] for a, b, label in zip(some.question1, some.question2, some.labels)]
        )
    words = (*TRAIN, "--data", tmp_path / "train.csv",
             "--validation", tmp_path / "validation.csv", "--epochs", 1,
             "--out", tmp_path / "model")  # fmt: skip
    code, _, err = command(*words)
    assert code == 0 and said.lines[0] in err
    assert command(*words, "--resume")[1].endswith("without --resume it is trained again\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": 3}, "epoch: not a field of a recipe; did you mean epochs?"),
        ({"zzz": 3}, "zzz: not a field of a recipe; expected one of seed, tower"),
        ({"epochs": 0}, "--epochs: 0 is not a whole number of 1 or more"),
        ({"preset": "worst"}, "--preset: 'worst' is not one of best"),
        ({"tower": "transformer"}, "--tower transformer needs --encoder"),
        ({"resume": True}, "out is None, so there is nothing to resume"),
    ],
)
def test_train_names_an_option_that_is_wrong(parts: Datasets, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        siamese.train(parts.training, **options)
