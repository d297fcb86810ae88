"""From similarity to probability: the fit, its error, other priors, and the threshold."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from siamese import SiameseModel
from siamese.config import Config
from siamese.errors import UserError
from siamese.evaluation.metrics import precision_at_recall, precision_by_prior
from siamese.model.calibration import HIGHEST, Calibration, calibrate, calibration_error, check_prior, reliability
from siamese.pairs import splits
from siamese.training.train import train_model

Scored = tuple[np.ndarray, np.ndarray]  # labels, scores or probabilities

shares = st.floats(1e-6, 1 - 1e-6)
rising = st.builds(Calibration, st.floats(0.1, 60), st.floats(-60, 60), shares)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def drawn(pairs: int, prior: float, seed: int) -> Scored:
    """Draw pairs with normal scores: mean 0.7 for duplicates, 0.4 for the rest, deviation 0.15.

    The logarithm of the ratio of the two densities is a line,
        (0.7 − 0.4) / 0.15² · s − (0.7² − 0.4²) / (2 · 0.15²) = 13.333 s − 7.333,
    so that the probability is sigmoid(13.333 s − 7.333 + logit(prior)).
    """
    rng = np.random.default_rng(seed)
    labels = (np.arange(pairs) < round(pairs * prior)).astype(int)
    return labels, rng.normal(np.where(labels == 1, 0.7, 0.4), 0.15)


@pytest.mark.parametrize(("slope", "intercept"), [(8.0, -5.0), (3.0, 0.5), (-2.0, 1.0), (20.0, -14.0)])
def test_calibration_recovers_a_logistic(slope: float, intercept: float) -> None:
    # At each of 41 scores 5,000 labels, of which the logistic's share is 1: no chance in it, only rounding.
    grid = np.linspace(-1, 1, 41)
    ones = np.round(5_000 * sigmoid(slope * grid + intercept)).astype(int)
    labels = (np.arange(5_000) < ones[:, None]).astype(int).ravel()
    found = calibrate(labels, np.repeat(grid, 5_000))
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=0.01)
    assert found.prior == ones.sum() / len(labels)


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_on_one_label(label: int) -> None:
    found = calibrate(np.full(3, label), np.array([0.1, 0.5, 0.9]))
    assert found.probability(np.array([0.0, 0.5, 1.0])) == pytest.approx([label] * 3, abs=1e-6)
    assert found.threshold() is None


def test_calibration_of_labels_that_the_score_tells_apart() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9])
    found = calibrate(labels, scores)
    assert ((found.probability(scores) > 0.5) == (labels == 1)).all()
    assert 0.2 < found.threshold() < 0.7


@pytest.mark.parametrize(("slope", "intercept"), [(math.nan, 0.0), (1.0, math.nan), (math.inf, 0.0), (1.0, -math.inf)])
def test_a_calibration_that_is_no_line_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(UserError, match="calibration .*: expected a finite number"):
        Calibration(slope, intercept, 0.5)


@pytest.mark.parametrize("prior", [0, 1, 0.0, 1.0, -0.01, 2, math.nan, math.inf, "0.5", True])
def test_a_prior_that_is_no_share_is_refused(prior: float) -> None:
    fitted = Calibration(8.0, -4.0, 0.5)
    for use in (
        lambda: Calibration(8.0, -4.0, prior),
        lambda: check_prior(prior),
        lambda: fitted.probability(0.5, prior),
        lambda: fitted.threshold(prior),
    ):
        with pytest.raises(UserError, match="prior .*: expected a share of duplicates between 0 and 1") as caught:
            use()
        assert repr(prior) in str(caught.value)


def test_calibration_error_by_hand() -> None:
    probability, labels = np.array([0.0, 0.03, 0.1, 0.5, 0.95, 1.0]), np.array([0, 1, 0, 1, 1, 0])
    # Bins of width 1/15 = 0.0667, their lower edge in, the last with 1:
    #   0 to 0.067: 2 pairs, mean 0.015, share 1/2, apart 0.485    0.067 to 0.133: 1, 0.1, 0, 0.1
    #   0.467 to 0.533: 1, 0.5, 1, 0.5                             0.933 to 1: 2, 0.975, 1/2, 0.475
    expected = np.zeros((15, 3))
    expected[[0, 1, 7, 14]] = [[2, 0.015, 0.5], [1, 0.1, 0], [1, 0.5, 1], [2, 0.975, 0.5]]
    assert reliability(labels, probability) == pytest.approx(expected)
    # (2 · 0.485 + 1 · 0.1 + 1 · 0.5 + 2 · 0.475) / 6 = 2.52 / 6
    assert calibration_error(labels, probability) == pytest.approx(0.42)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1_000)), min_size=1, max_size=60))
@example([(1, 0), (0, 200), (1, 400), (0, 600), (1, 800), (0, 1_000)])  # edges: 0, 3/15, 6/15, 9/15, 12/15, 1
def test_calibration_error_by_a_plain_loop(rows: list[tuple[int, int]]) -> None:
    error, bins = 0.0, []
    for k in range(15):
        inside = [row for row in rows if min(row[1] * 15 // 1_000, 14) == k]  # in whole thousandths, so exact
        mean = sum(p for _, p in inside) / 1_000 / max(len(inside), 1)
        share = sum(label for label, _ in inside) / max(len(inside), 1)
        bins.append([len(inside), mean, share])
        error += len(inside) / len(rows) * abs(mean - share)
    labels, thousandths = np.array(rows).T
    assert reliability(labels, thousandths / 1_000) == pytest.approx(np.array(bins))
    assert calibration_error(labels, thousandths / 1_000) == pytest.approx(error)


def test_precision_at_recall_by_hand() -> None:
    labels = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2])
    # Of 5 duplicates: 3 (2.5 are half) down to 0.6, where 5 pairs are called; 4 down to 0.5, of 6; 5 down to 0.2, of 9.
    expected = {"0.5": 3 / 5, "0.8": 4 / 6, "0.9": 5 / 9, "0.95": 5 / 9}
    assert precision_at_recall(labels, scores) == pytest.approx(expected)
    assert precision_at_recall(np.zeros(3, int), np.array([0.1, 0.2, 0.3])) == {}


tied = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(-1, 1, width=16)


@given(st.lists(st.tuples(st.integers(0, 1), tied), min_size=1, max_size=60))
@example([(1, i / 20) for i in range(20)])  # 0.95 of 20 is 19 and no more
def test_precision_at_recall_by_a_search_over_thresholds(rows: list[tuple[int, float]]) -> None:
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    assume(labels.any())
    found = precision_at_recall(labels, scores)
    assert list(found) == ["0.5", "0.8", "0.9", "0.95"]
    precision, recall, _ = precision_recall_curve(labels, scores)
    for name, hundredths in zip(found, (50, 80, 90, 95)):
        for threshold in sorted(set(scores), reverse=True):
            called = [label for label, score in rows if score >= threshold]
            if 100 * sum(called) >= hundredths * labels.sum():
                assert found[name] == sum(called) / len(called)
                break
        # scikit-learn goes up the thresholds: the last point that has the recall
        assert found[name] == precision[np.flatnonzero(recall >= hundredths / 100)[-1]]


def test_bayes_by_hand() -> None:
    # Probability 0.8 if every second pair is a duplicate: such a similarity is 4 times as frequent among duplicates.
    fitted = Calibration(8.0, logit(0.8) - 8.0 * 0.6, 0.5)
    assert fitted.probability(0.6) == pytest.approx(0.8)
    # Of 100 pairs with one duplicate, 4 · 1 to 1 · 99: 4 / 103; with nine in ten, 4 · 9 to 1 · 1: 36 / 37.
    assert fitted.probability(0.6, 0.01) == pytest.approx(4 / 103)
    assert fitted.probability(0.6, 0.9) == pytest.approx(36 / 37)
    # The same line, fitted if one in five is a duplicate: 16 times as frequent, 16 · 1 to 99.
    assert Calibration(8.0, fitted.intercept, 0.2).probability(0.6, 0.01) == pytest.approx(16 / 115)


@given(rising, shares, st.floats(-1, 1))
def test_the_odds_change_as_the_prior(fitted: Calibration, prior: float, similarity: float) -> None:
    before, after = float(fitted.probability(similarity)), float(fitted.probability(similarity, prior))
    assume(1e-9 < before < 1 - 1e-9 and 1e-9 < after < 1 - 1e-9)
    assert logit(after) - logit(before) == pytest.approx(logit(prior) - logit(fitted.prior), abs=1e-5)
    assert (after > before) == (prior > fitted.prior) or after == pytest.approx(before)


def test_a_stream_in_which_duplicates_are_rare() -> None:
    fitted = calibrate(*drawn(40_000, 0.4, seed=1))
    assert fitted.slope == pytest.approx(13.333, rel=0.03)
    assert fitted.intercept == pytest.approx(-7.333 + logit(0.4), rel=0.03)
    labels, scores = drawn(200_000, 0.01, seed=2)
    restated = fitted.probability(scores, 0.01)
    assert calibration_error(labels, restated) < 0.003
    assert restated.mean() == pytest.approx(0.01, rel=0.1)
    assert calibration_error(labels, fitted.probability(scores)) > 0.1  # as if four in ten were duplicates
    # What a fit on the stream itself would find.
    refitted = calibrate(labels, scores)
    assert refitted.threshold() == pytest.approx(fitted.threshold(0.01), abs=0.02)
    # And the verdict: the restated threshold is right more often than the old one.
    accuracy = [((scores > t) == (labels == 1)).mean() for t in (fitted.threshold(0.01), fitted.threshold())]
    assert accuracy[0] > 0.99 > accuracy[1] + 0.05


def test_precision_by_prior_by_hand() -> None:
    labels, scores = np.array([1, 1, 0, 0, 0, 0]), np.array([0.9, 0.4, 0.8, 0.3, 0.2, 0.1])
    # Above 0.5 are 1/2 of the duplicates and 1/4 of the rest:
    #   1/2 · 1/2 to 1/2 · 1/4, two thirds;   0.2 · 1/2 to 0.8 · 1/4, a third;   0.01 · 1/2 to 0.99 · 1/4, 2 / 101.
    # Above 0.95 is nothing.
    thresholds, priors = np.array([0.5, 0.5, 0.5, 0.95]), np.array([0.5, 0.2, 0.01, 0.5])
    precision, recall = precision_by_prior(labels, scores, thresholds, priors)
    assert precision == pytest.approx([2 / 3, 1 / 3, 2 / 101, np.nan], nan_ok=True)
    assert recall == pytest.approx([0.5, 0.5, 0.5, 0])


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), shares, st.lists(st.floats(-1, 1), min_size=1, max_size=10))
@pytest.mark.filterwarnings("error")  # exp of a large number must not overflow
def test_probability(slope: float, intercept: float, prior: float, similarities: list[float]) -> None:
    fitted, ordered = Calibration(slope, intercept, 0.5), np.sort(similarities)
    for found in (fitted.probability(ordered), fitted.probability(ordered, prior)):
        assert np.all((found >= 0) & (found <= 1)) and np.all(np.diff(found) * np.sign(slope) >= 0)
    assert [float(fitted.probability(s)) for s in ordered] == pytest.approx(fitted.probability(ordered).tolist())


def test_threshold_by_hand() -> None:
    fitted = Calibration(20.0, -10.0, 0.5)
    # 20 t − 10 = 0; and 20 t − 10 + logit(0.01) = 0 with logit(0.01) = −4.5951: t = 14.5951 / 20
    assert fitted.threshold() == 0.5
    assert fitted.threshold(0.01) == pytest.approx(0.729756, abs=1e-6)
    assert fitted.threshold(0.99) == pytest.approx(1 - 0.729756, abs=1e-6)
    assert fitted.threshold(1e-6) == HIGHEST  # (10 + 13.8) / 20 is above 1
    assert fitted.threshold(1 - 1e-6) == 0


@given(rising, st.none() | shares)
def test_the_threshold_is_where_the_probability_crosses_one_half(fitted: Calibration, prior: float | None) -> None:
    threshold = fitted.threshold(prior)
    assert isinstance(threshold, float) and 0 <= threshold <= HIGHEST < 1
    below, at, above = fitted.probability(threshold + np.array([-1e-3, 0, 1e-3]), prior)
    assert below <= at <= above
    if threshold == 0:
        assert at >= 0.5 - 1e-9
    elif threshold == HIGHEST:
        assert at <= 0.5 + 1e-9
    else:
        assert at == pytest.approx(0.5, abs=1e-9)
        assert below < 0.5 < above


@pytest.mark.parametrize("prior", [None, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("slope", [0.0, -3.0])
def test_no_threshold_where_more_similar_means_less_likely(slope: float, prior: float | None) -> None:
    assert Calibration(slope, 0.5, 0.5).threshold(prior) is None


@pytest.fixture(scope="module")
def knowing(parts: splits.Datasets) -> SiameseModel:
    """Train a model on the pairs that it is calibrated on, so that no verdict is close to chance."""
    config = Config(embedding=16, hidden=16, batch_size=32, epochs=15, learning_rate=0.02, labelled_weight=2.0)
    return train_model(config, parts.training, parts.training)


@pytest.mark.slow
def test_training_calibrates_on_the_validation_pairs(knowing: SiameseModel, parts: splits.Datasets) -> None:
    model = knowing
    similarity = model.similarity(parts.training.question1, parts.training.question2)
    assert model.calibration == calibrate(parts.training.labels, similarity)
    assert model.calibration.prior == parts.training.duplicates / len(parts.training)
    assert model.threshold == model.calibration.threshold()
    assert 0.1 < model.threshold < 0.95
    assert calibration_error(parts.training.labels, model.probability(similarity)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, 0.9, 0.1, 0.02])
def test_verdict_and_probability_agree(knowing: SiameseModel, parts: splits.Datasets, prior: float | None) -> None:
    pairs = list(zip(parts.training.question1, parts.training.question2))[:60]
    said = [knowing.predict(question1, question2, prior=prior) for question1, question2 in pairs]
    assert all(p.is_duplicate == (p.probability > 0.5) for p in said)
    assert {p.is_duplicate for p in said} == {False, True}
    assert {p.threshold for p in said} == {knowing.calibration.threshold(prior)}


@pytest.mark.slow
def test_the_same_question_twice_is_a_duplicate_whatever_the_prior(
    knowing: SiameseModel, parts: splits.Datasets
) -> None:
    question = parts.training.question1[0]
    for prior in (0.5, 0.01, 1e-6, 1e-300):
        said = knowing.predict(question, question, prior=prior)
        assert said.is_duplicate and said.threshold < 1
    assert knowing.predict(question, question, prior=1e-300).threshold == HIGHEST


def test_a_calibration_stated_for_another_share_says_the_same() -> None:
    fitted, stated = Calibration(8.0, -6.0, 0.4), Calibration(8.0, -6.0, 0.4).at(0.1)
    assert stated.prior == 0.1 and stated.threshold() == pytest.approx(fitted.threshold(0.1))
    assert stated.probability(0.7, 0.3) == pytest.approx(fitted.probability(0.7, 0.3))
