"""Metrics, the choice of a threshold, and `siamese.evaluate`."""

import doctest
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics as reference

import siamese
from siamese import SiameseModel
from siamese.cli import entry
from siamese.errors import UserError
from siamese.evaluation.metrics import (
    all_scores,
    average_precision,
    curves,
    precision_at_recall,
    roc_auc,
    verdict_scores,
)
from siamese.evaluation.thresholds import choose_threshold
from siamese.model.calibration import HIGHEST, calibrate
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.report.tables import recall_table

Scored = tuple[np.ndarray, np.ndarray]  # labels, scores

# Scores with many ties, among them the ends, and values whose midpoint is not between them.
JUST_ABOVE = math.nextafter(0.5, 1)
NEXT = math.nextafter(JUST_ABOVE, 1)
score = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, JUST_ABOVE, NEXT, 0.75, 1.0, -0.0, -0.5, -1.0]), st.floats(-1, 1, width=32)
)
rows_of_scores = st.lists(st.tuples(st.integers(0, 1), score), min_size=1, max_size=30)
scored = rows_of_scores.map(lambda rows: columns(rows))
both_labels = scored.filter(lambda data: len(set(data[0])) == 2)


def columns(rows: list[tuple[int, float]]) -> Scored:
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_verdicts_as_scikit_learn_scores_them(rows: list[tuple[int, float]]) -> None:
    labels, predicted = np.array(rows).T
    found = verdict_scores(labels, predicted)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["precision"] == pytest.approx(reference.precision_score(labels, predicted, zero_division=0))
    assert found["recall"] == pytest.approx(reference.recall_score(labels, predicted, zero_division=0))
    assert found["f1"] == pytest.approx(reference.f1_score(labels, predicted, zero_division=0))
    assert found["confusion"] == reference.confusion_matrix(labels, predicted, labels=[0, 1]).tolist()
    assert found == verdict_scores(labels, predicted == 1)
    json.dumps(found)  # plain numbers


def test_published_confusion(course: dict[str, Any]) -> None:
    facts = course["metrics"]
    (tn, fp), (fn, tp) = facts["confusion"]
    labels, predicted = np.repeat([[0, 0, 1, 1], [0, 1, 0, 1]], [tn, fp, fn, tp], axis=1)
    found = verdict_scores(labels, predicted)
    assert found["confusion"] == facts["confusion"]
    # (4,876 + 2,558) / 10,240 = 0.7260; 2,558 / 4,064 = 0.6294; 2,558 / 3,858 = 0.6630; F1 = 5,116 / 7,922 = 0.6458
    for name in ("accuracy", "precision", "recall", "f1"):
        assert round(found[name], 4) == facts[name]


@given(both_labels)
def test_rankings_as_scikit_learn_scores_them(data: Scored) -> None:
    labels, scores = data
    assert average_precision(labels, scores) == pytest.approx(reference.average_precision_score(labels, scores))
    assert roc_auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores))


@given(both_labels)
def test_curves_as_scikit_learn_draws_them(data: Scored) -> None:
    labels, scores = data
    found = curves(labels, scores)
    # scikit-learn's curves go the other way, or begin with a point of no verdict.
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(found["precision"], precision[-2::-1])
    np.testing.assert_allclose(found["recall"], recall[-2::-1])
    rate, recall, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found["false_positive_rate"], rate[1:])
    np.testing.assert_allclose(found["recall"], recall[1:])


def test_rankings_in_numbers() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.7, 0.7, 0.1])
    # Down the scores: at 0.9 recall 1/2, precision 1; at 0.7 recall 1, precision 2/3.
    assert average_precision(labels, scores) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # Of the four duplicate and non-duplicate pairs three are in order and one is tied.
    assert roc_auc(labels, scores) == pytest.approx(3.5 / 4)
    tied = np.full(4, 0.3)
    assert average_precision(labels, tied) == roc_auc(labels, tied) == 0.5


@given(both_labels, st.floats(0, 1))
def test_all_scores(data: Scored, threshold: float) -> None:
    labels, scores = data
    assert all_scores(labels, scores, threshold).to_dict() == {
        "pairs": len(labels),
        "duplicates": int(labels.sum()),
        **verdict_scores(labels, scores > threshold),
        "average_precision": average_precision(labels, scores),
        "roc_auc": roc_auc(labels, scores),
        "threshold": threshold,
        "precision_at_recall": precision_at_recall(labels, scores),
    }


