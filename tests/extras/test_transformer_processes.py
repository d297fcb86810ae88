"""Several processes train a transformer as one does, its gradients cached or not. Needs sentence-transformers."""

from pathlib import Path

import numpy as np
import pytest
from commands import python
from encoders import make_encoder
from libraries import needs

needs("sentence_transformers")

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
def test_several_processes_equal_one(tmp_path: Path) -> None:
    """After 20 steps in float64: losses, gradients, weights; a process without a pair of the last batch included."""
    encoder = make_encoder(tmp_path / "encoder", "bert")
    done = python("tests/helpers/twenty_steps.py", encoder, tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    found = {(n, rank): np.load(tmp_path / f"{n}-{rank}.npz") for n in (1, 2, 3) for rank in range(n)}
    alone = found[1, 0]
    names = [name for name in alone if ": " in name]
    assert len(names) > 60
    for name in names:
        for process in found.values():
            np.testing.assert_allclose(process[name], alone[name], rtol=0, atol=1e-9, err_msg=name)
    for name in names:  # and in parts is as at once
        if name.startswith("in parts"):
            other = alone[name.replace("in parts", "at once")]
            np.testing.assert_allclose(alone[name], other, rtol=0, atol=1e-9, err_msg=name)
    assert max(np.abs(alone[name]).max() for name in names if "gradient model" in name) > 0.01
