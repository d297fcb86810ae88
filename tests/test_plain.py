"""The fast loss and tower compute what the plain ones do, and `plain` trains the same model."""

from typing import Any

import numpy as np
import pytest
import torch
from test_losses import VARIANTS, conformance, matrix, unit_vectors
from test_tower import gradients, questions, small_tower
from vectors import gradient

from siamese.config import Config
from siamese.errors import UserError
from siamese.losses import TripletLossFn
from siamese.losses.plain import negatives, triplet_loss
from siamese.losses.registry import LOSSES
from siamese.pairs.splits import Datasets
from siamese.towers.lstm_tower import Tower
from siamese.towers.plain import PlainTower
from siamese.training.step import tensors
from siamese.training.train import train_model


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(variant.values()))
def test_the_fast_loss_is_the_plain_one(variant: dict[str, Any]) -> None:
    generator = np.random.default_rng(1)
    for size, margin in ((2, 0.0), (5, 0.25), (16, 2.0)):
        clusters = torch.from_numpy(generator.integers(0, size, size))
        clustered = clusters[:, None] == clusters  # a batch of three of the same question leaves no negatives
        for same in (None, clustered, torch.ones(size, size, dtype=torch.bool)):
            results = []
            for loss in (triplet_loss, TripletLossFn):
                v1, v2 = (v.requires_grad_() for v in unit_vectors(np.random.default_rng(size), size, torch.float64))
                value = loss(v1, v2, margin, same=same, **variant)
                value.backward()
                results.append((value, gradient(v1), gradient(v2)))
            for plain, fast in zip(*results):
                torch.testing.assert_close(plain, fast, rtol=0, atol=1e-12)


def test_the_plain_loss_prints_what_the_course_printed() -> None:
    for case in conformance():
        if "v1" in case:
            for name, value in case["published"].items():
                *which, side, reduction = name.split()
                for closest in which or ("hardest", "semi-hard"):
                    found = triplet_loss(matrix(case["v1"]), matrix(case["v2"]), float(case["margin"]), side, closest,
                                         reduction=reduction)  # fmt: skip
                    assert found.item() == pytest.approx(float(value), abs=1e-7)


def test_an_anchor_without_negatives() -> None:
    S = torch.tensor([[0.5, 0.1], [0.2, 0.5]])
    same = torch.tensor([[False, True], [False, False]])
    assert negatives(S, same=same)[:, 0].tolist() == [-torch.inf, -torch.inf]
    assert negatives(S, same=same)[:, 1].tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("skip", [False, True])
def test_the_fast_tower_is_the_plain_one(skip: bool) -> None:
    fast = small_tower(skip, first_word=0)
    plain = PlainTower(len(fast.embedding.weight), 5, 5, skip=skip).double()
    plain.load_state_dict(fast.state_dict())  # the same names
    ids, lengths = tensors(questions(70), torch.device("cpu"))
    found, expected = fast(ids, lengths), plain(ids, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    ours, theirs = gradients(fast, found), gradients(plain, expected)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9)


def test_switched_to_plain_the_tower_knows_no_more_words() -> None:
    fast = small_tower()
    plain = Tower(len(fast.embedding.weight), 5, 5, plain=True).double()
    plain.load_state_dict(fast.state_dict())
    for tokens in (questions(9), questions(0), questions(3, longest=0)):
        batch = tensors(tokens, torch.device("cpu"))
        torch.testing.assert_close(plain(*batch), fast(*batch), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_plain_trains_the_same_model(parts: Datasets) -> None:
    recipe = Config(embedding=8, hidden=8, epochs=1, batch_size=16, min_count=1, buckets=0, learning_rate=0.01)
    one, other = (
        train_model(recipe.replace(plain=plain), parts.training, parts.validation).facts["history"][0]
        for plain in (False, True)
    )
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert one["average_precision"] == pytest.approx(other["average_precision"], abs=1e-3)
    assert type(LOSSES["triplet"].make(recipe.replace(plain=True))).__name__ == "PlainTripletLoss"


def test_plain_has_one_precision() -> None:
    with pytest.raises(UserError, match="--plain: computes in float32; leave --precision bfloat16 out"):
        Config(plain=True, precision="bfloat16")
