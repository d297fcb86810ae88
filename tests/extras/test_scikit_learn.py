"""scikit-learn's own checks of the estimators, and a search in two processes."""

import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from libraries import needs

pytest.importorskip("sklearn", "1.6", reason="needs a later scikit-learn: pip install -r tests/extras/requirements.txt")

from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

from siamese import DuplicateClassifier, QuestionVectors

WORDS = ["how", "old", "are", "you", "what", "is", "your", "name", "where", "do", "they", "live", "and", "why", "not"]

# The checks fit tables of numbers. So that they say something of the estimators, a number becomes a word here.


def question(numbers: np.ndarray) -> str:
    return " ".join(WORDS[int(abs(number) * 7) % len(WORDS)] for number in numbers)


class PairsOfNumbers(DuplicateClassifier):
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        X, y = validate_data(self, X, y)
        columns = self.n_features_in_
        super().fit(self.pairs(X), y, sample_weight, groups)
        self.n_features_in_ = columns
        return self

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return super()._scores(self.pairs(validate_data(self, X, reset=False)))

    def pairs(self, X: np.ndarray) -> list[tuple[str, str]]:
        half = X.shape[1] // 2
        return [(question(row[:half]), question(row[half:])) for row in X]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.classifier_tags.poor_score = True
        return tags


class VectorsOfNumbers(QuestionVectors):
    def fit(self, X: Any, y: Any = None) -> Self:
        validate_data(self, X)
        return super().fit(X)

    def transform(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return super().transform([question(row) for row in validate_data(self, X, reset=False)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags


# Which of the checks cannot hold, and why.
CANNOT = {
    "check_classifiers_classes": "labels of text that do not say which means duplicates need duplicate_label",
    "check_classifiers_train": "here similar pairs are the rarer duplicates, so that the probability falls with the "
    "similarity, and with the decision",
    "check_decision_proba_consistency": "the same",
    "check_methods_sample_order_invariance": "vectors are float32, and differ by 5e-8 with their neighbours in a batch",
}


@pytest.mark.ci
@pytest.mark.parametrize("estimator", [PairsOfNumbers(model="pretrained"), VectorsOfNumbers()], ids=repr)
def test_the_checks_of_scikit_learn(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed.keys() <= CANNOT.keys(), failed


@pytest.mark.slow
def test_the_vectors_of_a_transformer_have_as_many_names(small_file: Path, tmp_path: Path) -> None:
    needs("sentence_transformers")
    from encoders import make_transformer

    make_transformer(tmp_path, "bert").save(tmp_path / "model")  # of 16 dimensions, whatever `Config.hidden` says
    rows, vectors = pd.read_csv(small_file)[:20], QuestionVectors(tmp_path / "model")
    frame = vectors.set_output(transform="pandas").fit_transform(rows.question1)
    assert frame.columns.tolist() == [f"questionvectors{i}" for i in range(16)]
    both = ColumnTransformer([(name, vectors, name) for name in ("question1", "question2")])
    assert both.set_output(transform="pandas").fit_transform(rows).shape == (20, 32)


@pytest.mark.slow
def test_a_search_in_two_processes(small_file: Path) -> None:
    rows = pd.read_csv(small_file)[::4]
    grid = {"margin": [0.1, 0.4]}
    alone, two = (
        GridSearchCV(DuplicateClassifier(epochs=1), grid, cv=2, n_jobs=jobs, scoring="roc_auc", error_score="raise")
        for jobs in (1, 2)
    )
    for search in (alone, two):
        search.fit(rows, rows.is_duplicate)
    assert two.cv_results_["mean_test_score"] == pytest.approx(alone.cv_results_["mean_test_score"], abs=0.02)
    assert two.predict(rows).shape == (len(rows),)
