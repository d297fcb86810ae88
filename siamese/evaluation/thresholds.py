"""The choice of a threshold."""

import numpy as np

from siamese.config import wanted_precision
from siamese.errors import UserError
from siamese.evaluation.metrics import ranked
from siamese.model.calibration import calibrate


def choose_threshold(labels: np.ndarray, scores: np.ndarray, goal: str = "accuracy") -> float:
    """The threshold, 0 to 1, above which a score says duplicate.

    The candidates are 0, the midpoints between neighbouring distinct scores, and
    1, which calls nothing a duplicate; equal scores always fall on one side.
    Among equally good ones the highest wins.

    Args:
        labels: (n,) 0 or 1, of validation pairs, never of those to be scored.
        scores: (n,) at most 1.
        goal: "probability": where that of being a duplicate crosses ½ (for
            accuracy where a higher score makes it less likely); "accuracy"; "f1";
            or "precision=P": the most recall with at least that precision.

    Raises:
        UserError: an unknown goal, or a precision that no threshold reaches.
    """
    wanted = wanted_precision(goal)
    if goal == "probability":
        crossing = calibrate(labels, scores).threshold()
        return choose_threshold(labels, scores) if crossing is None else crossing
    values, tp, fp = ranked(labels, np.clip(scores, 0, 1))
    values, tp, fp = np.append(1, values), np.append(0, tp), np.append(0, fp)
    # After step k everything at values[k] or above is called a duplicate, so the
    # threshold lies below values[k] and not below values[k + 1].
    thresholds = np.append((values[:-1] + values[1:]) / 2, 0.0)
    # Between neighbouring floats the midpoint rounds to one of them; it must not be the upper one.
    thresholds[:-1] = np.where(thresholds[:-1] < values[:-1], thresholds[:-1], values[1:])
    thresholds[0] = 1.0
    # "score > threshold" can never be true of 0, nor false of a 1 but by calling nothing a duplicate
    possible = np.append(True, values[1:] > thresholds[1:])
    positives, negatives = tp[-1], fp[-1]
    if goal == "accuracy":
        value = (tp + negatives - fp) / len(labels)
    elif goal == "f1":
        value = 2 * tp / np.maximum(tp + fp + positives, 1)
    else:
        reached = (tp / np.maximum(tp + fp, 1) >= wanted) & (tp > 0) & possible
        if not reached.any():
            best = np.max((tp / np.maximum(tp + fp, 1))[possible])
            raise UserError(f"no threshold reaches a precision of {wanted}; the highest is {best:.3f}")
        value = np.where(reached, tp / max(positives, 1), -1)
    return float(thresholds[np.argmax(np.where(possible, value, -1))])
