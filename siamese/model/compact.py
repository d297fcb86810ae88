"""Weights in a quarter of their size: the embedding as int8 with a scale a row, everything else as float16.

With s = max|w| / 127 of a row, rounded down to a float16, a number w of that row becomes the whole number
q = w / s, at most 127 and at least -127, and is read as q · s. Rounded down, so that the row's largest number always
has |q| = 127: then q · s has the same s and the same q, and rounding again changes nothing.
"""

from collections.abc import Mapping

import numpy as np

from siamese.errors import ModelError
from siamese.model.folder import Layout

TABLE, SCALE = "embedding.weight", "embedding.scale"
LARGEST = 127


def pack(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the file holds.

    Args:
        weights: of the tower, by torch's names; all but "embedding.weight" (V, E) of any shape.

    Returns:
        "embedding.weight" (V, E) int8, "embedding.scale" (V,) float16, the others float16; a row of zeros has scale 0.

    Raises:
        ModelError: a weight is not finite, or larger than a float16.
    """
    stored = {name: _float16(weight, name) for name, weight in weights.items() if name != TABLE}
    table = np.asarray(weights[TABLE], np.float32)
    exact = np.abs(table).max(axis=1) / np.float32(LARGEST)
    scale = _float16(exact, TABLE)
    scale = np.where(scale > exact, np.nextafter(scale, np.float16(0)), scale)
    divisor = np.where(scale > 0, scale, np.inf).astype(np.float32)[:, None]
    stored[TABLE] = np.clip(np.rint(table / divisor), -LARGEST, LARGEST).astype(np.int8)
    stored[SCALE] = scale
    return stored


def packed_layout(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    """Return the types and shapes of what `pack` makes of weights of these shapes."""
    layout = {name: ("F16", shape) for name, shape in shapes.items()}
    return layout | {TABLE: ("I8", shapes[TABLE]), SCALE: ("F16", shapes[TABLE][:1])}


def unpack(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The float32 weights that `pack` has stored.

    Raises:
        ModelError: a tensor is missing, of another type, or holds a number that `pack` would not have written.
    """
    expected = dict.fromkeys(stored, "float16") | {TABLE: "int8", SCALE: "float16"}
    found = {name: str(tensor.dtype) for name, tensor in stored.items()}
    if found != expected:
        raise ModelError(f"compact weights {found}, expected {expected}")
    table, scale = stored[TABLE], stored[SCALE]
    if table.ndim != 2 or scale.shape != table.shape[:1]:
        raise ModelError(f"compact weights: {SCALE} {scale.shape} beside {TABLE} {table.shape}, expected one a row")
    for name, tensor in stored.items():
        if name != TABLE and not np.isfinite(tensor).all():
            raise ModelError(f"compact weights: {name} holds a number that is not finite")
    weights = {name: tensor.astype(np.float32) for name, tensor in stored.items() if name not in (TABLE, SCALE)}
    weights[TABLE] = table * scale.astype(np.float32)[:, None]
    return weights


def rounded(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as they will be loaded; rounded once, they stay what they are."""
    return unpack(pack(weights))


def _float16(numbers: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        short = np.asarray(numbers).astype(np.float16)
    if not np.isfinite(short).all():
        raise ModelError(f"{name}: weights that are not finite, or too large for a compact model's float16")
    return short
