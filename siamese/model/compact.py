"""Store weights in a quarter of their size: the embedding as int8 with one scale per row, the rest as float16.

With s = max|w| / 127 over a row, rounded down to a float16, a weight w of that row is stored as the integer q = w / s,
between -127 and 127, and read as q · s. Because s is rounded down, the largest weight of a row always has |q| = 127.
Then q · s leads to the same s and q, so that rounding again changes nothing.
"""

from collections.abc import Mapping

import numpy as np

from siamese.errors import ModelError
from siamese.model.folder import Layout

TABLE, SCALE = "embedding.weight", "embedding.scale"
LARGEST = 127


def pack(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors to store.

    Args:
        weights: of the tower, by torch's names; "embedding.weight" is (V, E), the others of any shape.

    Returns:
        "embedding.weight" (V, E) int8, "embedding.scale" (V,) float16, the others float16. A row of zeros has scale 0.

    Raises:
        ModelError: a weight is not finite, or too large for a float16.
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
    """Return the layout that `pack` gives weights of these shapes."""
    layout = {name: ("F16", shape) for name, shape in shapes.items()}
    return layout | {TABLE: ("I8", shapes[TABLE]), SCALE: ("F16", shapes[TABLE][:1])}


def unpack(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the float32 weights of tensors in the layout that `pack` gives them."""
    weights = {name: tensor.astype(np.float32) for name, tensor in stored.items() if name not in (TABLE, SCALE)}
    weights[TABLE] = stored[TABLE] * stored[SCALE].astype(np.float32)[:, None]
    return weights


def rounded(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights as they will be loaded. Rounding twice is the same as rounding once."""
    return unpack(pack(weights))


def _float16(numbers: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        short = np.asarray(numbers).astype(np.float16)
    if not np.isfinite(short).all():
        raise ModelError(f"{name}: weights that are not finite, or too large for a compact model's float16")
    return short
