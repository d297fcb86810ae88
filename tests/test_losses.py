"""The triplet loss: published numbers, numbers by hand, plain loops, numerical gradients, and properties."""

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from conformance_numbers import conformance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from vectors import gradient

from siamese.losses import TripletLoss, TripletLossFn

VARIANTS: list[dict[str, Any]] = [
    {"anchors": anchors, "closest": closest, "combine": combine, "reduction": reduction}
    for anchors, closest, combine, reduction in itertools.product(
        ("rows", "columns", "both"), ("hardest", "semi-hard"), ("summed", "pooled"), ("mean", "sum")
    )
]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(variant.values()))


def loss_of(case: dict[str, Any], closest: str, side: str, reduction: str) -> float:
    """Return the loss of a case for "rows", "columns", "both_summed" or "both_pooled"."""
    if "similarity" in case:  # a matrix S enters as v1 = S and v2 = I
        v1 = matrix(case["similarity"])
        v2 = torch.eye(len(v1), dtype=torch.float64)
    else:
        v1, v2 = matrix(case["v1"]), matrix(case["v2"])
    anchors, _, combine = side.partition("_")
    loss = TripletLossFn(v1, v2, float(case["margin"]), anchors, closest, combine or "summed", reduction)
    return loss.item()


def matrix(rows: list[list[Decimal]]) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float64))


def test_all_conformance_values() -> None:
    checked = 0
    for case in conformance():
        for closest, sides in case["values"].items():
            for side, reductions in sides.items():
                for reduction, value in reductions.items():
                    found = loss_of(case, closest, side, reduction)
                    assert found == pytest.approx(float(value), rel=0, abs=1e-9), (case["name"], closest, side)
                    checked += 1
    assert checked == 64


def test_values_that_the_course_printed() -> None:
    for case in conformance():
        for name, value in case["published"].items():
            *which, side, reduction = name.split()  # "rows sum" holds for both closest negatives
            one_in_the_last_digit = 10.0 ** value.as_tuple().exponent
            for closest in which or ("hardest", "semi-hard"):
                found = loss_of(case, closest, side, reduction)
                assert found == pytest.approx(float(value), rel=0, abs=max(one_in_the_last_digit, 1e-12)), name


def test_two_pairs_by_hand() -> None:
    #     S = | 0.5  0.375 |    margin 0.25; with two pairs the mean negative is the closest one
    #         | 0    0.25  |
    # rows     0: 2·(0.375 - 0.5 + 0.25) = 0.25     1: 2·max(0     - 0.25 + 0.25, 0) = 0
    # columns  0: 2·max(0 - 0.5 + 0.25, 0) = 0      1: 2·   (0.375 - 0.25 + 0.25)    = 0.75
    # pooled   0: both means (0.375 + 0) / 2 = 0.1875, below 0.5 - 0.25, so 0     1: 2·(0.1875 - 0.25 + 0.25) = 0.375
    # Semi-hard: only column 1 has a negative above its diagonal, which counts as 0.375 - 2, so that its second term
    # is gone and 0.375 remains; pooled, the average of 0 and -1.625 is far below, and 0.1875 of the mean remains.
    v1, v2 = torch.tensor([[0.5, 0.375], [0.0, 0.25]]), torch.eye(2)
    expected = {
        ("rows", "summed", "hardest"): 0.25,
        ("columns", "summed", "hardest"): 0.75,
        ("both", "summed", "hardest"): 1.0,
        ("both", "pooled", "hardest"): 0.375,
        ("rows", "summed", "semi-hard"): 0.25,
        ("columns", "summed", "semi-hard"): 0.375,
        ("both", "summed", "semi-hard"): 0.625,
        ("both", "pooled", "semi-hard"): 0.1875,
    }
    for (anchors, combine, closest), total in expected.items():
        number = 4 if (anchors, combine) == ("both", "summed") else 2
        for reduction, value in (("sum", total), ("mean", total / number)):
            assert TripletLossFn(v1, v2, 0.25, anchors, closest, combine, reduction).item() == value


