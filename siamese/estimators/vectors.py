"""Question vectors as a scikit-learn transformer."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from siamese.config import PRETRAINED
from siamese.estimators.inputs import names_of, questions_of, remember
from siamese.model.model import SiameseModel


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
        remember(self, names_of(X, ["question"]))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return vectors of length 1, or 0 for a question without a known word, (n, d) float32."""
        check_is_fitted(self)
        return self.model_.encode(questions_of(X, names_of(X, ["question"], self)))

    @property
    def _n_features_out(self) -> int:
        return self.model_.dimensions

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
