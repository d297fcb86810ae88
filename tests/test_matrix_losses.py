"""The losses on a matrix of similarities: softmax over rows and columns, and why the sigmoid had to be mended."""

import math
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from torch import Tensor
from torch.nn.functional import normalize

from siamese.losses import MatrixBCELoss, MatrixSoftmaxLoss, matrix_bce, matrix_softmax, text_softmax

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
SIDES = ["rows", "columns", "both"]


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def unit_vectors(seed: int, size: int, length: int = 5) -> tuple[Tensor, Tensor]:
    """Vectors of duplicates, alike but not equal; float64."""
    generator = np.random.default_rng(seed)
    v1 = generator.normal(size=(size, length))
    v2 = v1 + 0.7 * generator.normal(size=(size, length))
    return normalize(torch.from_numpy(v1)), normalize(torch.from_numpy(v2))


def some_same(seed: int, size: int) -> Tensor:
    """Known duplicates off the diagonal; not symmetric."""
    return torch.from_numpy(np.random.default_rng(seed).random((size, size)) < 0.3)


# Golden numbers


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
    # With the last left out:                       -(log(3/5) + log(2/5)) / 2 = (0.510826 + 0.916291) / 2
    # With the first left out, one is similar:      -log(2/3) = 0.405465
    scores = torch.tensor([[3.0, 2, 1]], dtype=torch.float64).log()
    similar = torch.tensor([[True, True, False]])
    assert matrix_softmax(scores, similar).item() == pytest.approx(0.895880, abs=1e-6)
    last = torch.tensor([[False, False, True]])
    assert matrix_softmax(scores, similar, last).item() == pytest.approx(0.713558, abs=1e-6)
    first = torch.tensor([[True, False, False]])
    assert matrix_softmax(scores, similar, first).item() == pytest.approx(0.405465, abs=1e-6)


def test_texts_by_hand() -> None:
    # Texts 0 and 1 of one cluster are equal, text 2 is alone and at right angles; temperature 1.
    # Row 0 without itself holds 1 and 0: -log(e / (e + 1)) = 0.313262; row 1 the same; row 2 has no similar entry.
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    assert text_softmax(x, torch.tensor([7, 7, 3]), temperature=1).item() == pytest.approx(0.313262, abs=1e-6)


def test_bce_by_hand() -> None:
    # sigmoid(logits) = | 0.75  0.5   0.5 |   similar: cells [0, 0] and [1, 1]
    #                   | 0.8   0.75  0.5 |
    # similar  2 · -log 0.75 = 2 · 0.287682 = 0.575364
    # others   3 · -log 0.5 - log 0.2 = 3 · 0.693147 + 1.609438 = 3.688879
    # every cell the same  (0.575364 + 3.688879) / 6 = 0.710707
    # balanced             (0.575364 / 2 + 3.688879 / 4) / 2 = 0.604951
    logits = torch.tensor([[3.0, 1, 1], [4, 3, 1]], dtype=torch.float64).log()
    targets = torch.eye(2, 3)
    for kind in (targets, targets.bool(), targets.long()):
        assert matrix_bce(logits, kind, balanced=False).item() == pytest.approx(0.710707, abs=1e-6)
        assert matrix_bce(logits, kind).item() == pytest.approx(0.604951, abs=1e-6)


def test_bce_module_by_hand() -> None:
    # v1 = v2 = I: logits 8·1 - 4 on the diagonal and -4 elsewhere, each cell log(1 + e^-4) = 0.018150.
    # Plain: log(1 + e^-1) = 0.313262 on the diagonal, log 2 = 0.693147 elsewhere; half of the cells each.
    v = torch.eye(2)
    assert MatrixBCELoss()(v, v).item() == pytest.approx(0.018150, abs=1e-6)
    plain = MatrixBCELoss(learned=False, balanced=False)
    assert plain(v, v).item() == pytest.approx((0.313262 + 0.693147) / 2, abs=1e-6)
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    assert {name for name, p in MatrixBCELoss().named_parameters() if p.requires_grad} == {"scale", "bias"}


# Plain loops and what must hold for any matrix


@dataclass
class Example:
    scores: Tensor  # (N, M) float64
    similar: Tensor  # (N, M) bool
    left_out: Tensor  # (N, M) bool