def plain_loops(
    scores: list[list[float]],
    margin: float,
    *,
    anchors: str,
    closest: str,
    combine: str,
    reduction: str,
    same: list[list[bool]],
) -> float:
    """Return the loss of a matrix of similarities, one anchor and one cell at a time."""
    size = len(scores)

    def negatives(i: int, side: str) -> list[float]:
        found = []
        for j in range(size):
            row, column = (i, j) if side == "rows" else (j, i)
            if j != i and not same[row][column]:
                found.append(scores[row][column])
        return found

    def nearest(values: list[float], d: float) -> float:
        if not values:
            return -math.inf
        if closest == "hardest":
            return max(values)
        return max([-2.0] + [value - 2 if value > d else value for value in values])  # -2 is the diagonal's place

    def two_hinges(values: list[float], near: float, d: float) -> float:
        if not values:
            return 0.0
        return max(sum(values) / len(values) - d + margin, 0.0) + max(near - d + margin, 0.0)

    losses = []
    for i in range(size):
        d = scores[i][i]
        rows, columns = negatives(i, "rows"), negatives(i, "columns")
        if anchors == "both" and combine == "pooled":
            # If one side has no negative, there are no two closest negatives to average.
            losses.append(two_hinges(rows + columns, (nearest(rows, d) + nearest(columns, d)) / 2, d))
            continue
        if anchors in ("rows", "both"):
            losses.append(two_hinges(rows, nearest(rows, d), d))
        if anchors in ("columns", "both"):
            losses.append(two_hinges(columns, nearest(columns, d), d))
    return sum(losses) / len(losses) if reduction == "mean" else sum(losses)


def unit_vectors(generator: np.random.Generator, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Draw vectors of duplicates, alike but not equal, with negatives above and below the diagonal's values."""
    v1 = generator.normal(size=(size, 3))
    v2 = v1 + 0.7 * generator.normal(size=(size, 3))
    v1, v2 = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (v1, v2))
    return torch.from_numpy(v1).to(dtype), torch.from_numpy(v2).to(dtype)


