"""The scikit-learn estimators give the library's results, in pipelines and searches too."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from siamese import DuplicateClassifier, QuestionVectors, SiameseModel
from siamese.config import Config
from siamese.errors import UserError
from siamese.estimators.inputs import repeated
from siamese.evaluation.thresholds import choose_threshold
from siamese.losses import TripletLoss
from siamese.model.calibration import HIGHEST, calibrate
from siamese.pairs.held import parts_of_groups, split_questions
from siamese.pairs.pairs import Pairs
from siamese.training.train import train_model

TINY: dict[str, Any] = {"epochs": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def rows(small_file: Path) -> pd.DataFrame:
    """Return 124 labelled pairs."""
    found = pd.read_csv(small_file)
    found = found[found.split == "train"].iloc[::3].reset_index(drop=True)
    # The file's own labels are hard to tell from the questions; these go with the similarity, most of the time.
    similarity = SiameseModel.pretrained().similarity(found.question1, found.question2)
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(found))
    return found.assign(is_duplicate=(similarity + noise > 0.5).astype(int))


@pytest.fixture(scope="module")
def pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows.question1, rows.question2))


@pytest.fixture(scope="module")
def trained(pairs: list[tuple[str, str]], rows: pd.DataFrame) -> DuplicateClassifier:
    return DuplicateClassifier(**TINY, random_state=7).fit(pairs, rows.is_duplicate)


@pytest.fixture(scope="module")
def calibrated(pairs: list[tuple[str, str]], rows: pd.DataFrame) -> DuplicateClassifier:
    return DuplicateClassifier(model="pretrained").fit(pairs, rows.is_duplicate)


@pytest.fixture(scope="module")
def by_accuracy(rows: pd.DataFrame) -> DuplicateClassifier:
    """Return a classifier without a verdict, which is quick to fit."""
    return DuplicateClassifier(model="pretrained", goal="accuracy").fit(rows, rows.is_duplicate)


@pytest.mark.slow
def test_fit_trains_as_the_library_does(
    trained: DuplicateClassifier, rows: pd.DataFrame, pairs: list[tuple[str, str]]
) -> None:
    labelled = Pairs.of(rows.question1, rows.question2, rows.is_duplicate)
    expected = train_model(Config(**TINY, seed=7), *split_questions(labelled, 7)[:2])
    assert trained.model_.config == expected.config
    assert trained.model_.threshold == expected.threshold
    assert trained.model_.calibration == expected.calibration
    assert trained.similarity(pairs).tolist() == expected.similarity(rows.question1, rows.question2).tolist()
    again = clone(trained).fit(rows, rows.is_duplicate)  # of another form, with other columns beside
    assert again.similarity(rows).tolist() == trained.similarity(pairs).tolist()
    other = clone(trained).set_params(random_state=np.random.RandomState(7)).fit(rows, rows.is_duplicate)
    assert other.similarity(rows).tolist() != trained.similarity(pairs).tolist()


@pytest.mark.slow
def test_a_training_may_show_its_progress(rows: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        DuplicateClassifier(**TINY, verbose=verbose).fit(rows, rows.is_duplicate)
        assert ("epoch 1: loss" in capsys.readouterr().err) == verbose


@pytest.mark.slow
def test_a_model_is_only_calibrated(calibrated: DuplicateClassifier, rows: pd.DataFrame) -> None:
    given = SiameseModel.pretrained()
    similarity = given.similarity(rows.question1, rows.question2)
    assert calibrated.model_.weights.keys() == given.weights.keys()
    assert all((calibrated.model_.weights[name] == weight).all() for name, weight in given.weights.items())
    assert calibrated.model_.calibration == calibrate(rows.is_duplicate.to_numpy(), similarity)
    for goal in ("probability", "accuracy", "f1", "precision=0.6"):
        chosen = choose_threshold(rows.is_duplicate.to_numpy(), similarity, goal)
        found = clone(calibrated).set_params(goal=goal).fit(rows, rows.is_duplicate)
        assert found.model_.threshold == min(chosen, HIGHEST)


@pytest.mark.slow
def test_a_training_that_starts_from_a_model(tiny_model: Path, rows: pd.DataFrame) -> None:
    start = SiameseModel.load(tiny_model)
    still = DuplicateClassifier(start_from=tiny_model, learning_rate=0.0, **TINY).fit(rows, rows.is_duplicate)
    assert still.model_.config.hidden == start.config.hidden == 16
    assert still.model_.config.start_from == str(tiny_model)
    assert still.model_.tokenizer.words[: len(start.tokenizer.words)] == start.tokenizer.words
    assert still.similarity(rows) == pytest.approx(start.similarity(rows.question1, rows.question2), abs=1e-6)


@pytest.mark.slow
def test_an_unreachable_precision_is_told_of(rows: pd.DataFrame) -> None:
    same = rows.question1.iloc[:40]  # questions that are no duplicates of nearly themselves, so similar is wrong
    both = [*zip(rows.question1, rows.question2), *zip(same, same + " please")]
    noise = [*rows.is_duplicate, *[0] * len(same)]
    with pytest.warns(UserWarning, match="no threshold reaches a precision of 0.9"):
        DuplicateClassifier(**TINY, goal="precision=0.9", validation_fraction=0.7).fit(both, noise)


@pytest.mark.slow
def test_verdicts_scores_and_probabilities_agree(calibrated: DuplicateClassifier, rows: pd.DataFrame) -> None:
    model = calibrated.model_
    similarity, rule = model.similarity(rows.question1, rows.question2), model.rule()
    decision, probability = calibrated.decision_function(rows), calibrated.predict_proba(rows)
    scores = rule.scores(list(rows.question1), list(rows.question2), similarity)
    assert decision.tolist() == rule.log_odds(scores).tolist()
    assert probability[:, 1].tolist() == rule.probability(scores).tolist()
    assert probability.sum(1) == pytest.approx(np.ones(len(rows)))
    verdicts = calibrated.predict(rows)
    assert 10 < verdicts.sum() < len(rows) - 10
    assert verdicts.tolist() == (decision > 0).astype(int).tolist()
    assert verdicts.tolist() == (probability[:, 1] > 0.5).astype(int).tolist()
    assert calibrated.score(rows, rows.is_duplicate) == (verdicts == rows.is_duplicate).mean()
    assert calibrated.n_features_in_ == 2
    other = clone(calibrated).fit(rows, rows.is_duplicate)
    other.model_.threshold, other.model_.verdict = float(np.median(similarity)), None
    assert other.predict(rows).tolist() == (similarity > np.median(similarity)).astype(int).tolist()


def test_forms_of_pairs(calibrated: DuplicateClassifier, rows: pd.DataFrame, pairs: list[tuple[str, str]]) -> None:
    expected = calibrated.similarity(pairs).tolist()
    turned = rows[["is_duplicate", "question2", "question1"]].set_index(rows.index + 5)
    renamed = rows[["question1", "question2"]].set_axis(["a", "question1"], axis=1)
    for X in (rows, turned, renamed, np.array(pairs), np.array(pairs, object), [[*pair] for pair in pairs]):
        assert calibrated.similarity(X).tolist() == expected
    assert calibrated.predict([]).shape == (0,)
    assert calibrated.predict_proba([]).shape == (0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [(-1, 1), (False, True), (1.0, 2.0)])
def test_labels(calibrated: DuplicateClassifier, rows: pd.DataFrame, labels: tuple) -> None:
    y = np.array(labels)[rows.is_duplicate]
    for form in (y, y.tolist(), y.astype(object), pd.Series(y).convert_dtypes()):
        fitted = clone(calibrated).fit(rows, form)
        assert fitted.classes_.tolist() == list(labels)
        assert fitted.predict(rows).tolist() == np.array(labels)[calibrated.predict(rows)].tolist()


@pytest.mark.parametrize(("labels", "given"), [(("not duplicate", "duplicate"), None), (("other", "a copy"), "a copy")])
def test_duplicates_may_come_first_in_the_order_of_labels(
    by_accuracy: DuplicateClassifier, rows: pd.DataFrame, labels: tuple, given: Any
) -> None:
    y = np.array(labels)[rows.is_duplicate]
    fitted = clone(by_accuracy).set_params(duplicate_label=given).fit(rows, y)
    assert fitted.classes_.tolist() == sorted(labels) and fitted.duplicate_ == labels[1] == fitted.classes_[0]
    assert fitted.predict(rows).tolist() == np.array(labels)[by_accuracy.predict(rows)].tolist()
    assert fitted.predict_proba(rows).tolist() == by_accuracy.predict_proba(rows)[:, ::-1].tolist()
    assert fitted.decision_function(rows).tolist() == (-by_accuracy.decision_function(rows)).tolist()
    scores = [
        get_scorer("roc_auc")(one, rows, labels) for one, labels in ((fitted, y), (by_accuracy, rows.is_duplicate))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)


class TestWeights:
    @pytest.mark.slow
    def test_whole_weights_repeat_pairs(self, rows: pd.DataFrame) -> None:
        weights = np.random.default_rng(0).integers(0, 3, len(rows))
        more = rows.loc[np.repeat(rows.index, weights)]
        one = DuplicateClassifier(model="pretrained", goal="accuracy").fit(
            rows, rows.is_duplicate, sample_weight=weights
        )
        other = DuplicateClassifier(model="pretrained", goal="accuracy").fit(more, more.is_duplicate)
        assert one.model_.threshold == other.model_.threshold and one.model_.calibration == other.model_.calibration

    @pytest.mark.slow
    def test_equal_weights_change_nothing_and_others_change_the_training(self, rows: pd.DataFrame) -> None:
        y = rows.is_duplicate
        plain = DuplicateClassifier(**TINY, random_state=1).fit(rows, y)
        same = DuplicateClassifier(**TINY, random_state=1).fit(rows, y, sample_weight=np.full(len(y), 0.3))
        assert same.similarity(rows).tolist() == plain.similarity(rows).tolist()
        weighted = DuplicateClassifier(**TINY, random_state=1, class_weight={0: 1.0, 1: 4.0}).fit(rows, y)
        assert weighted.similarity(rows).tolist() != plain.similarity(rows).tolist()

    @pytest.mark.slow
    def test_class_weights_move_the_probability(self, by_accuracy: DuplicateClassifier, rows: pd.DataFrame) -> None:
        y = rows.is_duplicate
        for_duplicates = clone(by_accuracy).set_params(class_weight={0: 1, 1: 5}).fit(rows, y)
        assert for_duplicates.predict(rows).sum() > by_accuracy.predict(rows).sum()
        balanced = clone(by_accuracy).set_params(class_weight="balanced").fit(rows, y)
        assert balanced.model_.calibration.prior == pytest.approx(0.5, abs=0.02)

    def test_a_pair_is_there_as_often_as_it_weighs(self) -> None:
        texts = [str(i) for i in range(1_000)]
        pairs = Pairs.of(texts, texts, [0, 1] * 500)
        weights = np.random.default_rng(1).exponential(size=1_000) * 7
        weights[3] = 0
        found = Counter(map(int, repeated(pairs, weights, seed=1).question1))
        scaled = weights / weights.mean()
        for i in range(1_000):
            assert np.floor(scaled[i]) <= found[i] <= np.ceil(scaled[i])
        assert found.total() == pytest.approx(1_000, abs=1)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ([1, 2, 3], r"sample_weight: the shape is \(3,\); expected \(4,\)"),
            ([1, 1, 1, -1], "weights must be finite numbers of 0 or more"),
            ([1, 1, 1, np.nan], "weights must be finite numbers of 0 or more"),
            ([0, 0, 0, 0], "sample_weight: every weight is zero"),
            (["a", 1, 1, 1], "sample_weight: could not convert"),
        ],
    )
    def test_weights_that_cannot_be_used(self, weights: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            DuplicateClassifier(model="pretrained").fit([("a", "b")] * 4, [0, 1, 0, 1], sample_weight=weights)


class TestRecipes:
    @pytest.mark.slow
    def test_every_recipe_is_reached(self, rows: pd.DataFrame) -> None:
        given: dict[str, Any] = {"closest": "semi-hard", "embedding": 8, "hidden": 8, "options": {"swap": False}}
        fitted = DuplicateClassifier(**TINY, **given).fit(rows, rows.is_duplicate)
        config = fitted.model_.config
        assert (config.closest, config.hidden, config.swap) == ("semi-hard", 8, False)
        fitted = clone(fitted).set_params(loss=TripletLoss(margin=0.1), closest=None).fit(rows, rows.is_duplicate)
        assert fitted.model_.config.loss == "TripletLoss"
        restored = pickle.loads(pickle.dumps(fitted))
        assert restored.predict(rows).tolist() == fitted.predict(rows).tolist()

    def test_fields_that_are_none(self, rows: pd.DataFrame) -> None:
        with pytest.raises(ValueError, match="epoch: not a field of a recipe; did you mean epochs"):
            DuplicateClassifier(options={"epoch": 3}).fit(rows, rows.is_duplicate)
        with pytest.raises(ValueError, match="patience: no effect, because model='pretrained' is only calibrated"):
            DuplicateClassifier(model="pretrained", options={"patience": 3}).fit(rows, rows.is_duplicate)
        with pytest.raises(ValueError, match="--tower transformer needs --encoder"):
            DuplicateClassifier(tower="transformer").fit(rows, rows.is_duplicate)

    def test_groups_stay_together(self) -> None:
        texts = [str(i) for i in range(400)]
        others = texts[1:] + texts[:1]  # each question is in two pairs
        pairs = Pairs.of(texts, others, np.arange(400) % 3 == 0)
        groups = np.arange(400) // 10
        training, validation = parts_of_groups(pairs, groups, seed=1, share=0.1)
        assert not set(groups[training]) & set(groups[validation])
        sides = [{*pairs.take(part).question1, *pairs.take(part).question2} for part in (training, validation)]
        assert not sides[0] & sides[1]
        for label in (0, 1):
            assert 0.1 <= (pairs.labels[validation] == label).sum() / (pairs.labels == label).sum() < 0.25

    def test_groups_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match="groups: 1 for 2 pairs"):
            DuplicateClassifier().fit([("a", "b")] * 2, [0, 1], groups=[1])

    @pytest.mark.slow
    def test_a_pickle_without_the_newer_parameters(self, by_accuracy: DuplicateClassifier, rows: pd.DataFrame) -> None:
        state = dict(by_accuracy.__getstate__())
        for name in ("tower", "options", "class_weight", "duplicate_label", "duplicate_"):
            del state[name]
        old = DuplicateClassifier.__new__(DuplicateClassifier)
        old.__setstate__(state)
        assert clone(old).get_params() == by_accuracy.get_params()
        assert old.predict(rows).tolist() == by_accuracy.predict(rows).tolist()


@pytest.mark.slow
def test_pipeline_search_and_cross_validation(rows: pd.DataFrame, pairs: list[tuple[str, str]]) -> None:
    y = rows.is_duplicate
    apart = make_pipeline(FunctionTransformer(with_how), DuplicateClassifier(model="pretrained"))
    spaced = rows[["question1", "question2"]].apply(lambda column: "how " + column)
    expected = DuplicateClassifier(model="pretrained").fit(spaced, y).predict_proba(spaced)
    assert apart.fit(rows, y).predict_proba(rows).tolist() == expected.tolist()
    scores = cross_val_score(DuplicateClassifier(model="pretrained"), pairs, y, cv=3, scoring="roc_auc")
    assert scores.tolist() == cross_val_score(DuplicateClassifier(model="pretrained"), rows, y, cv=3,
                                              scoring="roc_auc").tolist()  # fmt: skip
    assert scores.min() > 0.8


def with_how(X: pd.DataFrame) -> pd.DataFrame:
    return X[["question1", "question2"]].apply(lambda column: "how " + column)


@pytest.mark.slow
def test_a_search_over_a_training(rows: pd.DataFrame) -> None:
    # A grid of numpy's numbers, which are not Python's.
    grid = {"batch_size": np.array([64]), "margin": np.array([0.1], np.float32)}
    search = GridSearchCV(DuplicateClassifier(epochs=1), grid, cv=2, error_score="raise").fit(rows, rows.is_duplicate)
    assert search.best_estimator_.model_.config.batch_size == 64
    assert search.best_estimator_.model_.config.margin == pytest.approx(0.1)


def test_vectors(rows: pd.DataFrame, tiny_model: Path) -> None:
    questions = [*rows.question1, "", "zzzq"]
    expected = SiameseModel.load(tiny_model).encode(questions)
    vectors = QuestionVectors(tiny_model)
    forms = (questions, np.array(questions), np.array(questions)[:, None], pd.Series(questions),
             pd.DataFrame({"q": questions}))  # fmt: skip
    for X in forms:
        assert vectors.fit_transform(X).tolist() == expected.tolist()
    with pytest.raises(ValueError, match="X, row 1: 3 is not text"):
        vectors.transform(["a", 3])
    assert vectors.get_feature_names_out().tolist() == [f"questionvectors{i}" for i in range(16)]
    frame = clone(vectors).set_output(transform="pandas").fit_transform(rows[["question1"]].set_index(rows.index + 9))
    assert frame.index.tolist() == (rows.index + 9).tolist()
    assert frame.columns.tolist() == vectors.get_feature_names_out().tolist()


@pytest.mark.slow
def test_vectors_before_other_estimators(rows: pd.DataFrame) -> None:
    intent = (rows.qid1 - 1) // 9
    regression = make_pipeline(QuestionVectors(), LogisticRegression())
    assert cross_val_score(regression, rows.question1, intent, cv=3).mean() > 0.5
    near = make_pipeline(QuestionVectors(), NearestNeighbors(n_neighbors=1, metric="cosine")).fit(rows.question1)
    distance, row = near[-1].kneighbors(near[:-1].transform(["How old are you?", rows.question1[5]]))
    assert rows.question1[row[1, 0]] == rows.question1[5]
    assert distance[1, 0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["How old are you?", "What is your age?"], "X, row 0: 'How old are you.'; expected a pair of questions"),
        ([("a", "b"), ("a",)], r"X, row 1: \('a',\); expected a pair"),
        ([("a", "b"), ("a", None)], "X, row 1, second question: None is not text"),
        (pd.DataFrame({"question1": ["a", np.nan], "question2": "b"}), "X, row 1, first question: nan is not text"),
        (np.zeros((2, 2)), "X, row 0, first question: .*0.0.* is not text"),
        (
            pd.DataFrame({"text": ["a"]}),
            r"X: a DataFrame with the columns \['text'\]; expected question1 and question2",
        ),
        ("How old are you?", "X: 'How old are you.'; expected a list"),
        (None, "X: None; expected a list"),
    ],
)
def test_pairs_that_cannot_be_used(calibrated: DuplicateClassifier, X: Any, message: str) -> None:
    for run in (calibrated.predict, lambda X: clone(calibrated).fit(X, [0, 1])):
        with pytest.raises(ValueError, match=message) as caught:
            run(X)
        assert isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 1], "3 labels for 4 pairs"),
        ([1, 1, 1, 1], r"labels of one class only, \[1\]"),
        ([0, 1, 2, 0], "binary classification"),
        (["a", "b", "a", "b"], "y: which of .'a', 'b'. means duplicates. Give it as duplicate_label"),
        ([b"a", b"b", b"a", b"b"], "b'a'. is no number and no text; use 1 for duplicates, 0 for others"),
    ],
)
def test_labels_that_cannot_be_used(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DuplicateClassifier(model="pretrained").fit([("a", "b")] * 4, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "nowhere"}, "nowhere: no trained model"),
        ({"model": "pretrained", "margin": 0.1, "start_from": "x"}, "margin, start_from: no effect"),
        ({"model": "pretrained", "goal": "precision=2"}, "precision"),
        ({"preset": "worst"}, "'worst' is not one of best"),
        ({"margin": 5}, "margin: 5 is not a number from 0 to 2"),
        ({"validation_fraction": 1}, "validation_fraction: 1 is not a number between 0 and 1"),
        ({}, "fewer than two duplicate pairs"),
    ],
)
def test_parameters_that_cannot_be_used(parameters: dict[str, Any], message: str) -> None:
    pairs = [("How old are you?", "What is your age?"), ("how", "why"), ("who", "where"), ("when", "what")]
    with pytest.raises(ValueError, match=message):
        DuplicateClassifier(**parameters).fit(pairs, [0, 1, 0, 1])


@pytest.mark.slow
def test_columns_are_read_by_name(rows: pd.DataFrame) -> None:
    named = pd.DataFrame({"q1": rows.question1, "q2": rows.question2})
    classifier = DuplicateClassifier(model="pretrained").fit(named, rows.is_duplicate)
    assert classifier.feature_names_in_.tolist() == ["q1", "q2"]
    expected = classifier.similarity(named).tolist()
    wider = named.assign(qid1="How do I cook rice?")[["qid1", "q2", "q1"]]  # which used to be question 1
    assert classifier.similarity(wider) == pytest.approx(expected)
    assert classifier.similarity(named.to_numpy()).tolist() == expected
    for other in (named.rename(columns={"q1": "first"}), named[["q1"]], pd.concat([named, named], axis=1)):
        with pytest.raises(ValueError, match="X: a DataFrame with the columns .* expected q1 and q2, as in fit"):
            classifier.predict(other)
    for unnamed in (wider, named[["q1"]]):
        with pytest.raises(ValueError, match="expected question1 and question2$"):
            DuplicateClassifier(model="pretrained").fit(unnamed, rows.is_duplicate)
    assert not hasattr(classifier.fit(named.to_numpy(), rows.is_duplicate), "feature_names_in_")

    vectors = QuestionVectors().fit(named[["q2"]])
    assert (vectors.transform(wider) == vectors.transform(named.q2)).all()
    with pytest.raises(ValueError, match="expected q2, as in fit"):
        vectors.transform(named[["q1"]])
