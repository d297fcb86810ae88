"""The detector and its question vectors as scikit-learn estimators.

>>> from siamese import DuplicateClassifier
>>> pairs = [("How do I cook rice?", "What is the best way to cook rice?"), ("How old are you?", "Where do you live?")]
>>> classifier = DuplicateClassifier(model="pretrained").fit(pairs * 10, [1, 0] * 10)  # ten of a label, or more
>>> classifier.predict(pairs).tolist()
[1, 0]
"""

import sys
import warnings
from contextlib import closing, nullcontext
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from siamese import text
from siamese.config import PRETRAINED, Config, recipe
from siamese.errors import DataError, UserError
from siamese.evaluation.thresholds import doubts, tune
from siamese.model import calibration
from siamese.model.model import SiameseModel
from siamese.pairs.held import split_questions
from siamese.pairs.pairs import Pairs
from siamese.system.progress import Progress, TrainingBar
from siamese.text import tokenizer

# Pickles of version 0.1 import this module first, and then these two by their old names.
sys.modules.setdefault("siamese.calibration", calibration)
text._words = tokenizer.words  # type: ignore[attr-defined]

COLUMNS = ["question1", "question2"]
RECIPE = ("loss", "anchors", "labelled", "margin", "epochs", "batch_size", "learning_rate", "goal")


class InputError(DataError, ValueError):
    """Pairs, labels or parameters that cannot be used. Also a ValueError, as scikit-learn requires."""


