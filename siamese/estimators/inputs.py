"""Pairs, questions, labels and weights as scikit-learn's users give them, checked."""

import re
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from siamese.errors import DataError
from siamese.pairs.cells import label_of
from siamese.pairs.pairs import Pairs


class InputError(DataError, ValueError):
    """Pairs, labels or parameters that cannot be used. Also a ValueError, as scikit-learn requires."""


def names_of(X: Any, usual: list[str], fitted: Any = None) -> list[Any] | None:
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
    raise InputError(f"X: a DataFrame with the columns {shown(has)}; expected {' and '.join(map(str, wanted))}{why}")


def remember(estimator: Any, names: list[Any] | None) -> None:
    """Set or delete `feature_names_in_`, as scikit-learn does; it has no names that are not text."""
    if names and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.array(names, object)
    else:
        vars(estimator).pop("feature_names_in_", None)


def questions_of_pairs(X: Any, names: list[Any] | None) -> tuple[list[str], list[str]]:
    """Return the first and the second questions of n pairs, in these columns if X is a DataFrame."""
    rows = _rows(X, names)
    for i, row in enumerate(rows):
        if isinstance(row, str) or not hasattr(row, "__len__") or len(row) != 2:
            raise InputError(f"X, row {i}: {shown(row)}; expected a pair of questions")
    first = _texts([row[0] for row in rows], "X, row {}, first question")
    return first, _texts([row[1] for row in rows], "X, row {}, second question")


def questions_of(X: Any, names: list[Any] | None) -> list[str]:
    """Return n questions as a list, from this column if X is a DataFrame."""
    rows = _rows(X, names)
    is_column = names is not None or (isinstance(X, np.ndarray) and X.shape[1:] == (1,))
    return _texts([row[0] for row in rows] if is_column else rows, "X, row {}")


def _rows(X: Any, names: list[Any] | None) -> list[Any]:
    """Return the rows of X, or of these columns of a DataFrame, as a list."""
    if names is not None:
        X = np.asarray(X, dtype=object)[:, [list(X.columns).index(name) for name in names]]
    if isinstance(X, str | bytes | dict) or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) == 0:
        raise InputError(f"X: {shown(X)}; expected a list, an array or a DataFrame")
    return list(X)


def _texts(values: list[Any], where: str) -> list[str]:
    """Return the values; raise an InputError for the first that is not text."""
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(f"{where.format(i)}: {shown(value)} is not text")
    return values


def labels_of(y: Any, pairs: int, duplicate: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return the two classes, sorted, (2,), for each pair 1 if it is a duplicate, else 0, (n,) int8, and its class.

    Args:
        y: the labels.
        pairs: n.
        duplicate: the label of duplicates; None: the greater number, or the text that says so.
    """
    values = column_or_1d(y, warn=True)
    if values.dtype == object and all(isinstance(value, Real) for value in values):
        values = np.array(values.tolist())  # a column of an array of objects
    if values.dtype == object and all(isinstance(value, str) for value in values):
        values = values.astype(str)
    if values.dtype.kind not in "biufUT":
        raise InputError(
            f"y: {shown(values[:1].tolist())} is no number and no text; use 1 for duplicates, 0 for others"
        )
    if len(values) != pairs:
        raise InputError(f"y: {len(values)} labels for {pairs} pairs")
    check_classification_targets(values)
    classes, labels = np.unique(values, return_inverse=True)
    if len(classes) > 2:
        raise InputError("y: Only binary classification is supported. The type of the target is multiclass.")
    if len(classes) < 2:
        raise InputError(f"y: labels of one class only, {shown(classes.tolist())}; use two, such as 0 and 1")
    place = _place(classes, duplicate)
    return classes, (labels == place).astype(np.int8), classes[place]


def _place(classes: np.ndarray, duplicate: Any) -> int:
    """Return which of the two classes means duplicates, 0 or 1."""
    if duplicate is not None:
        found = [place for place in (0, 1) if classes[place] == duplicate]
        if not found:
            raise InputError(f"duplicate_label: {shown(duplicate)} is not one of the labels, {shown(classes.tolist())}")
        return found[0]
    if classes.dtype.kind in "biuf":
        return 1
    meant = [_meaning(str(label)) for label in classes]
    if sorted(meant, key=str) != [0, 1]:
        raise InputError(f"y: which of {shown(classes.tolist())} means duplicates? Give it as duplicate_label")
    return meant.index(1)


def _meaning(label: str) -> int | None:
    """Return 1 for a text that means duplicates, 0 for one that means others, or None."""
    if matched := re.fullmatch("(not|non|no)?[ _-]?duplicates?", label.strip().lower()):
        return 0 if matched[1] else 1
    return label_of(label)


def weights_of(sample_weight: Any, class_weight: Any, y: np.ndarray) -> np.ndarray | None:
    """Return the weight of each pair, (n,) float64, by both kinds of weights; None if there are none.

    Args:
        sample_weight: (n,) numbers, or None.
        class_weight: as scikit-learn has it.
        y: (n,) the labels as given.
    """
    if sample_weight is None and class_weight is None:
        return None
    try:
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample_weight: {error}; expected a number for each pair") from error
    if weights.shape != y.shape:
        raise InputError(f"sample_weight: the shape is {weights.shape}; expected {y.shape}, a number for each pair")
    if class_weight is not None:
        try:
            weights = weights * compute_sample_weight(class_weight, y)
        except ValueError as error:
            raise InputError(f"class_weight: {error}") from error
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError("sample_weight: weights must be finite numbers of 0 or more")
    if not weights.any():
        raise InputError("sample_weight: every weight is zero, so that no pair is left")
    return weights


def groups_of(groups: Any, pairs: int) -> np.ndarray | None:
    """Return the number of the group of each pair, (n,) int64, or None without groups."""
    if groups is None:
        return None
    values = column_or_1d(groups)
    if len(values) != pairs:
        raise InputError(f"groups: {len(values)} for {pairs} pairs")
    return np.unique(values, return_inverse=True)[1]


MOST_COPIES = 10  # times the pairs: whole weights of a greater sum are scaled, so that memory stays bounded


def repeated(pairs: Pairs, weights: np.ndarray | None, seed: int) -> Pairs:
    """Return pairs as often as their weights say.

    Whole weights are exact. Others are scaled to a mean of 1, and a pair is there floor(w) or ceil(w) times: so often
    that the sums of weights up to it pass a whole number plus one chance number. Equal weights keep each pair once.

    Args:
        pairs: n pairs.
        weights: (n,) of 0 or more; None: all are 1.
        seed: of the chance number.
    """
    if weights is None or not len(pairs) or not weights.any():
        return pairs
    if (weights == np.floor(weights)).all() and weights.sum() <= MOST_COPIES * len(pairs):
        return pairs.take(np.repeat(np.arange(len(pairs)), weights.astype(np.int64)))
    ends = np.concatenate(([0.0], np.cumsum(weights * (len(pairs) / weights.sum()))))
    copies = np.diff(np.floor(ends + np.random.default_rng(seed).random()))
    return pairs.take(np.repeat(np.arange(len(pairs)), copies.astype(np.int64)))


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + " …"
