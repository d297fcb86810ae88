"""Attacks on a process that has run torch: it forks, and its children go on."""

import multiprocessing

import pytest
from commands import python

CODE = """
import multiprocessing
import numpy as np, torch
from siamese import SiameseModel

def encode(questions):
    return model.encode(questions)

torch.set_num_threads(2)
model = SiameseModel.pretrained()
questions = [f"How do I cook {i} eggs?" for i in range(6_000)]
expected = model.encode(questions)
with multiprocessing.get_context("fork").Pool(2) as pool:
    halves = pool.map(encode, [questions[:3_000], questions[3_000:]])
print(np.abs(np.concatenate(halves) - expected).max())
"""


@pytest.mark.ci
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_children_encode_after_their_parent_has() -> None:
    done = python("-c", CODE, timeout=60, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-6
