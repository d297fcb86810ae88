"""The fast loss and tower compute what the plain ones do, and `plain` trains the same model."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from conformance_numbers import conformance
from torch import Tensor, nn
from vectors import gradient, unit_vectors

from siamese.config import Config
from siamese.errors import UserError
from siamese.losses import TripletLossFn
from siamese.losses.plain import negatives, triplet_loss
from siamese.losses.registry import CHOICES, LOSSES
from siamese.pairs.splits import Datasets
from siamese.towers.lstm_tower import Tower
from siamese.towers.plain import PlainTower
from siamese.training.train import train_model

VOCABULARY = 50
ANYTHING = {"anchors": CHOICES["anchors"], "closest": CHOICES["closest"], "combine": CHOICES["combine"]}


@pytest.mark.parametrize("values", [*itertools.product(*ANYTHING.values())], ids="-".join)
def test_the_fast_loss_is_the_plain_one(values: tuple[str, ...]) -> None:
    for (size, margin), reduction in itertools.product(((2, 0.0), (5, 0.25), (16, 2.0)), CHOICES["reduction"]):
        clusters = torch.arange(size) // 3
        clustered = clusters[:, None] == clusters  # without a negative, if the batch is small
        for same in (None, clustered, torch.ones(size, size, dtype=torch.bool)):
            results = []
            for loss in (triplet_loss, TripletLossFn):
                v1, v2 = (v.double().requires_grad_() for v in unit_vectors(size, size))
                value = loss(v1, v2, margin, **dict(zip(ANYTHING, values)), reduction=reduction, same=same)
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
                    found = triplet_loss(*(matrix(case[v]) for v in ("v1", "v2")), float(case["margin"]), side, closest,
                                         reduction=reduction)  # fmt: skip
                    assert found.item() == pytest.approx(float(value), abs=1e-7)


def matrix(rows: list[Any]) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float64))


def test_an_anchor_without_negatives() -> None:
    S = torch.tensor([[0.5, 0.1], [0.2, 0.5]])
    same = torch.tensor([[False, True], [False, False]])
    assert negatives(S, same=same)[:, 0].tolist() == [-torch.inf, -torch.inf]
    assert negatives(S, same=same)[:, 1].tolist() == pytest.approx([0.2, 0.2])


def towers(**options: Any) -> tuple[Tower, PlainTower]:
    """Return the fast tower and the plain one with the same weights, in float64."""
    torch.manual_seed(1)
    fast = Tower(VOCABULARY, 5, 5, first_word=0, **options).double()
    plain = PlainTower(VOCABULARY, 5, 5, **options).double()
    for weight in fast.parameters():
        nn.init.normal_(weight)
    plain.load_state_dict(fast.state_dict())  # the same names
    return fast, plain


def questions(number: int, longest: int = 12) -> tuple[Tensor, Tensor]:
    """Draw the ids and the lengths of questions, some of which are empty."""
    lengths = torch.randint(0, longest + 1, (number,))
    return torch.randint(0, VOCABULARY, (int(lengths.sum()),)), lengths


def gradients(tower: nn.Module, vectors: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a sum that weights every element of the vectors differently."""
    (vectors * torch.linspace(-1, 1, vectors.numel(), dtype=vectors.dtype).reshape(vectors.shape)).sum().backward()
    return {name: gradient(weight) for name, weight in tower.named_parameters()}


@pytest.mark.parametrize("skip", [False, True])
def test_the_fast_tower_is_the_plain_one(skip: bool) -> None:
    fast, plain = towers(skip=skip)
    ids, lengths = questions(200)
    found, expected = fast(ids, lengths), plain(ids, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    ours, theirs = gradients(fast, found), gradients(plain, expected)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9)


def test_switched_to_plain_the_tower_knows_no_more_words() -> None:
    torch.manual_seed(1)
    fast, plain = (Tower(VOCABULARY, 5, 5, plain=switch).double() for switch in (False, True))
    plain.load_state_dict(fast.state_dict())
    for ids, lengths in (
        questions(9),
        questions(0),
        questions(3, longest=0),
        (torch.tensor([1, 0, 2]), torch.tensor([2, 1])),
    ):
        torch.testing.assert_close(plain(ids, lengths), fast(ids, lengths), rtol=0, atol=1e-12)


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