def test_a_score_at_the_threshold_is_no_duplicate() -> None:
    assert all_scores(np.array([1, 1]), np.array([0.5, JUST_ABOVE]), 0.5).confusion == [[0, 0], [1, 1]]


def value(labels: np.ndarray, predicted: np.ndarray, goal: str) -> float:
    """Return what a goal maximises, or -1 if the verdicts do not meet it."""
    found = verdict_scores(labels, predicted)
    if "=" not in goal:
        return found[goal]
    return found["recall"] if predicted[labels == 1].any() and found["precision"] >= float(goal.split("=")[1]) else -1


def every_verdict(scores: np.ndarray) -> list[np.ndarray]:
    """Return the verdicts of all thresholds from 0 to 1: "score > t" changes only where t is a score."""
    return [scores > t for t in {0.0, 1.0, *(s for s in scores.tolist() if 0 <= s <= 1)}]


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["accuracy", "f1", "precision=0.5", "precision=0.75", "precision=1"])
@given(rows=rows_of_scores)
@example(rows=[(1, 0.5), (0, 0.5)])
@example(rows=[(1, JUST_ABOVE), (0, 0.5)])
@example(rows=[(1, NEXT), (0, JUST_ABOVE)])
@example(rows=[(1, 1.0), (1, 1.0), (0, 1.0)])
def test_no_threshold_beats_the_chosen_one(goal: str, rows: list[tuple[int, float]]) -> None:
    labels, scores = columns(rows)
    all_verdicts = every_verdict(scores)
    best = max(value(labels, predicted, goal) for predicted in all_verdicts)
    if best < 0:
        with pytest.raises(UserError, match="no threshold reaches a precision of"):
            choose_threshold(labels, scores, goal)
        return
    threshold = choose_threshold(labels, scores, goal)
    assert isinstance(threshold, float) and 0 <= threshold <= 1
    predicted = scores > threshold
    assert value(labels, predicted, goal) == best
    # Among equally good ones the highest: none that calls fewer a duplicate is as good.
    assert predicted.sum() == min(other.sum() for other in all_verdicts if value(labels, other, goal) == best)


def test_threshold_in_numbers() -> None:
    labels, scores = np.array([1, 0, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.6, 0.4, 0.2, -0.3])
    # Below 0.4 and not below 0.2: three of three duplicates and one wrong, 5 of 6 right; F1 = 6/7.
    assert choose_threshold(labels, scores, "accuracy") == pytest.approx(0.3)
    assert choose_threshold(labels, scores, "f1") == pytest.approx(0.3)
    assert choose_threshold(labels, scores, "precision=0.75") == pytest.approx(0.3)
    # Only the first score's verdict is always right.
    assert choose_threshold(labels, scores, "precision=1") == pytest.approx(0.85)


