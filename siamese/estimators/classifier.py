"""The detector as a scikit-learn classifier."""

import inspect
import warnings
from collections.abc import Mapping
from contextlib import closing, nullcontext
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from siamese.config import CHOICES, Config, recipe
from siamese.errors import UserError
from siamese.estimators.inputs import (
    InputError,
    groups_of,
    labels_of,
    names_of,
    questions_of_pairs,
    remember,
    repeated,
    weights_of,
)
from siamese.evaluation.thresholds import doubts, tune
from siamese.model.model import SiameseModel
from siamese.pairs.held import parts_of_groups, parts_of_questions
from siamese.pairs.pairs import Pairs
from siamese.system.progress import Progress, TrainingBar

COLUMNS = ["question1", "question2"]
RECIPE = ("tower", "encoder", "embedding", "hidden", "loss", "anchors", "closest", "margin", "temperature", "labelled",
          "labelled_weight", "epochs", "batch_size", "learning_rate", "goal")  # fmt: skip


class DuplicateClassifier(ClassifierMixin, BaseEstimator):
    """Classify pairs of questions as duplicates or not.

    `X` is a list of pairs, an array (n, 2), or a DataFrame with the columns question1 and question2, or with two
    others. `fit` remembers their names, by which it reads every later DataFrame. `y` has two values, such as 0 and 1,
    False and True, or "no" and "yes". `duplicate_label` says which one means duplicates. By default it is the greater
    number, or the text that says so.

    `fit` trains a model on a part of the pairs, and chooses epoch, threshold and calibration on the rest. If `model` is
    given, `fit` keeps its weights and only chooses threshold and calibration, on all pairs. A few dozen are enough.
    With fewer than ten of a label, `fit` warns and keeps those of the model.

    `predict` labels a pair as duplicates if `decision_function` is above 0. With the default goal, "probability", the
    model gets a verdict: `decision_function` is the log-odds, and `predict_proba` crosses one half where it crosses 0.
    With other goals, with the course presets and with a model that has none, it is the similarity minus the threshold.
    Then `predict_proba` crosses one half elsewhere, unless the threshold was chosen for that.

    With `sample_weight` or `class_weight`, a pair counts as if it were there that often, in training and for threshold
    and probability: exactly, if all weights are whole numbers with a sum of at most ten times the pairs; otherwise the
    weights are scaled to a mean of 1, and chance decides between the whole numbers below and above, by the seed.

    Args:
        model: a model folder or "pretrained", to calibrate instead of training. Of the others only `goal` applies, and
            `tower` if the model's is a plug-in.
        start_from: a model folder or "pretrained", with the first weights and the vocabulary.
        preset: the recipe. The parameters up to `options` replace its settings; None keeps them.
        tower, encoder, embedding, hidden, loss, anchors, closest, margin, temperature, labelled, labelled_weight,
            epochs, batch_size, learning_rate: as in `siamese.config.Config`. Tower and losses can also be plug-ins:
            classes, instances, "module:Class" or names of entry points.
        goal: of the threshold: "probability", "accuracy", "f1" or "precision=0.95".
        options: further fields of `siamese.config.Config` by name, such as {"patience": 2}.
        class_weight: weight of the pairs of each label, {label: weight}, beside `sample_weight`; "balanced": both
            labels weigh the same.
        duplicate_label: the label of duplicates.
        validation_fraction: share of the pairs of each label to keep for validation, between 0 and 1. No question is on
            both sides, and pairs across them are left out.
        random_state: seed of the first weights, the order of the pairs and the validation part; None: that of the
            recipe. The same seed gives the same model on a CPU with the same number of threads.
        verbose: show the progress of the training on stderr.

    Attributes:
        model_: the `SiameseModel` with its threshold and calibration; `model_.save` writes it.
        classes_: (2,) the labels, sorted.
        duplicate_: the one that means duplicates.
        n_features_in_: 2, the questions of a pair.
        feature_names_in_: (2,) the names of their columns, if `X` was a DataFrame.
    """

    def __init__(
        self, *, model: str | Path | None = None, start_from: str | Path | None = None, preset: str = Config.preset,
        tower: Any = None, encoder: str | None = None, embedding: int | None = None, hidden: int | None = None,
        loss: Any = None, anchors: str | None = None, closest: str | None = None, margin: float | None = None,
        temperature: float | None = None, labelled: Any = None, labelled_weight: float | None = None,
        epochs: int | None = None, batch_size: int | None = None, learning_rate: float | None = None,
        goal: str | None = None, options: Mapping[str, Any] | None = None,
        class_weight: Mapping[Any, float] | str | None = None, duplicate_label: Any = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
        self.start_from = start_from
        self.preset = preset
        self.tower = tower
        self.encoder = encoder
        self.embedding = embedding
        self.hidden = hidden
        self.loss = loss
        self.anchors = anchors
        self.closest = closest
        self.margin = margin
        self.temperature = temperature
        self.labelled = labelled
        self.labelled_weight = labelled_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.goal = goal
        self.options = options
        self.class_weight = class_weight
        self.duplicate_label = duplicate_label
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle, also one of an older version, which lacks the newer parameters."""
        parameters = inspect.signature(DuplicateClassifier.__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        super().__setstate__({**defaults, **state})

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train a model, or calibrate the given one.

        Args:
            X, y: pairs and labels, as above.
            sample_weight: (n,) numbers of 0 or more; a pair of weight 0 is left out.
            groups: (n,) anything; the pairs of a group are not divided between training and validation.

        Raises:
            ValueError: pairs, labels, weights, groups or parameters cannot be used.
        """
        names = names_of(X, COLUMNS)
        question1, question2 = questions_of_pairs(X, names)
        classes, labels, duplicate = labels_of(y, len(question1), self.duplicate_label)
        weights = weights_of(
            sample_weight, self.class_weight, classes[labels if duplicate == classes[1] else 1 - labels]
        )
        group = groups_of(groups, len(question1))
        pairs = Pairs.of(question1, question2, labels)
        try:
            if self.model is None:
                self.model_ = self._trained(pairs, weights, group)
            else:
                self.model_ = self._calibrated(repeated(pairs, weights, self._seed().get("seed", 0)))
        except UserError as error:
            raise InputError(str(error)) from error
        self.classes_, self.duplicate_, self.n_features_in_ = classes, duplicate, 2
        remember(self, names)
        return self

    def _calibrated(self, pairs: Pairs) -> SiameseModel:
        tower = None if isinstance(self.tower, str) and self.tower in CHOICES["tower"] else self.tower
        given = self._recipe().keys() - ({"goal"} if tower is None else {"goal", "tower"})
        given |= {name for name in ("start_from", "preset") if getattr(self, name) != getattr(Config, name)}
        if given:
            raise UserError(f"{', '.join(sorted(given))}: no effect, because model={self.model!r} is only calibrated; "
                            "to train that model further, give it as start_from")  # fmt: skip
        model = SiameseModel.load(self.model, tower=tower)  # type: ignore[arg-type]
        similarity = model.similarity(pairs.question1, pairs.question2)
        if reason := tune(model, pairs, similarity, self.goal or Config.goal):
            warnings.warn(f"{reason}; the model keeps its own", stacklevel=3)
            return model
        found = doubts(pairs.labels, similarity, model.threshold)
        for doubt in found:
            warnings.warn(doubt, stacklevel=3)
        model.facts = {**model.facts, "warnings": found, "chosen_threshold": model.threshold}
        return model

    def _trained(self, pairs: Pairs, weights: np.ndarray | None, groups: np.ndarray | None) -> SiameseModel:
        from siamese.training.start import fit_to_labels
        from siamese.training.train import train_model

        start, changes = None, {**self._recipe(), **self._seed()}
        if self.start_from is not None:
            start, changes["start_from"] = SiameseModel.load(self.start_from), str(self.start_from)
        preset = None if self.preset == Config.preset else self.preset
        config = recipe(preset, changes, start.config if start else None)
        share = self.validation_fraction
        if not (isinstance(share, Real) and 0 < share < 1):
            raise UserError(f"validation_fraction: {share!r} is not a number between 0 and 1")
        if groups is None:
            parts = parts_of_questions(pairs, config.seed, float(share))
        else:
            parts = parts_of_groups(pairs, groups, config.seed, float(share))
        training, validation = (
            repeated(pairs.take(part), None if weights is None else weights[part], config.seed) for part in parts
        )
        with closing(TrainingBar()) if self.verbose else nullcontext(_Warnings()) as progress:
            config = fit_to_labels(config, training, progress.say)
            return train_model(config, training, validation, start_from=start, progress=progress)

    def _recipe(self) -> dict[str, Any]:
        """Return the settings that are not None. Numpy numbers, which a search may draw, become Python numbers."""
        given = {name: value for name in RECIPE if (value := getattr(self, name)) is not None}
        given |= self.options or {}
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
        return self.model_.similarity(*questions_of_pairs(X, names_of(X, COLUMNS, self)))

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        sides = questions_of_pairs(X, names_of(X, COLUMNS, self))
        return self.model_.rule().scores(*sides, self.model_.similarity(*sides))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the log-odds of each pair, or without a verdict its cosine minus the threshold, (n,) float64.

        As scikit-learn has it, they are those of the label `classes_[1]`: below 0 for duplicates if these have the
        other label.
        """
        decision = self._decision(X)
        return -decision if self._turned else decision

    def _decision(self, X: Any) -> np.ndarray:
        """Return a number for each pair that is above 0 for duplicates."""
        scores = self._scores(X)
        if self.model_.verdict is None:
            return scores - self.model_.threshold
        return self.model_.rule().log_odds(scores)

    @property
    def _turned(self) -> bool:
        """Whether the first class means duplicates; not in pickles of older versions."""
        return bool(getattr(self, "duplicate_", self.classes_[1]) == self.classes_[0])

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each pair, (n,) of `classes_`."""
        check_is_fitted(self)
        duplicate = self._decision(X) > 0
        return self.classes_[(duplicate != self._turned).astype(int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of `classes_`, (n, 2) float64, if they are as frequent as in `fit`."""
        check_is_fitted(self)
        duplicate = self.model_.rule().probability(self._scores(X))
        both = (duplicate, 1 - duplicate) if self._turned else (1 - duplicate, duplicate)
        return np.stack(both, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.string = True
        return tags


class _Warnings(Progress):
    def say(self, message: str) -> None:
        warnings.warn(message.removeprefix("warning: "), stacklevel=2)
