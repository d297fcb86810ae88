"""Fit the weights of a verdict to answers, near those that it has. Needs scipy."""

import numpy as np

from siamese.model.verdict import HEAVIEST

WIDTH = 0.15  # standard deviation of a weight around the one it has, in units of the cosine, before any answer
SLOPE, SPREAD = 12.0, 0.8  # of the log-odds: median, and standard deviation of its logarithm, before any answer


def refit(cosine: np.ndarray, features: np.ndarray, duplicate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weights that are most likely after m answers, (f,), each 0 to HEAVIEST.

    The log-odds are slope · (cosine − features · weights) + intercept, with a normal prior around the present weights.

    Args:
        cosine: (m,) of the pairs with an answer.
        features: (m, f) what differs between their questions.
        duplicate: (m,) 0 or 1.
        weights: (f,) the present ones, or zeros.
    """
    from scipy.optimize import minimize

    sign = np.where(duplicate == 1, 1.0, -1.0)
    count = features.shape[1]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        moved, slope = (x[:count] - weights) / WIDTH, np.exp(x[count])
        rise = (x[count] - np.log(SLOPE)) / SPREAD
        score = cosine - features @ x[:count]
        margin = sign * (slope * score + x[count + 1])
        total = np.logaddexp(0.0, -margin).sum() + 0.5 * (moved @ moved + rise**2)
        pull = -sign * np.exp(-np.logaddexp(0.0, margin))  # of the loss in each log-odds
        own = moved / WIDTH - slope * (pull @ features)
        return float(total), np.concatenate((own, [slope * (pull @ score) + rise / SPREAD, pull.sum()]))

    start = np.concatenate((weights, [np.log(SLOPE), -SLOPE * float(np.median(cosine))]))
    bounds = [(0.0, HEAVIEST)] * count + [(np.log(0.1), np.log(1e3)), (None, None)]
    found: np.ndarray = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x[:count]
    return np.round(found, 6)  # as a model folder keeps them
