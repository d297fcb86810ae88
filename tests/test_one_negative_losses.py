"""The triplet losses with one negative an anchor: Euclidean, squared and cosine; given negatives, or the closest."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from vectors import SIDES, every_dtype, gradient, some_same, unit_vectors

from siamese.losses import TripletCosineLoss, TripletEuclideanLoss

KINDS: dict[str, Callable[..., nn.Module]] = {
    "euclidean": TripletEuclideanLoss,
    "squared": lambda *args, **options: TripletEuclideanLoss(*args, squared=True, **options),
    "cosine": TripletCosineLoss,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_given_negatives_by_hand() -> None:
    # a = (0, 0), p = (3, 4), n = (0, 2): 5 - 2 + 1 = 4;   squared 25 - 4 + 1 = 22
    # a = (1, 1), p = (1, 2), n = (5, 4): 1 - 5 + 1 < 0;   squared 1 - 25 + 1 < 0     so the means are 2 and 11
    a, p, n = (torch.tensor(v) for v in ([[0.0, 0], [1, 1]], [[3.0, 4], [1, 2]], [[0.0, 2], [5, 4]]))
    for anchors in SIDES:  # v1 alone is the anchor, whatever the batch's anchors would be
        assert TripletEuclideanLoss(1, anchors)(a, p, negatives=n).item() == pytest.approx(2)
        assert TripletEuclideanLoss(1, anchors, squared=True)(a, p, negatives=n).item() == pytest.approx(11)
    # a = (2, 0): cos with p = (3, 4) is 0.6, with n = (4, 3) 0.8: 0.8 - 0.6 + 0.25 = 0.45
    # a = (0, 1): cos with p = (0, 7) is 1, with n = (-1, 0) 0:      0 - 1 + 0.25 < 0        so the mean is 0.225
    a, p, n = (torch.tensor(v) for v in ([[2.0, 0], [0, 1]], [[3.0, 4], [0, 7]], [[4.0, 3], [-1, 0]]))
    for anchors in SIDES:
        assert TripletCosineLoss(0.25, anchors)(a, p, negatives=n).item() == pytest.approx(0.225)


def test_two_pairs_by_hand() -> None:
    # distances of v1 (rows) and v2 (columns) | 5  6 |
    #                                         | 5  8 |
    # margin 0.5   rows     5 - 6 + 0.5 < 0    8 - 5 + 0.5 = 3.5     mean 1.75
    #              columns  5 - 5 + 0.5 = 0.5  8 - 6 + 0.5 = 2.5     mean 1.5
    # squared, 5   rows     25 - 36 + 5 < 0    64 - 25 + 5 = 44      mean 22
    #              columns  25 - 25 + 5 = 5    64 - 36 + 5 = 33      mean 19
    v1, v2 = torch.tensor([[0.0, 0], [6, 8]]), torch.tensor([[3.0, 4], [6, 0]])
    for anchors, plain, squared in (("rows", 1.75, 22), ("columns", 1.5, 19), ("both", 1.625, 20.5)):
        assert TripletEuclideanLoss(0.5, anchors)(v1, v2).item() == pytest.approx(plain)
        assert TripletEuclideanLoss(5, anchors, squared=True)(v1, v2).item() == pytest.approx(squared)
    # cosines of v1 and v2 | 0.8    0.6  |
    #                      | 0.96  -0.28 |
    # margin 0.1   rows     0.6 - 0.8 + 0.1 < 0      0.96 + 0.28 + 0.1 = 1.34     mean 0.67
    #              columns  0.96 - 0.8 + 0.1 = 0.26  0.6 + 0.28 + 0.1 = 0.98      mean 0.62
    v1, v2 = torch.tensor([[3.0, 0], [0.6, 0.8]]), torch.tensor([[0.8, 0.6], [6, -8]])
    for anchors, value in (("rows", 0.67), ("columns", 0.62), ("both", 0.645)):
        assert TripletCosineLoss(0.1, anchors)(v1, v2).item() == pytest.approx(value)
    # Cell [1, 0] known: row 1 and column 0 have no negative and add nothing, but are counted.
    same = torch.tensor([[False, False], [True, False]])
    for anchors, value in (("rows", 0), ("columns", 0.98 / 2), ("both", 0.98 / 4)):
        assert TripletCosineLoss(0.1, anchors)(v1, v2, same).item() == pytest.approx(value)


def plain_distance(a: list[float], b: list[float], kind: str) -> float:
    if kind != "cosine":
        squared = sum((x - y) ** 2 for x, y in zip(a, b))
        return squared if kind == "squared" else math.sqrt(squared)
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return 1 - (sum(x * y for x, y in zip(a, b)) / lengths if lengths else 0.0)


def plain_loops(kind: str, margin: float, anchors: str, v1: Tensor, v2: Tensor, same: Tensor) -> float:
    """Return the loss of a batch, one anchor and one negative at a time."""
    hinges = []
    for side in ("rows", "columns"):
        if anchors not in (side, "both"):
            continue
        a, b = (v1.tolist(), v2.tolist()) if side == "rows" else (v2.tolist(), v1.tolist())
        for i in range(len(a)):
            negatives = []
            for j in range(len(b)):
                known = same[i, j] if side == "rows" else same[j, i]
                if i != j and not known:
                    negatives.append(plain_distance(a[i], b[j], kind))
            violation = plain_distance(a[i], b[i], kind) - min(negatives) + margin if negatives else 0.0
            hinges.append(max(violation, 0.0))
    return sum(hinges) / len(hinges)


@dataclass
class Example:
    v1: Tensor  # (B, d) float64
    v2: Tensor  # (B, d) float64
    same: Tensor  # (B, B) bool, not symmetric


@st.composite
def batches(draw: st.DrawFn) -> Example:
    """Draw quarters from -2 to 2, zero vectors among them: squared distances are exact, so that ties stay ties."""
    size, length = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    vectors = arrays(np.float64, (size, length), elements=st.integers(-8, 8).map(lambda k: k / 4))
    mask = arrays(np.bool_, (size, size))
    return Example(*(torch.from_numpy(draw(kind)) for kind in (vectors, vectors, mask)))


kinds, sides, margins = st.sampled_from(list(KINDS)), st.sampled_from(SIDES), st.floats(0, 2)
often = settings(max_examples=150)  # so that each kind has its turn with each side


@pytest.mark.slow
@often
@given(batches(), kinds, sides, margins)
def test_agrees_with_plain_loops(batch: Example, kind: str, anchors: str, margin: float) -> None:
    loss = KINDS[kind](margin, anchors=anchors)
    expected = plain_loops(kind, margin, anchors, batch.v1, batch.v2, batch.same)
    assert loss(batch.v1, batch.v2, batch.same).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    expected = plain_loops(kind, margin, anchors, batch.v1, batch.v2, torch.zeros_like(batch.same))
    assert loss(batch.v1, batch.v2).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(batches(), kinds, margins, st.data())
def test_given_negatives_agree_with_a_plain_loop(batch: Example, kind: str, margin: float, data: st.DataObject) -> None:
    elements = st.integers(-8, 8).map(lambda k: k / 4)
    negatives = torch.from_numpy(data.draw(arrays(np.float64, tuple(batch.v1.shape), elements=elements)))
    total = 0.0
    for a, p, n in zip(batch.v1.tolist(), batch.v2.tolist(), negatives.tolist()):
        total += max(plain_distance(a, p, kind) - plain_distance(a, n, kind) + margin, 0.0)
    found = KINDS[kind](margin)(batch.v1, batch.v2, negatives=negatives)
    assert found.item() == pytest.approx(total / len(negatives), rel=1e-9, abs=1e-9)


@pytest.mark.slow
@every_kind
def test_gradients_are_those_of_differences(kind: str) -> None:
    v1, v2, negatives = (2 * v.requires_grad_() for v in unit_vectors(1, 5, 3))
    for anchors, same in itertools.product(SIDES, (None, some_same(1, 5))):
        loss = KINDS[kind](0.5, anchors=anchors)
        assert torch.autograd.gradcheck(lambda a, b: loss(a, b, same), (v1, v2))  # noqa: B023 (called at once)
    given_loss = KINDS[kind](0.5)
    assert torch.autograd.gradcheck(lambda a, b, n: given_loss(a, b, negatives=n), (v1, v2, negatives))


def close(a: Tensor, b: Tensor) -> bool:
    return math.isclose(a.item(), b.item(), rel_tol=1e-9, abs_tol=1e-9)


@given(batches(), sides, st.lists(st.integers(1, 9), min_size=6, max_size=6))
def test_lengths_do_not_matter_to_the_cosine(batch: Example, anchors: str, lengths: list[int]) -> None:
    factor = torch.tensor(lengths[: len(batch.v1)])[:, None]
    loss = TripletCosineLoss(anchors=anchors)
    assert close(loss(batch.v1, batch.v2, batch.same), loss(batch.v1 * factor, batch.v2 / factor, batch.same))


@given(batches(), kinds, sides)
def test_diagonal_of_same_does_not_matter(batch: Example, kind: str, anchors: str) -> None:
    loss = KINDS[kind](anchors=anchors)
    before = loss(batch.v1, batch.v2, batch.same)
    assert before == loss(batch.v1, batch.v2, batch.same | torch.eye(len(batch.v1), dtype=torch.bool))


@given(batches(), kinds, sides)
def test_everything_the_same_is_no_loss(batch: Example, kind: str, anchors: str) -> None:
    v1, v2 = batch.v1.requires_grad_(), batch.v2.requires_grad_()
    loss = KINDS[kind](anchors=anchors)(v1, v2, torch.ones_like(batch.same))
    loss.backward()
    assert loss == 0 and not gradient(v1).any() and not gradient(v2).any()


@given(st.integers(0, 999), st.integers(1, 7), sides, st.floats(0, 1))
def test_squared_distances_of_unit_vectors_are_twice_the_cosines(
    seed: int, size: int, anchors: str, margin: float
) -> None:
    """With twice the margin: ‖a − b‖² = 2 − 2·cos, so each term doubles."""
    v1, v2, negatives = unit_vectors(seed, size, 3)
    squared, cosine = TripletEuclideanLoss(2 * margin, anchors, squared=True), TripletCosineLoss(margin, anchors)
    for extra in ({}, {"same": some_same(seed, size)}, {"negatives": negatives}):
        results: list[tuple[Tensor, ...]] = []
        for loss, factor in ((squared, 1), (cosine, 2)):
            a, b = v1.clone().requires_grad_(), v2.clone().requires_grad_()
            value = factor * loss(a, b, **extra)
            value.backward()
            # The gradient of the cosine form lies at right angles to its vector; that of the other is compared there.
            across = [gradient(v) - (gradient(v) * v).sum(1, keepdim=True) * v for v in (a, b)]
            results.append((value, *across))
        for one, other in zip(*results):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@given(arrays(np.float64, (3, 4), elements=st.floats(-9, 9)), arrays(np.float64, (3, 4), elements=st.floats(-9, 9)))
def test_cosine_in_distances_and_lengths(a: np.ndarray, b: np.ndarray) -> None:
    """(1 − cos(a, b))·‖a‖‖b‖ = (‖a − b‖² − (‖a‖ − ‖b‖)²)/2; the thread that gives it dropped the ½."""
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    assume(min(map(np.min, lengths)) > 1e-3)
    for x, y, la, lb in zip(torch.from_numpy(a), torch.from_numpy(b), *lengths):
        x, y = x[None], y[None]
        # Made the losses' own: a negative at the far end has the cosine -1, one at the anchor the distance 0.
        one_less_cosine = TripletCosineLoss(margin=2)(x, y, negatives=-x)
        squared_distance = TripletEuclideanLoss(margin=0, squared=True)(x, y, negatives=x)
        left = one_less_cosine.item() * la * lb
        right = (squared_distance.item() - (la - lb) ** 2) / 2
        assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_agrees_with_torch_where_negatives_are_given() -> None:
    for seed, margin in itertools.product(range(5), (0.1, 0.25, 1.5)):
        v1, v2, negatives = (3 * v for v in unit_vectors(seed, 8, 3))
        theirs = nn.TripletMarginLoss(margin, eps=0)(v1, v2, negatives)  # its eps is added inside the norm
        found = TripletEuclideanLoss(margin)(v1, v2, negatives=negatives)
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-6)
        others: list[tuple[nn.Module, Callable[..., Tensor]]] = [
            (TripletEuclideanLoss(margin, squared=True), lambda a, b: (a - b).square().sum(1)),
            (TripletCosineLoss(margin), lambda a, b: 1 - cosine_similarity(a, b)),
        ]
        for loss, distance in others:
            theirs = nn.TripletMarginWithDistanceLoss(distance_function=distance, margin=margin)(v1, v2, negatives)
            torch.testing.assert_close(loss(v1, v2, negatives=negatives), theirs, rtol=0, atol=1e-6)


@every_kind
def test_agrees_with_pytorch_metric_learning(kind: str) -> None:
    theirs: dict[str, Any] = {
        "euclidean": distances.LpDistance(normalize_embeddings=False),
        "squared": distances.LpDistance(normalize_embeddings=False, power=2),
        "cosine": distances.CosineSimilarity(),
    }
    triplet = losses.TripletMarginLoss(margin=0.5, distance=theirs[kind], reducer=reducers.MeanReducer())
    miner = miners.BatchHardMiner(distance=theirs[kind])
    for seed in range(5):
        v1, v2, negatives = (2 * v for v in unit_vectors(seed, 8, 3))
        numbers = torch.arange(8)
        rows, columns = (
            triplet(a, numbers, miner(a, numbers, b, numbers.clone()), b, numbers.clone())
            for a, b in ((v1, v2), (v2, v1))
        )
        for anchors, expected in (("rows", rows), ("columns", columns), ("both", (rows + columns) / 2)):
            torch.testing.assert_close(KINDS[kind](0.5, anchors=anchors)(v1, v2), expected, rtol=0, atol=1e-6)
        # Given negatives: anchor i, positive i and negative 8 + i of the others
        expected = triplet(v1, indices_tuple=(numbers, numbers, numbers + 8), ref_emb=torch.cat((v2, negatives)))
        torch.testing.assert_close(KINDS[kind](0.5)(v1, v2, negatives=negatives), expected, rtol=0, atol=1e-6)


@every_kind
@every_dtype
def test_given_negatives_are_never_nan(kind: str, dtype: torch.dtype) -> None:
    vector, zero = torch.full((3, 4), 0.5), torch.zeros(3, 4)
    for values in itertools.product((vector, zero, -vector), repeat=3):
        a, p, n = (v.to(dtype, copy=True).requires_grad_() for v in values)
        loss = KINDS[kind](0.25)(a, p, negatives=n)
        loss.backward()
        assert loss.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert torch.isfinite(loss)
        for v in (a, p, n):
            # a vector of length 0 is no reason for a gradient of 1e10
            assert torch.isfinite(gradient(v)).all() and gradient(v).abs().max() < 100


@every_kind
def test_no_anchors_are_no_loss(kind: str) -> None:
    nothing = torch.zeros(0, 4)
    assert KINDS[kind]()(nothing, nothing, negatives=nothing) == 0