@st.composite
def matrices(draw: st.DrawFn) -> Example:
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    scores = draw(arrays(np.float64, shape, elements=st.floats(-30, 30)))
    similar, left_out = (draw(arrays(np.bool_, shape)) for _ in range(2))
    return Example(torch.from_numpy(scores), torch.from_numpy(similar), torch.from_numpy(left_out))


def plain_softmax(scores: list[list[float]], similar: list[list[bool]], left_out: list[list[bool]]) -> float:
    total, rows = 0.0, 0
    for row, good, out in zip(scores, similar, left_out):
        kept = [s for s, o in zip(row, out) if not o]
        wanted = [s for s, g, o in zip(row, good, out) if g and not o]
        if wanted:
            highest = max(kept)
            log_sum = highest + math.log(sum(math.exp(s - highest) for s in kept))
            total += sum(log_sum - s for s in wanted) / len(wanted)
            rows += 1
    return total / rows if rows else 0.0


def plain_bce(logits: list[list[float]], targets: list[list[bool]], balanced: bool) -> float:
    cells: dict[bool, list[float]] = {True: [], False: []}
    for row, wanted in zip(logits, targets):
        for z, t in zip(row, wanted):
            wrong = -z if t else z
            cells[t].append(max(wrong, 0.0) + math.log1p(math.exp(-abs(wrong))))  # log(1 + e^wrong)
    groups = [cells[True], cells[False]] if balanced else [cells[True] + cells[False]]
    means = [sum(group) / len(group) for group in groups if group]
    return sum(means) / len(means)


@given(matrices())
def test_softmax_agrees_with_a_plain_loop(example: Example) -> None:
    expected = plain_softmax(example.scores.tolist(), example.similar.tolist(), example.left_out.tolist())
    found = matrix_softmax(example.scores, example.similar, example.left_out)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    nothing = torch.zeros_like(example.left_out)
    expected = plain_softmax(example.scores.tolist(), example.similar.tolist(), nothing.tolist())
    assert matrix_softmax(example.scores, example.similar).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(matrices(), st.booleans())
def test_bce_agrees_with_a_plain_loop(example: Example, balanced: bool) -> None:
    expected = plain_bce(example.scores.tolist(), example.similar.tolist(), balanced)
    found = matrix_bce(example.scores, example.similar, balanced)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 99), st.integers(1, 6), st.sampled_from(SIDES))
def test_modules_agree_with_plain_loops(seed: int, size: int, anchors: str) -> None:
    v1, v2 = unit_vectors(seed, size)
    for same in (None, some_same(seed, size)):
        similar = torch.eye(size, dtype=torch.bool) | (False if same is None else same)
        scores, nothing = v1 @ v2.T, torch.zeros_like(similar)
        rows = plain_softmax((scores / 0.2).tolist(), similar.tolist(), nothing.tolist())
        columns = plain_softmax((scores.T / 0.2).tolist(), similar.T.tolist(), nothing.tolist())
        expected = {"rows": rows, "columns": columns, "both": (rows + columns) / 2}[anchors]
        assert MatrixSoftmaxLoss(0.2, anchors)(v1, v2, same).item() == pytest.approx(expected, rel=1e-9)
        expected = plain_bce((8 * scores - 4).tolist(), similar.tolist(), True)
        assert MatrixBCELoss()(v1, v2, same).item() == pytest.approx(expected, rel=1e-9)


