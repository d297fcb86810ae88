"""Attacks on what training says of itself: questions that leak into validation, too few pairs, useless models."""

import itertools
import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import TRAIN, Command
from files import write_csv

import siamese
from siamese import DuplicateClassifier, Pairs, SiameseModel
from siamese.errors import DataError
from siamese.evaluation.metrics import roc_auc_interval
from siamese.evaluation.thresholds import doubts
from siamese.model.calibration import LEAST
from siamese.training.train import UNFITTED

TINY = {"embedding": 16, "hidden": 16, "batch_size": 32, "learning_rate": 0.02}


def sixty(seed: int) -> list[tuple[str, str, int]]:
    """Return all pairs of sixty questions of random words. The duplicates are random partners, groups of five."""
    draw = random.Random(seed)
    questions = [" ".join(f"{seed}w{draw.randrange(400)}" for _ in range(6)) for _ in range(60)]
    return [(questions[i], questions[j], int(i // 5 == j // 5)) for i, j in itertools.combinations(range(60), 2)]


@pytest.mark.ci
@pytest.mark.slow
def test_validation_scores_are_those_of_new_questions() -> None:
    rows = sixty(0)
    model = siamese.train(Pairs.of(*zip(*rows)), epochs=20, **TINY)
    facts = model.facts
    assert facts["unseen"]["pairs"] == facts["validation"]["pairs"] == 45  # two groups; 500 pairs across are left out
    assert facts["validation"]["average_precision"] < 0.75  # 0.44 of them are duplicates
    assert facts["warnings"], "similarity tells nothing of new questions, and training says so"


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0],
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in ([1, 0, 1, 0], [0, 1, 0], [1] * (LEAST - 1) + [0] * 40)
        ),
    ],
)
def test_too_few_pairs_calibrate_nothing(labels: list[int]) -> None:
    given = SiameseModel.pretrained()
    pairs = [(f"How do I cook {i}?", "What is the best way?" if label else "Who?") for i, label in enumerate(labels)]
    with pytest.warns(UserWarning, match=f"{sum(labels)} duplicates and .* are too few, {LEAST} of each are needed"):
        model = DuplicateClassifier(model="pretrained").fit(pairs, labels).model_
    assert (model.threshold, model.calibration) == (given.threshold, given.calibration)


def test_a_probability_that_would_fall_is_not_fitted() -> None:
    given = SiameseModel.pretrained()
    alike, not_alike = ("How do I cook rice?", "How can I cook rice?"), ("How old are you?", "Where do you live?")
    pairs = [alike, not_alike] * 20
    with pytest.warns(UserWarning, match="duplicates are no more similar than non-duplicates among the 40 pairs"):
        model = DuplicateClassifier(model="pretrained").fit(pairs, [0, 1] * 20).model_
    assert (model.threshold, model.calibration) == (given.threshold, given.calibration)
    for question1, question2 in pairs[:2]:
        said = model.predict(question1, question2)
        assert said.is_duplicate == (said.probability > 0.5)


def test_an_evaluation_keeps_the_threshold_if_it_has_too_few_pairs(tmp_path: Path, command: Command) -> None:
    rows = [(f"how old is {name}", f"what is the age of {name}", i % 2) for i, name in enumerate("abcdefgh")]
    few, scored = write_csv(tmp_path / "few.csv", rows[:4]), write_csv(tmp_path / "scored.csv", rows[4:])
    code, out, err = command("evaluate", "--data", scored, "--tune-on", few, "--json", "--model", "pretrained")
    assert "few.csv: threshold and probability are not fitted: 2 duplicates and 2 non-duplicates" in err
    assert code == 0 and json.loads(out)["threshold"] == SiameseModel.pretrained().threshold