class DuplicateClassifier(ClassifierMixin, BaseEstimator):
    """Classify pairs of questions as duplicates or not.

    `X` is a list of pairs, an array (n, 2), or a DataFrame with the columns question1 and question2, or with two
    others. `fit` remembers their names, by which it reads every later DataFrame. `y` has two values, such as 0 and 1,
    or False and True; the greater one means duplicates.

    `fit` trains a model on a part of the pairs, and chooses epoch, threshold and calibration on the rest. If `model` is
    given, `fit` keeps its weights and only chooses threshold and calibration, on all pairs. A few dozen are enough.
    With fewer than ten of a label, `fit` warns and keeps those of the model.

    `predict` labels a pair as duplicates if `decision_function` is above 0. With the default goal, "probability", the
    model gets a verdict: `decision_function` is the log-odds, and `predict_proba` crosses one half where it crosses 0.
    With other goals, with the course presets and with a model that has none, it is the similarity minus the threshold.
    Then `predict_proba` crosses one half elsewhere, unless the threshold was chosen for that.

    Args:
        model: a model folder or "pretrained", to calibrate instead of training. Of the others only `goal` applies.
        start_from: a model folder or "pretrained", with the first weights and the vocabulary.
        preset: the recipe. The parameters up to `goal` replace its settings; None keeps them.
        loss, anchors, labelled, margin, epochs, batch_size, learning_rate: as in `siamese.config.Config`.
        goal: of the threshold: "probability", "accuracy", "f1" or "precision=0.95".
        validation_fraction: share of the pairs of each label to keep for validation, between 0 and 1. No question is on
            both sides, and pairs across them are left out.
        random_state: seed of the first weights, the order of the pairs and the validation part; None: that of the
            recipe. The same seed gives the same model on a CPU with the same number of threads.
        verbose: show the progress of the training on stderr.

    Attributes:
        model_: the `SiameseModel` with its threshold and calibration; `model_.save` writes it.
        classes_: (2,) the labels; the last one means duplicates.
        n_features_in_: 2, the questions of a pair.
        feature_names_in_: (2,) the names of their columns, if `X` was a DataFrame.
    """

    def __init__(
        self, *, model: str | Path | None = None, start_from: str | Path | None = None, preset: str = Config.preset,
        loss: str | None = None, anchors: str | None = None, labelled: str | None = None, margin: float | None = None,
        epochs: int | None = None, batch_size: int | None = None, learning_rate: float | None = None,
        goal: str | None = None, validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
        self.start_from = start_from
        self.preset = preset
        self.loss = loss
        self.anchors = anchors
        self.labelled = labelled
        self.margin = margin
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.goal = goal
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Train a model, or calibrate the given one.

        Raises:
            ValueError: pairs, labels or parameters cannot be used.
        """
        names = _names(X, COLUMNS)
        question1, question2 = _questions_of_pairs(X, names)
        classes, labels = _labels(y, len(question1))
        pairs = Pairs.of(question1, question2, labels)
        try:
            self.model_ = self._trained(pairs) if self.model is None else self._calibrated(pairs)
        except UserError as error:
            raise InputError(str(error)) from error
        self.classes_, self.n_features_in_ = classes, 2
        _remember(self, names)
        return self

    def _calibrated(self, pairs: Pairs) -> SiameseModel:
        given = self._recipe().keys() - {"goal"}
        given |= {name for name in ("start_from", "preset") if getattr(self, name) != getattr(Config, name)}
        if given:
            raise UserError(f"{', '.join(sorted(given))}: no effect, because model={self.model!r} is only calibrated; "
                            "to train that model further, give it as start_from")  # fmt: skip
        model = SiameseModel.load(self.model)  # type: ignore[arg-type]
        similarity = model.similarity(pairs.question1, pairs.question2)
        if reason := tune(model, pairs, similarity, self.goal or Config.goal):
            warnings.warn(f"{reason}; the model keeps its own", stacklevel=3)
            return model
        found = doubts(pairs.labels, similarity, model.threshold)
        for doubt in found:
            warnings.warn(doubt, stacklevel=3)
        model.facts = {**model.facts, "warnings": found, "chosen_threshold": model.threshold}
        return model

    def _trained(self, pairs: Pairs) -> SiameseModel:
        from siamese.training.start import fit_to_labels
        from siamese.training.train import train_model

        start, changes = None, {**self._recipe(), **self._seed()}
        if self.start_from is not None:
            start, changes["start_from"] = SiameseModel.load(self.start_from), str(self.start_from)
        config = recipe(self.preset, changes, start.config if start else None)
        share = self.validation_fraction
        if not (isinstance(share, Real) and 0 < share < 1):
            raise UserError(f"validation_fraction: {share!r} is not a number between 0 and 1")
        training, validation, _ = split_questions(pairs, config.seed, float(share))
        with closing(TrainingBar()) if self.verbose else nullcontext(_Warnings()) as progress:
            config = fit_to_labels(config, training, progress.say)
            return train_model(config, training, validation, start_from=start, progress=progress)

    def _recipe(self) -> dict[str, Any]:
        """Return the settings that are not None. Numpy numbers, which a search may draw, become Python numbers."""
        given = {name: value for name in RECIPE if (value := getattr(self, name)) is not None}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}

    def _seed(self) -> dict[str, int]:
        if self.random_state is None:
            return {}
        if isinstance(self.random_state, Integral):
            return {"seed": int(self.random_state)}
        return {"seed": int(check_random_state(self.random_state).randint(2**31 - 1))}

    def similarity(self, X: Any) -> np.ndarray:
        """Return the cosine of each pair, (n,) float64."""
        check_is_fitted(self)
        return self.model_.similarity(*_questions_of_pairs(X, _names(X, COLUMNS, self)))

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        sides = _questions_of_pairs(X, _names(X, COLUMNS, self))
        return self.model_.rule().scores(*sides, self.model_.similarity(*sides))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the log-odds of each pair, or without a verdict its cosine minus the threshold, (n,) float64."""
        scores = self._scores(X)
        if self.model_.verdict is None:
            return scores - self.model_.threshold
        return self.model_.rule().log_odds(scores)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each pair, (n,) of `classes_`."""
        check_is_fitted(self)
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the two labels, (n, 2) float64, if they are as frequent as in `fit`."""
        check_is_fitted(self)
        duplicate = self.model_.rule().probability(self._scores(X))
        return np.stack((1 - duplicate, duplicate), axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.string = True
        return tags


class QuestionVectors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transform questions into vectors, for any other estimator.

    `X` is a list, an array (n,) or (n, 1), a Series, or a DataFrame with one column.

    Args:
        model: a model folder or "pretrained".

    Attributes:
        model_: the `SiameseModel`.
        feature_names_in_: (1,) the name of the column, if `X` was a DataFrame. Later ones are read by it.
    """

    def __init__(self, model: str | Path = PRETRAINED) -> None:
        self.model = model

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model, and remember the name of the column if `X` is a DataFrame; ignore `y`."""
        self.model_ = SiameseModel.load(self.model)
        _remember(self, _names(X, ["question"]))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return vectors of length 1, or 0 for a question without a known word, (n, d) float32."""
        check_is_fitted(self)
        return self.model_.encode(_questions(X, _names(X, ["question"], self)))

    @property
    def _n_features_out(self) -> int:
        return self.model_.dimensions

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class _Warnings(Progress):
    def say(self, message: str) -> None:
        warnings.warn(message.removeprefix("warning: "), stacklevel=2)


def _names(X: Any, usual: list[str], fitted: Any = None) -> list[Any] | None:
    """Return the columns of a DataFrame to read: those of `fit`, or the usual ones, or all if they are as many."""
    if not hasattr(X, "columns"):
        return None
    has = list(X.columns)
    known = getattr(fitted, "feature_names_in_", None)
    wanted = usual if known is None else list(known)
    if all(has.count(name) == 1 for name in wanted):
        return wanted
    if known is None and len(has) == len(set(has)) == len(wanted):
        return has
    why = "" if known is None else ", as in fit"
    raise InputError(f"X: a DataFrame with the columns {_shown(has)}; expected {' and '.join(map(str, wanted))}{why}")


def _remember(estimator: Any, names: list[Any] | None) -> None:
    """Set or delete `feature_names_in_`, as scikit-learn does; it has no names that are not text."""
    if names and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.array(names, object)
    else:
        vars(estimator).pop("feature_names_in_", None)


def _questions_of_pairs(X: Any, names: list[Any] | None) -> tuple[list[str], list[str]]:
    """Return the first and the second questions of n pairs, in these columns if X is a DataFrame."""
    rows = _rows(X, names)
    for i, row in enumerate(rows):
        if isinstance(row, str) or not hasattr(row, "__len__") or len(row) != 2:
            raise InputError(f"X, row {i}: {_shown(row)}; expected a pair of questions")
    first = _texts([row[0] for row in rows], "X, row {}, first question")
    return first, _texts([row[1] for row in rows], "X, row {}, second question")


def _questions(X: Any, names: list[Any] | None) -> list[str]:
    """Return n questions as a list, from this column if X is a DataFrame."""
    rows = _rows(X, names)
    is_column = names is not None or (isinstance(X, np.ndarray) and X.shape[1:] == (1,))
    return _texts([row[0] for row in rows] if is_column else rows, "X, row {}")


def _rows(X: Any, names: list[Any] | None) -> list[Any]:
    """Return the rows of X, or of these columns of a DataFrame, as a list."""
    if names is not None:
        X = np.asarray(X, dtype=object)[:, [list(X.columns).index(name) for name in names]]
    if isinstance(X, str | bytes | dict) or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) == 0:
        raise InputError(f"X: {_shown(X)}; expected a list, an array or a DataFrame")
    return list(X)


def _texts(values: list[Any], where: str) -> list[str]:
    """Return the values; raise an InputError for the first that is not text."""
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(f"{where.format(i)}: {_shown(value)} is not text")
    return values


def _labels(y: Any, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two classes, (2,), and for each pair 1 if it has the greater one, else 0, (n,) int8."""
    values = column_or_1d(y, warn=True)
    if values.dtype == object and all(isinstance(value, Real) for value in values):
        values = np.array(values.tolist())  # a column of an array of objects
    if values.dtype.kind not in "biuf":
        raise InputError(f"y: {_shown(values[:1].tolist())} is not a number; use 1 for duplicates and 0 for others")
    if len(values) != pairs:
        raise InputError(f"y: {len(values)} labels for {pairs} pairs")
    check_classification_targets(values)
    classes, labels = np.unique(values, return_inverse=True)
    if len(classes) > 2:
        raise InputError("y: Only binary classification is supported. The type of the target is multiclass.")
    if len(classes) < 2:
        raise InputError(f"y: labels of one class only, {_shown(classes.tolist())}; use two, such as 0 and 1")
    return classes, labels.astype(np.int8)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + " …"