@given(matrices(), st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_changes_nothing(example: Example, random: Random) -> None:
    rows, columns = list(range(example.scores.shape[0])), list(range(example.scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    moved = [m[rows][:, columns] for m in (example.scores, example.similar, example.left_out)]
    before = matrix_softmax(example.scores, example.similar, example.left_out)
    assert matrix_softmax(*moved).item() == pytest.approx(before.item(), rel=1e-9, abs=1e-12)
    for balanced in (True, False):
        before = matrix_bce(example.scores, example.similar, balanced)
        assert matrix_bce(moved[0], moved[1], balanced).item() == pytest.approx(before.item(), rel=1e-9, abs=1e-12)


@given(matrices(), st.floats(-5, 5))
def test_softmax_sees_only_differences_within_a_row(example: Example, shift: float) -> None:
    before = matrix_softmax(example.scores, example.similar, example.left_out)
    after = matrix_softmax(example.scores + shift, example.similar, example.left_out)
    assert before >= 0
    assert after.item() == pytest.approx(before.item(), rel=1e-9, abs=1e-9)


@given(matrices(), st.floats(-30, 30))
def test_what_is_left_out_does_not_matter(example: Example, other: float) -> None:
    scores = example.scores.clone().requires_grad_()
    loss = matrix_softmax(scores, example.similar, example.left_out)
    loss.backward()
    assert not gradient(scores)[example.left_out].any()
    changed = example.scores.masked_fill(example.left_out, other)
    assert matrix_softmax(changed, example.similar, example.left_out) == loss


@given(matrices())
def test_bce_of_turned_signs_and_targets_is_the_same(example: Example) -> None:
    for balanced in (True, False):
        before = matrix_bce(example.scores, example.similar, balanced)
        after = matrix_bce(-example.scores, ~example.similar, balanced)
        assert before >= 0
        assert after.item() == pytest.approx(before.item(), rel=1e-9, abs=1e-12)


@given(st.integers(0, 99), st.integers(1, 6), st.floats(0.2, 5), st.sampled_from(SIDES))
def test_longer_vectors_are_a_lower_temperature(seed: int, size: int, length: float, anchors: str) -> None:
    v1, v2 = unit_vectors(seed, size)
    same = some_same(seed, size)
    expected = MatrixSoftmaxLoss(0.1, anchors)(v1, v2, same)
    found = MatrixSoftmaxLoss(0.1 * length, anchors)(v1 * length, v2, same)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)


def test_equal_scores_cost_the_logarithm_of_their_number() -> None:
    similar = torch.tensor([[True, True, False, False, True]])
    assert matrix_softmax(torch.zeros(1, 5), similar).item() == pytest.approx(math.log(5))
    assert matrix_softmax(torch.zeros(1, 5), similar, ~similar).item() == pytest.approx(math.log(3))


def test_gradients_are_those_of_differences() -> None:
    v1, v2 = (v.requires_grad_() for v in unit_vectors(1, 5))
    same = some_same(1, 5)
    for anchors in SIDES:
        softmax = MatrixSoftmaxLoss(0.3, anchors)
        assert torch.autograd.gradcheck(lambda a, b: softmax(a, b, same), (v1, v2))  # noqa: B023 (called at once)
    clusters = torch.tensor([0, 1, 0, 2, 1])
    assert torch.autograd.gradcheck(lambda x: text_softmax(x, clusters, 0.3), (v1,))
    for balanced in (True, False):
        bce = MatrixBCELoss(balanced=balanced).double()
        assert torch.autograd.gradcheck(
            lambda a, b, scale, bias: torch.func.functional_call(bce, {"scale": scale, "bias": bias}, (a, b, same)),  # noqa: B023
            (v1, v2, bce.scale, bce.bias),
        )


# Others who compute the same


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
    # Texts against themselves: SupCon again (the text of cluster 2 is alone); with two a cluster NTXent as well
    theirs = SupConLoss(temperature=0.1)(v1, clusters)
    torch.testing.assert_close(text_softmax(v1, clusters, 0.1), theirs, rtol=0, atol=1e-6)
    both, twice = torch.cat((v1, v2)), torch.cat((numbers, numbers))
    theirs = NTXentLoss(temperature=0.1)(both, twice)
    torch.testing.assert_close(text_softmax(both, twice, 0.1), theirs, rtol=0, atol=1e-6)


def test_bce_agrees_with_torch() -> None:
    v1, v2 = unit_vectors(5, 6)
    similar = some_same(5, 6) | torch.eye(6, dtype=torch.bool)
    targets, scores = similar.double(), v1 @ v2.T
    plain = torch.nn.BCEWithLogitsLoss()(scores, targets)
    found = MatrixBCELoss(learned=False, balanced=False)(v1, v2, similar)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)
    weights = torch.where(similar, 0.5 / targets.sum(), 0.5 / (1 - targets).sum())
    mended = torch.nn.BCEWithLogitsLoss(weights, reduction="sum")(8 * scores - 4, targets)
    torch.testing.assert_close(MatrixBCELoss()(v1, v2, similar), mended, rtol=0, atol=1e-6)


# Why the thread's author could not train it

FLOOR = math.log1p(math.exp(-1))  # 0.313262: the cross-entropy of sigmoid(1) = 0.731 against 1


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 2.0, math.nan])
def test_targets_of_minus_one_are_rejected(wrong: float) -> None:
    targets = torch.eye(3)
    targets[0, 1] = wrong
    for balanced in (True, False):
        with pytest.raises(ValueError, match=r"targets must be 0 or 1; a target of -1 .* becomes 0"):
            matrix_bce(torch.zeros(3, 3), targets, balanced)