def test_doubts_of_a_model() -> None:
    labels = np.arange(40) % 2
    good = np.where(labels, 0.9, 0.1)
    assert doubts(labels, good, 0.5) == []
    assert doubts(labels, good, 0.95) == ["it calls none of its 40 validation pairs a duplicate"]
    for bad in (1 - good, np.full(40, 0.9), np.random.default_rng(0).random(40)):
        assert "similarity may not tell duplicates apart: ROC AUC" in doubts(labels, bad, 0.05)[0]


@pytest.mark.parametrize("area", [0.5, 0.6, 0.9])
def test_the_interval_of_the_area_covers_it(area: float) -> None:
    # Normal scores whose means are √2 · Φ⁻¹(area) apart.
    apart = {0.5: 0.0, 0.6: 0.3583, 0.9: 1.8124}[area]
    draw, labels, covered = np.random.default_rng(0), np.arange(200) % 4 == 0, 0
    for _ in range(300):
        low, high = roc_auc_interval(labels, draw.normal(size=200) + apart * labels)
        covered += low <= area <= high
    assert 0.92 < covered / 300 < 0.99


@pytest.mark.ci
@pytest.mark.slow
def test_warnings_stand_in_the_card_and_in_what_uses_the_model(tmp_path: Path, command: Command) -> None:
    rows = sixty(1)
    data = write_csv(tmp_path / "pairs.csv", rows[:400])
    folder = tmp_path / "model"
    options: list[Any] = ["--epochs", 1, "--batch-size", 16]
    code, _, err = command(*TRAIN, "--data", data, "--out", folder, *options)
    assert code == 0, err
    model = SiameseModel.load(folder)
    assert model.warnings and model.calibration == UNFITTED
    card = (folder / "README.md").read_text()
    for warning in model.warnings:
        assert f"warning: {warning}" in err
        assert f"**warning**: {warning}" in card
        assert f"using {folder}: warning: {warning}" in command("predict", "a", "b", "--model", folder)[2]
    assert "not fitted" in card


def test_warnings_of_a_strangers_model_are_text_or_nothing(tiny_model: Path) -> None:
    model = SiameseModel.load(tiny_model)
    for facts in ({}, {"warnings": "x"}, {"warnings": None}, {"warnings": [1, None, {}]}):
        model.facts = facts
        assert model.warnings == []


def test_a_good_model_has_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SiameseModel.pretrained().warnings == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((["a", "b"], ["c", "d"], [0.9, 1]), "a label is 0.9; use 1 for duplicates"),  # which was 0
        ((["a", "b"], ["c", "d"], [2, 1]), "a label is 2;"),
        ((["a", "b"], ["c", "d"], [None, 1]), "a label is None;"),
        ((["a", "b"], ["c", "d"], [float("nan"), 1]), "a label is nan;"),
        ((["a", "b"], ["c"], [0, 1]), "2 first and 1 second questions, 2 labels"),
        ((["a", "b"], ["c", "d"], [0]), "2 first and 2 second questions, 1 labels"),
        ((["a", None], ["c", "d"], [0, 1]), "a question is None; expected text"),
    ],
)
def test_pairs_of_values_that_are_none(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Pairs.of(*columns)


def test_a_fit_replaces_the_warnings_of_the_training(tiny_model: Path, tmp_path: Path, command: Command) -> None:
    model = SiameseModel.load(tiny_model)
    model.facts = {"history": [], "warnings": ["threshold and probability are not fitted: too few"]}
    model.save(tmp_path / "model")
    pairs = [(f"how old is {i}", f"how old is {i}") for i in range(20)] + [(f"how {i}", f"who {i}") for i in range(20)]
    fitted = DuplicateClassifier(model=tmp_path / "model").fit(pairs, [1] * 20 + [0] * 20).model_
    assert fitted.warnings == [] and fitted.facts["chosen_threshold"] == fitted.threshold
    questions = tmp_path / "questions.txt"
    questions.write_text("how old\nhow young\n")
    said = command("mine", questions, "--out", tmp_path / "b.csv", "--model", tmp_path / "model")[2]
    assert "was not fitted. Of the" in said and "was chosen on labelled pairs" not in said