def masks(generator: np.random.Generator, size: int) -> dict[str, np.ndarray | None]:
    """Return no mask, a mask of clusters, any mask, and one that leaves anchors without a negative."""
    clusters = generator.integers(0, max(2, size // 2), size)
    emptied = generator.random((size, size)) < 0.3
    emptied[0, :] = emptied[:, -1] = True
    return {
        "none": None,
        "clusters": (clusters[:, None] == clusters) & ~np.eye(size, dtype=bool),
        "any": generator.random((size, size)) < 0.4,
        "emptied": emptied,
    }


@every_variant
@pytest.mark.parametrize(
    ("dtype", "within"), [pytest.param(torch.float32, 2e-6, marks=pytest.mark.slow), (torch.float64, 1e-12)]
)
def test_agrees_with_plain_loops(variant: dict[str, Any], dtype: torch.dtype, within: float) -> None:
    generator = np.random.default_rng(1)
    # Also far from unit vectors: with diagonals below -2, the value of what semi-hard leaves out matters.
    for size, scale in itertools.product((2, 3, 5, 16), (1, -4)):
        v1, v2 = unit_vectors(generator, size, dtype)
        v2 *= scale
        scores = (v1 @ v2.T).tolist()
        for name, mask in masks(generator, size).items():
            same = np.zeros((size, size), bool) if mask is None else mask
            for margin in (0.0, 0.25, 0.8):
                expected = plain_loops(scores, margin, same=same.tolist(), **variant)
                found = TripletLossFn(v1, v2, margin, same=None if mask is None else torch.from_numpy(mask), **variant)
                assert (found.shape, found.dtype) == ((), dtype)
                assert found.item() == pytest.approx(expected, rel=within, abs=within), (size, scale, name, margin)


@pytest.mark.slow
@every_variant
def test_gradient_is_that_of_differences(variant: dict[str, Any]) -> None:
    generator = np.random.default_rng(2)
    v1, v2 = (v.requires_grad_() for v in unit_vectors(generator, 6, torch.float64))
    for mask in masks(generator, 6).values():
        same = None if mask is None else torch.from_numpy(mask)
        for margin in (0.25, 0.8):
            assert torch.autograd.gradcheck(
                lambda a, b: TripletLossFn(a, b, margin, same=same, **variant),  # noqa: B023 (called at once)
                (v1, v2),
            )


@pytest.mark.slow
def test_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """S is looked at a block of rows at a time; small blocks, the last one smaller, instead of a large batch."""
    generator = np.random.default_rng(6)
    vectors = unit_vectors(generator, 11, torch.float64)
    for variant, mask in itertools.product(VARIANTS, masks(generator, 11).values()):
        same = None if mask is None else torch.from_numpy(mask)
        results = []
        for block in (3, 1_000):
            monkeypatch.setattr("siamese.losses.triplet.ANCHORS_AT_A_TIME", block)
            v1, v2 = (v.clone().requires_grad_() for v in vectors)
            loss = TripletLossFn(v1, v2, same=same, **variant)
            loss.backward()
            results.append((loss, gradient(v1), gradient(v2)))
        for small, whole in zip(*results):
            torch.testing.assert_close(small, whole, rtol=0, atol=1e-12)


@dataclass
class Example:
    v1: Tensor  # (B, d) float64
    v2: Tensor  # (B, d) float64
    same: Tensor  # (B, B) bool, not symmetric

    def loss(self, margin: float = 0.25, **options: Any) -> Tensor:
        return TripletLossFn(self.v1, self.v2, margin, same=self.same, **options)

    def take(self, rows: list[int]) -> "Example":
        return Example(self.v1[rows], self.v2[rows], self.same[rows][:, rows])


@st.composite
def batches(draw: st.DrawFn) -> Example:
    """Draw quarters from -2 to 2: products and sums are exact, so that ties stay ties in any order."""
    size, length = draw(st.integers(2, 6)), draw(st.integers(1, 3))
    vectors = arrays(np.float64, (size, length), elements=st.integers(-8, 8).map(lambda k: k / 4))
    mask = arrays(np.bool_, (size, size))
    return Example(*(torch.from_numpy(draw(kind)) for kind in (vectors, vectors, mask)))


variants = st.sampled_from(VARIANTS)
often = settings(max_examples=200)  # so that each of the variants has its turn


def close(a: Tensor, b: Tensor) -> bool:
    return math.isclose(a.item(), b.item(), rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.slow
@often
@given(batches(), variants)
def test_ties_agree_with_plain_loops(batch: Example, variant: dict[str, Any]) -> None:
    """Semi-hard leaves a negative that equals its diagonal where it is."""
    scores = (batch.v1 @ batch.v2.T).tolist()
    expected = plain_loops(scores, 0.25, same=batch.same.tolist(), **variant)
    assert batch.loss(**variant).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.slow
@given(batches(), variants)
def test_diagonal_of_same_does_not_matter(batch: Example, variant: dict[str, Any]) -> None:
    before = batch.loss(**variant)
    batch.same.fill_diagonal_(True)
    assert before == batch.loss(**variant)


@pytest.mark.slow
@often
@given(batches(), variants, st.data())
def test_anchor_without_a_negative_adds_nothing(batch: Example, variant: dict[str, Any], data: st.DataObject) -> None:
    """Leave out row and column i: the sum is that of the other pairs, and neither question of pair i has a gradient."""
    i = data.draw(st.integers(0, len(batch.v1) - 1))
    batch.same[i, :] = batch.same[:, i] = True
    summed = {**variant, "reduction": "sum"}
    rest = [j for j in range(len(batch.v1)) if j != i]
    expected = batch.take(rest).loss(**summed) if len(rest) >= 2 else torch.zeros(())
    loss = Example(batch.v1.requires_grad_(), batch.v2.requires_grad_(), batch.same).loss(**summed)
    loss.backward()
    assert close(loss, expected)
    assert gradient(batch.v1)[i].abs().max() < 1e-15  # rounding
    assert gradient(batch.v2)[i].abs().max() < 1e-15


@given(batches(), variants)
def test_everything_the_same_is_no_loss(batch: Example, variant: dict[str, Any]) -> None:
    batch.same.fill_(True)
    batch.v1.requires_grad_()
    batch.v2.requires_grad_()
    loss = batch.loss(**variant)
    loss.backward()
    assert loss == 0
    assert torch.equal(gradient(batch.v1), torch.zeros_like(batch.v1))
    assert torch.equal(gradient(batch.v2), torch.zeros_like(batch.v2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["identical", "zero", "opposite", "some zero"])
def test_no_nan_for_degenerate_vectors(kind: str, dtype: torch.dtype) -> None:
    ones = torch.full((5, 3), 3**-0.5)
    v1 = {"identical": ones, "zero": 0 * ones, "opposite": ones, "some zero": ones * torch.eye(5)[:, :1]}[kind]
    v2 = -v1 if kind == "opposite" else v1
    everything, some = torch.ones(5, 5, dtype=torch.bool), torch.eye(5, dtype=torch.bool).roll(1, 0)
    for variant, same in itertools.product(VARIANTS, (None, everything, some)):
        a, b = v1.to(dtype).clone().requires_grad_(), v2.to(dtype).clone().requires_grad_()
        loss = TripletLossFn(a, b, same=same, **variant)
        loss.backward()
        assert loss.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
        for number in (loss, gradient(a), gradient(b)):
            assert torch.isfinite(number).all(), variant


def test_batch_of_one_says_why() -> None:
    with pytest.raises(ValueError, match=r"batch of 1 pair.*no negatives.*2 or more"):
        TripletLossFn(torch.ones(1, 4), torch.ones(1, 4))
    with pytest.raises(ValueError, match="batch of 0 pair"):
        TripletLossFn(torch.ones(0, 4), torch.ones(0, 4))


@pytest.mark.parametrize(
    ("v1", "v2"), [((4, 3), (4, 2)), ((4, 3), (5, 3)), ((4,), (4,)), ((2, 4, 3), (2, 4, 3)), ((4, 3), (1, 3))]
)
def test_wrong_shapes_are_repeated(v1: tuple[int, ...], v2: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected two of \(batch, size\)") as error:
        TripletLossFn(torch.ones(v1), torch.ones(v2))
    assert str(v1) in str(error.value) and str(v2) in str(error.value)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 3), (1, 4, 4)])
def test_wrong_shape_of_same_is_repeated(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(4, 4\)") as error:
        TripletLossFn(torch.ones(4, 2), torch.ones(4, 2), same=torch.zeros(shape, dtype=torch.bool))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("anchors", "rows, columns, both"),
        ("closest", "hardest, semi-hard"),
        ("combine", "summed, pooled"),
        ("reduction", "mean, sum"),
    ],
)
def test_unknown_choice_names_the_known_ones(option: str, choices: str) -> None:
    for wrong in ("none", "", "Rows"):
        with pytest.raises(ValueError, match=f"{option}='{wrong}': expected one of {choices}"):
            TripletLossFn(torch.eye(3), torch.eye(3), **{option: wrong})  # type: ignore[arg-type]


@every_variant
def test_module_is_the_function(variant: dict[str, Any]) -> None:
    generator = np.random.default_rng(4)
    v1, v2 = unit_vectors(generator, 8, torch.float64)
    same = torch.from_numpy(generator.random((8, 8)) < 0.3)
    module = TripletLoss(0.4, **variant)
    assert torch.equal(module(v1, v2), TripletLossFn(v1, v2, 0.4, **variant))
    assert torch.equal(module(v1, v2, same), TripletLossFn(v1, v2, 0.4, same=same, **variant))
    assert "margin=0.4" in repr(module) and variant["closest"] in repr(module)


def test_module_and_function_have_the_same_defaults() -> None:
    v1, v2 = unit_vectors(np.random.default_rng(5), 8, torch.float64)
    expected = TripletLossFn(v1, v2, 0.25, "both", "hardest", "summed", "mean")
    assert torch.equal(TripletLossFn(v1, v2), expected)
    assert torch.equal(TripletLoss()(v1, v2), expected)