def test_why_targets_of_minus_one_have_no_lower_end() -> None:
    """torch takes them without a word: -(t·log p + (1 − t)·log(1 − p)) at t = −1 is log p − 2·log(1 − p)."""
    for logit in (-10.0, -100.0, -1000.0):
        unchecked = torch.nn.BCEWithLogitsLoss()(torch.tensor([logit]), torch.tensor([-1.0]))
        assert unchecked.item() == pytest.approx(logit, abs=1e-3)  # below 0, and the lower the logit the lower still


def test_raw_dot_products_saturate_the_sigmoid() -> None:
    # Vectors of length 20: a dot product of 400 for two that should be dissimilar.
    vectors = torch.full((2, 4), 10.0, requires_grad=True)
    probability = torch.sigmoid(vectors @ vectors.T)
    assert torch.equal(probability, torch.ones(2, 2))
    torch.nn.BCELoss()(probability, torch.eye(2)).backward()
    assert not gradient(vectors).any()  # wrong in half of the cells, and nothing to learn from
    # From the logits the gradient survives, but a cell counts 1 however wrong it is, and the loss is in the hundreds.
    logits = torch.tensor([[400.0, 400.0], [40.0, 40.0]], requires_grad=True)
    loss = matrix_bce(logits, torch.eye(2), balanced=False)
    loss.backward()
    assert loss.item() == pytest.approx((400 + 40) / 4)
    assert gradient(logits).tolist() == [[0.0, 0.25], [0.25, 0.0]]
    # Cosines leave it alive: the same vectors at length 1.
    unit = torch.full((2, 4), 0.5, requires_grad=True)
    torch.nn.BCELoss()(torch.sigmoid(unit @ unit.T), torch.eye(2)).backward()
    assert gradient(unit).abs().min() > 0.05


def test_a_cosine_through_a_plain_sigmoid_stays_between_0_27_and_0_73() -> None:
    cosines = torch.linspace(-1, 1, 201, dtype=torch.float64)
    probability = torch.sigmoid(cosines)
    assert probability.min().item() == pytest.approx(0.268941, abs=1e-6)
    assert probability.max().item() == pytest.approx(0.731059, abs=1e-6)
    # So the loss of a perfect S has a floor, with a gradient that still pulls: sigmoid(1) - 1 = -0.269 a cell.
    perfect = (2 * torch.eye(4) - 1).requires_grad_()
    loss = matrix_bce(perfect, torch.eye(4), balanced=False)
    loss.backward()
    assert loss.item() == pytest.approx(FLOOR, abs=1e-6)
    assert (16 * gradient(perfect).abs()).flatten().tolist() == pytest.approx([0.268941] * 16, abs=1e-6)
    # With scale and bias it has none.
    assert matrix_bce(30 * perfect, torch.eye(4)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [2, 32, 256])
def test_negatives_swamp_positives(size: int) -> None:
    """At right angles, where training begins, each cell pulls with one half: N of them up, N² − N down."""
    for balanced, expected in ((False, (size - 1) / size), (True, 0.5)):
        logits = torch.zeros(size, size, requires_grad=True)
        matrix_bce(logits, torch.eye(size), balanced).backward()
        down = gradient(logits).clamp(min=0).sum() / gradient(logits).abs().sum()
        assert down.item() == pytest.approx(expected, abs=1e-4)


def fitted(loss: MatrixBCELoss, size: int, same: Tensor | None = None) -> tuple[float, Tensor]:
    """The loss and S after 200 steps of Adam on free vectors; with `same`, of texts against themselves."""
    torch.manual_seed(1)
    sides = torch.randn(1 if same is not None else 2, size, 8, requires_grad=True)
    optimizer = torch.optim.Adam([sides, *loss.parameters()], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        v1, v2 = normalize(sides, dim=2)[[0, -1]]
        value = loss(v1, v2, same)
        value.backward()
        optimizer.step()
    v1, v2 = normalize(sides.detach(), dim=2)[[0, -1]]
    return loss(v1, v2, same).item(), v1 @ v2.T


def test_the_plain_form_cannot_fit_four_sentences_and_the_mended_can() -> None:
    """Two and two alike: the plain form finds the perfect S, yet its loss stays at the floor and it is never sure."""
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]).bool()
    loss, scores = fitted(MatrixBCELoss(learned=False, balanced=False), 4, same)
    assert loss == pytest.approx(FLOOR, abs=1e-4)
    torch.testing.assert_close(scores, 2.0 * same - 1, rtol=0, atol=1e-2)
    mended = MatrixBCELoss()
    loss, scores = fitted(mended, 4, same)
    assert loss < 0.01
    probability = torch.sigmoid(mended.scale * scores + mended.bias)
    assert probability[same].min() > 0.99 and probability[~same].max() < 0.01