def test_a_precision_that_no_threshold_reaches() -> None:
    labels, scores = np.array([0, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    # The best is two of the first three, 2/3.
    with pytest.raises(UserError, match=r"no threshold reaches a precision of 0.7; the highest is 0.667"):
        choose_threshold(labels, scores, "precision=0.7")
    assert choose_threshold(labels, scores, "precision=0.66") == pytest.approx(0.65)


def test_the_goal_probability_is_where_it_crosses_one_half() -> None:
    labels, scores = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    threshold = choose_threshold(labels, scores, "probability")
    assert calibrate(labels, scores).probability(threshold) == pytest.approx(0.5)
    # Zeros and ones mirror each other about 0.5, so the logistic is even about it.
    assert threshold == pytest.approx(0.5, abs=1e-4)


def test_the_goal_probability_keeps_within_its_ends() -> None:
    # Half of the pairs are duplicates, and one in five, whatever the score: it never crosses between 0 and 1.
    scores = np.tile(np.linspace(0, 1, 5), 5)
    often = np.repeat([1, 1, 1, 1, 0], 5)
    tilt = np.array([0] * 24 + [1])  # so that more is more likely
    assert choose_threshold(np.maximum(often, tilt), scores, "probability") == 0
    assert choose_threshold(np.maximum(1 - often, tilt), scores, "probability") == HIGHEST


@pytest.mark.parametrize(
    ("labels", "scores"), [([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]), ([0, 0], [0.2, 0.9]), ([1, 1], [0.2, 0.9])]
)
def test_the_goal_probability_where_a_higher_score_is_no_more_likely(labels: list[int], scores: list[float]) -> None:
    given_ = np.array(labels), np.array(scores)
    assert choose_threshold(*given_, "probability") == choose_threshold(*given_, "accuracy")


BAD_GOALS = """
    recall Accuracy precision precision= precision=0 precision=-1 precision=1.01 precision=x precision=nan
    precision=inf recall=0.9 f1=0.9 =0.9 precision=0.9=1 Probability probability= probability=0.5
"""


@pytest.mark.parametrize("goal", ["", *BAD_GOALS.split()])
def test_bad_goals(goal: str) -> None:
    with pytest.raises(UserError, match="expected probability, accuracy, f1 or precision=0.95") as caught:
        choose_threshold(np.array([0, 1]), np.array([0.1, 0.9]), goal)
    assert repr(goal) in str(caught.value)


def test_evaluate_a_data_frame(tiny_model: Path, small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, rows = SiameseModel.load(tiny_model), pd.read_csv(small_file)
    result = siamese.evaluate(model, rows)
    assert result == siamese.evaluate(model, small_file) == siamese.evaluate(model, read_pairs(small_file))
    assert result.pairs == (rows.split == "test").sum() > result.unseen.pairs > 0
    assert 0 < result.unseen.baselines["tf-idf"].roc_auc < 1
    entry.main(["evaluate", "--data", str(small_file), "--model", str(tiny_model), "--json"])
    assert result.to_dict() == json.loads(capsys.readouterr().out)
    entry.main(["evaluate", "--data", str(small_file), "--model", str(tiny_model)])
    assert capsys.readouterr().out == f"{result}\n" == f"{result!r}\n"


def test_an_evaluation_as_a_data_frame(tiny_model: Path, small_file: Path) -> None:
    result = siamese.evaluate(SiameseModel.load(tiny_model), small_file)
    frame = result.to_frame().set_index(["slice", "scorer"])
    scorers = ["this model", "majority", *result.baselines]
    assert frame.index.tolist() == [(part, name) for part in ("unseen", "all") for name in scorers]
    assert frame.f1["all", "this model"] == result.f1
    assert frame.roc_auc["unseen", "tf-idf"] == result.unseen.baselines["tf-idf"].roc_auc
    assert frame.accuracy["all", "majority"] == result.majority and math.isnan(frame.f1["all", "majority"])
    assert frame.pairs["unseen"].unique().tolist() == [result.unseen.pairs]


def test_evaluate_with_other_pairs_to_tune_on(tiny_model: Path, small_file: Path) -> None:
    model, pairs = SiameseModel.load(tiny_model), read_pairs(small_file)
    before = model.threshold, model.calibration
    tuned = siamese.evaluate(model, pairs, tuning=pairs, goal="f1", training=pairs)
    validation = pairs.part("validation")
    similarity = model.similarity(validation.question1, validation.question2)
    assert tuned.threshold == choose_threshold(validation.labels, similarity, "f1")
    assert siamese.evaluate(model, pairs, threshold=0.5).threshold == 0.5
    assert (model.threshold, model.calibration) == before
    with pytest.raises(UserError, match="89 of its pairs are among those to score"):
        siamese.evaluate(model, pairs.part("test"), tuning=pairs.part("test"))
    with pytest.raises(UserError, match="threshold 2: expected a number from 0 to 1"):
        siamese.evaluate(model, pairs, threshold=2)
    with pytest.raises(UserError, match="labels other than 0 and 1"):
        siamese.evaluate(model, Pairs.of(["a"], ["b"], [-1]))


def test_pairs_without_a_duplicate_have_no_precision_at_a_recall(tiny_model: Path) -> None:
    rows = pd.DataFrame({"question1": ["a b"], "question2": ["c"], "is_duplicate": [0]})
    result = siamese.evaluate(SiameseModel.load(tiny_model), rows)
    cells = [len(line.split("|")) for line in recall_table(result).splitlines()]
    assert set(cells) == {7}  # every row as wide as the heading


@pytest.mark.parametrize("module", ["siamese", "siamese.estimators"])
def test_the_examples_are_true(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 2 and results.failed == 0
