"""The losses on a matrix of similarities: softmax over rows and columns, and the sigmoid of each cell."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from torch import Tensor
from torch.nn.functional import normalize
from vectors import SIDES, every_dtype, gradient, some_same, unit_vectors

from siamese.losses import MatrixBCELoss, MatrixSoftmaxLoss, matrix_bce, matrix_softmax


def test_softmax_by_hand() -> None:
    # exp(scores) = | 3  2 |   the diagonal similar
    #               | 1  1 |
    # rows     -log(3/5) = 0.510826   -log(1/2) = 0.693147   mean 0.601986
    # columns  -log(3/4) = 0.287682   -log(1/3) = 1.098612   mean 0.693147
    scores = torch.tensor([[3.0, 2], [1, 1]], dtype=torch.float64).log()
    itself = torch.eye(2, dtype=torch.bool)
    assert matrix_softmax(scores, itself).item() == pytest.approx(0.601986, abs=1e-6)
    # The same matrix as v1 · v2ᵀ / temperature: v1 = scores / 2, v2 = I, temperature 1/2
    for anchors, value in (("rows", 0.601986), ("columns", 0.693147), ("both", (0.601986 + 0.693147) / 2)):
        found = MatrixSoftmaxLoss(0.5, anchors)(scores / 2, itself.double())
        assert found.item() == pytest.approx(value, abs=1e-6)


def test_similar_entries_share_the_probability_by_hand() -> None:
    # exp(scores) = 3  2  1, the first two similar: -(log(3/6) + log(2/6)) / 2 = (0.693147 + 1.098612) / 2
    scores = torch.tensor([[3.0, 2, 1]], dtype=torch.float64).log()
    similar = torch.tensor([[True, True, False]])
    assert matrix_softmax(scores, similar).item() == pytest.approx(0.895880, abs=1e-6)


def test_bce_by_hand() -> None:
    # sigmoid(logits) = | 0.75  0.5   0.5 |   similar: cells [0, 0] and [1, 1]
    #                   | 0.8   0.75  0.5 |
    # similar  2 · -log 0.75 = 2 · 0.287682 = 0.575364
    # others   3 · -log 0.5 - log 0.2 = 3 · 0.693147 + 1.609438 = 3.688879
    # half of the weight each  (0.575364 / 2 + 3.688879 / 4) / 2 = 0.604951
    logits = torch.tensor([[3.0, 1, 1], [4, 3, 1]], dtype=torch.float64).log()
    targets = torch.eye(2, 3)
    for kind in (targets, targets.bool(), targets.long()):
        assert matrix_bce(logits, kind).item() == pytest.approx(0.604951, abs=1e-6)


def test_bce_module_by_hand() -> None:
    # v1 = v2 = I: logits 8·1 - 4 on the diagonal and -4 elsewhere, each cell log(1 + e^-4) = 0.018150.
    v = torch.eye(2)
    assert MatrixBCELoss()(v, v).item() == pytest.approx(0.018150, abs=1e-6)
    assert {name for name, p in MatrixBCELoss().named_parameters() if p.requires_grad} == {"scale", "bias"}


@dataclass
class Example:
    scores: Tensor  # (N, M) float64
    similar: Tensor  # (N, M) bool


@st.composite
def matrices(draw: st.DrawFn) -> Example:
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    scores = draw(arrays(np.float64, shape, elements=st.floats(-30, 30)))
    return Example(torch.from_numpy(scores), torch.from_numpy(draw(arrays(np.bool_, shape))))


def plain_softmax(scores: list[list[float]], similar: list[list[bool]]) -> float:
    total, rows = 0.0, 0
    for row, good in zip(scores, similar):
        wanted = [s for s, g in zip(row, good) if g]
        if wanted:
            highest = max(row)
            log_sum = highest + math.log(sum(math.exp(s - highest) for s in row))
            total += sum(log_sum - s for s in wanted) / len(wanted)
            rows += 1
    return total / rows if rows else 0.0


def plain_bce(logits: list[list[float]], targets: list[list[bool]]) -> float:
    cells: dict[bool, list[float]] = {True: [], False: []}
    for row, wanted in zip(logits, targets):
        for z, t in zip(row, wanted):
            wrong = -z if t else z
            cells[t].append(max(wrong, 0.0) + math.log1p(math.exp(-abs(wrong))))  # log(1 + e^wrong)
    means = [sum(group) / len(group) for group in cells.values() if group]
    return sum(means) / len(means)


@given(matrices())
def test_functions_agree_with_plain_loops(example: Example) -> None:
    for found, plain in ((matrix_softmax, plain_softmax), (matrix_bce, plain_bce)):
        expected = plain(example.scores.tolist(), example.similar.tolist())
        assert found(example.scores, example.similar).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 99), st.integers(1, 6), st.sampled_from(SIDES))
def test_modules_agree_with_plain_loops(seed: int, size: int, anchors: str) -> None:
    v1, v2 = unit_vectors(seed, size)
    for same in (None, some_same(seed, size)):
        similar = torch.eye(size, dtype=torch.bool) | (False if same is None else same)
        scores = v1 @ v2.T
        rows = plain_softmax((scores / 0.2).tolist(), similar.tolist())
        columns = plain_softmax((scores.T / 0.2).tolist(), similar.T.tolist())
        expected = {"rows": rows, "columns": columns, "both": (rows + columns) / 2}[anchors]
        assert MatrixSoftmaxLoss(0.2, anchors)(v1, v2, same).item() == pytest.approx(expected, rel=1e-9)
        expected = plain_bce((8 * scores - 4).tolist(), similar.tolist())
        assert MatrixBCELoss()(v1, v2, same).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_one_similar_entry_a_row_is_multiple_negatives_ranking(size: int) -> None:
    v1, v2 = unit_vectors(2, size)
    numbers, cross_entropy = torch.arange(size), torch.nn.CrossEntropyLoss()
    rows, columns = cross_entropy(v1 @ v2.T / 0.05, numbers), cross_entropy(v2 @ v1.T / 0.05, numbers)
    for anchors, expected in (("rows", rows), ("columns", columns), ("both", (rows + columns) / 2)):
        torch.testing.assert_close(MatrixSoftmaxLoss(0.05, anchors)(v1, v2), expected, rtol=0, atol=1e-6)


def test_several_similar_entries_are_cross_entropy_with_probabilities() -> None:
    v1, v2 = unit_vectors(3, 7)
    similar = some_same(3, 7) | torch.eye(7, dtype=torch.bool)
    scores, cross_entropy = v1 @ v2.T / 0.05, torch.nn.CrossEntropyLoss()
    rows = cross_entropy(scores, similar / similar.sum(1, keepdim=True))
    columns = cross_entropy(scores.T, similar.T / similar.sum(0)[:, None])
    for anchors, expected in (("rows", rows), ("columns", columns), ("both", (rows + columns) / 2)):
        found = MatrixSoftmaxLoss(0.05, anchors)(v1, v2, similar)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, check_dtype=False)


def test_agrees_with_pytorch_metric_learning() -> None:
    v1, v2 = unit_vectors(4, 6)
    # NTXent with one positive an anchor and the other side's rest as negatives
    numbers = torch.arange(6)
    off = (~torch.eye(6, dtype=torch.bool)).nonzero(as_tuple=True)
    theirs = NTXentLoss(temperature=0.1)(v1, indices_tuple=(numbers, numbers, *off), ref_emb=v2)
    torch.testing.assert_close(MatrixSoftmaxLoss(0.1, "rows")(v1, v2), theirs, rtol=0, atol=1e-6)
    # SupCon: several positives an anchor, which share the probability
    clusters = torch.tensor([0, 1, 2, 0, 1, 0])
    same = clusters[:, None] == clusters
    theirs = SupConLoss(temperature=0.1)(v1, clusters, ref_emb=v2, ref_labels=clusters.clone())
    torch.testing.assert_close(MatrixSoftmaxLoss(0.1, "rows")(v1, v2, same), theirs, rtol=0, atol=1e-6)


def test_bce_agrees_with_torch() -> None:
    v1, v2 = unit_vectors(5, 6)
    similar = some_same(5, 6) | torch.eye(6, dtype=torch.bool)
    targets, scores = similar.double(), v1 @ v2.T
    weights = torch.where(similar, 0.5 / targets.sum(), 0.5 / (1 - targets).sum())
    mended = torch.nn.BCEWithLogitsLoss(weights, reduction="sum")(8 * scores - 4, targets)
    torch.testing.assert_close(MatrixBCELoss()(v1, v2, similar), mended, rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 2.0, math.nan])
def test_targets_of_minus_one_are_rejected(wrong: float) -> None:
    targets = torch.eye(3)
    targets[0, 1] = wrong
    with pytest.raises(ValueError, match=r"targets must be 0 or 1; a target of -1 .* becomes 0"):
        matrix_bce(torch.zeros(3, 3), targets)


@pytest.mark.parametrize("size", [2, 32, 256])
def test_negatives_do_not_swamp_positives(size: int) -> None:
    """Of N² cells N are similar. When training begins, they pull up as much as all the others pull down."""
    logits = torch.zeros(size, size, requires_grad=True)
    matrix_bce(logits, torch.eye(size)).backward()
    down = gradient(logits).clamp(min=0).sum() / gradient(logits).abs().sum()
    assert down.item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 8])
def test_free_vectors_are_fitted_and_the_loss_is_sure(size: int) -> None:
    """Reach probabilities near 0 and 1. A plain sigmoid of the cosines cannot: it gives 0.73 at most."""
    torch.manual_seed(1)
    sides, loss = torch.randn(2, size, 8, requires_grad=True), MatrixBCELoss()
    optimizer = torch.optim.Adam([sides, *loss.parameters()], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(*normalize(sides, dim=2))
        value.backward()
        optimizer.step()
    v1, v2 = normalize(sides.detach(), dim=2)
    probability, itself = torch.sigmoid(loss.scale * (v1 @ v2.T) + loss.bias), torch.eye(size, dtype=torch.bool)
    assert value < 0.02
    assert probability[itself].min() > 0.95 and probability[~itself].max() < 0.05


@every_dtype
def test_no_similar_entry_is_no_loss(dtype: torch.dtype) -> None:
    scores = torch.eye(3, dtype=dtype).mul(20).requires_grad_()
    loss = matrix_softmax(scores, torch.zeros(3, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not gradient(scores).any()


def test_targets_of_one_kind_alone() -> None:
    """The mean over all cells."""
    logits = torch.linspace(-2, 2, 6).reshape(2, 3)
    for targets in (torch.zeros(2, 3), torch.ones(2, 3)):
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        torch.testing.assert_close(matrix_bce(logits, targets), expected)