def test_the_plain_form_ranks_four_pairs_but_is_never_sure() -> None:
    """It does put duplicates first. Yet it stops with them at a cosine of ½ and the others at −½."""
    loss, scores = fitted(MatrixBCELoss(learned=False, balanced=False), 4)
    torch.testing.assert_close(scores, torch.eye(4) - 0.5, rtol=0, atol=1e-2)
    assert loss == pytest.approx(math.log1p(math.exp(-0.5)), abs=1e-4)  # 0.474, each cell 0.62 sure
    mended = MatrixBCELoss()
    loss, scores = fitted(mended, 4)
    probability, itself = torch.sigmoid(mended.scale * scores + mended.bias), torch.eye(4, dtype=torch.bool)
    assert loss < 0.01
    assert probability[itself].min() > 0.99 and probability[~itself].max() < 0.01


def test_of_eight_pairs_the_plain_form_calls_all_dissimilar() -> None:
    """56 negatives against 8 duplicates: its best is to push the two sides apart, duplicates with the rest."""
    _, scores = fitted(MatrixBCELoss(learned=False, balanced=False), 8)
    assert scores.max() < -0.9
    # Weights alone bring the order back, and leave the floor; with scale and bias the loss goes.
    itself = torch.eye(8, dtype=torch.bool)
    loss, scores = fitted(MatrixBCELoss(learned=False, balanced=True), 8)
    assert loss > FLOOR and scores[itself].min() > scores[~itself].max() + 0.5
    loss, scores = fitted(MatrixBCELoss(), 8)
    assert loss < 0.02 and scores[itself].min() > scores[~itself].max() + 0.5


# Edges


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["identical", "zero", "opposite", "none"])
def test_texts_are_never_nan(kind: str, dtype: torch.dtype) -> None:
    size = 0 if kind == "none" else 4
    x = torch.full((size, 4), 0.0 if kind == "zero" else 0.5)
    if kind == "opposite":
        x[1::2] *= -1
    for clusters in (torch.zeros(size), torch.arange(size), torch.arange(size) // 2):  # all, none and some similar
        questions = x.to(dtype, copy=True).requires_grad_()
        loss = text_softmax(questions, clusters)
        loss.backward()
        assert loss.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert torch.isfinite(loss) and torch.isfinite(gradient(questions)).all()
        if len(clusters.unique()) == size:
            assert loss == 0 and not gradient(questions).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_left_is_no_loss(dtype: torch.dtype) -> None:
    everything = torch.ones(3, 3, dtype=torch.bool)
    row = everything.clone()
    row[1:] = False
    for similar, left_out in ((everything, everything), (~everything, None), (~everything, row)):
        scores = torch.eye(3, dtype=dtype).mul(20).requires_grad_()
        loss = matrix_softmax(scores, similar, left_out)
        loss.backward()
        assert loss == 0 and not gradient(scores).any()
    # One row with everything left out leaves the others as they are.
    scores = torch.eye(3, dtype=dtype).mul(20).requires_grad_()
    loss = matrix_softmax(scores, torch.eye(3, dtype=torch.bool), row)
    loss.backward()
    rest = matrix_softmax(scores[1:], torch.eye(3, dtype=torch.bool)[1:])
    assert torch.equal(loss, rest) and torch.isfinite(gradient(scores)).all()
    assert not gradient(scores)[0].any()


def test_targets_of_one_kind_alone() -> None:
    """Balanced is then the mean over all cells."""
    logits = torch.linspace(-2, 2, 6).reshape(2, 3)
    for targets in (torch.zeros(2, 3), torch.ones(2, 3)):
        assert matrix_bce(logits, targets, balanced=True) == matrix_bce(logits, targets, balanced=False)
