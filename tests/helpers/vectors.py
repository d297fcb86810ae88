"""Vectors for the tests of losses."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

SIDES = ["rows", "columns", "both"]
every_dtype = pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=lambda dtype: str(dtype)[6:]
)


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def unit_vectors(seed: int, size: int, number: int = 2, length: int = 4) -> list[Tensor]:
    """Draw vectors of duplicates, alike but not equal, in float64. If `number` is 3, the third holds negatives."""
    generator = np.random.default_rng(seed)
    v1 = generator.normal(size=(size, length))
    others = [v1 + 0.7 * generator.normal(size=(size, length)) for _ in range(number - 1)]
    return [normalize(torch.from_numpy(v)) for v in (v1, *others)]


def some_same(seed: int, size: int) -> Tensor:
    """Draw known duplicates, mostly off the diagonal and not symmetric: (size, size), bool."""
    return torch.from_numpy(np.random.default_rng(seed).random((size, size)) < 0.3)
