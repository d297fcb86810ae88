"""The losses on labelled pairs: numbers by hand, plain loops, and other libraries."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_metric_learning import distances, losses, reducers
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize
from vectors import gradient

from siamese.losses import ContrastiveLoss, CosineHingeLoss, LogisticLoss, MSELoss, OnlineContrastiveLoss

LABELLED: dict[str, Callable[[], nn.Module]] = {
    "logistic": LogisticLoss,
    "contrastive": ContrastiveLoss,
    "online-contrastive": OnlineContrastiveLoss,
    "cosine-hinge": CosineHingeLoss,
    "mse": MSELoss,
}
every_loss = pytest.mark.parametrize("name", LABELLED)


def with_cosines(*cosines: float) -> tuple[Tensor, Tensor]:
    """Return unit vectors u[i], v[i] with these cosines, float64."""
    s = torch.tensor(cosines, dtype=torch.float64)
    return torch.tensor([[1.0, 0.0]]).double().repeat(len(s), 1), torch.stack((s, (1 - s * s).sqrt()), 1)


def some_pairs(seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw unit vectors u, v in float64, and labels of both kinds if there are two pairs or more."""
    generator = np.random.default_rng(seed)
    u = generator.normal(size=(size, 4))
    v = u + generator.normal(size=(size, 4))
    return normalize(torch.from_numpy(u)), normalize(torch.from_numpy(v)), torch.arange(size) % 2


# Scale 8, threshold 0.5:   similarity  0.75    0.5     1          z = 8·(s - 0.5)
#                           label       1       0       0
#                           z           2       0       4
#   log(1 + e^-z) or log(1 + e^z)       0.126928  0.693147  4.018150      mean 1.612742
#   sigmoid(z) - label                 -0.119203  0.5       0.982014
SIMILARITY, LABELS = [0.75, 0.5, 1.0], [1, 0, 0]
ERRORS = [-0.11920292, 0.5, 0.98201379]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64, torch.float64], ids=str)
def test_logistic_by_hand(dtype: torch.dtype) -> None:
    loss = LogisticLoss(scale=8.0, threshold=0.5).double()
    u, v = (vectors.requires_grad_() for vectors in with_cosines(*SIMILARITY))
    value = loss(u, v, torch.tensor(LABELS).to(dtype))
    assert value.item() == pytest.approx(1.612742, abs=1e-6)
    value.backward()
    # d/ds = 8·error / 3;   d/dscale = mean of error·(s - 0.5);   d/dthreshold = -8·mean of error
    by_similarity = torch.tensor([[8 * e / 3] for e in ERRORS], dtype=torch.float64)
    torch.testing.assert_close(gradient(u), by_similarity * v.detach(), rtol=0, atol=1e-7)
    torch.testing.assert_close(gradient(v), by_similarity * u.detach(), rtol=0, atol=1e-7)
    by_scale = (0.25 * ERRORS[0] + 0.0 * ERRORS[1] + 0.5 * ERRORS[2]) / 3
    assert gradient(loss.scale).item() == pytest.approx(by_scale)
    assert gradient(loss.threshold).item() == pytest.approx(-8 * sum(ERRORS) / 3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32], ids=str)
def test_contrastive_by_hand(dtype: torch.dtype) -> None:
    # Margin 1.5; d² = 2 - 2s:    s      0.28    0.28               -0.28            1
    #                             d      1.2     1.2                 1.6             0
    #                             label  1       0                   0               1
    #                             term   1.44    (1.5 - 1.2)² = 0.09  0, beyond 1.5   0     mean 1.53 / 4
    u, v = with_cosines(0.28, 0.28, -0.28, 1)
    labels = torch.tensor([1, 0, 0, 1]).to(dtype)
    assert ContrastiveLoss(1.5)(u, v, labels).item() == pytest.approx(0.3825)


def test_online_contrastive_by_hand() -> None:
    # Margin 1.5:   s      -0.28   1     0.28   -1
    #               d       1.6    0     1.2     2       the nearest non-duplicate at 1.2, the furthest duplicate at 1.6
    #               label   1      1     0       0
    #               hard    yes    no    yes     no
    #               term    2.56         0.09            mean of the two 1.325
    u, v = with_cosines(-0.28, 1, 0.28, -1)
    labels = torch.tensor([1, 1, 0, 0])
    assert OnlineContrastiveLoss(1.5)(u, v, labels).item() == pytest.approx(1.325)
    # Set apart already: nothing is hard, no loss, no gradient, though a term is left: (1.5 - 1.2)².
    u, v, labels = u[1:].requires_grad_(), v[1:], labels[1:]
    loss = OnlineContrastiveLoss(1.5)(u, v, labels)
    loss.backward()
    assert loss == 0 and not gradient(u).any()
    assert ContrastiveLoss(1.5)(u, v, labels).item() == pytest.approx(0.09 / 3)
    # As far as each other, 1.2: neither is further, so neither is hard.
    u, v = with_cosines(0.28, 0.28)
    assert OnlineContrastiveLoss(1.5)(u, v, torch.tensor([1, 0])) == 0
    # Without both kinds every pair counts: 1.6², 0; and 0.3², 0.
    u, v = with_cosines(-0.28, 1, 0.28, -1)
    assert OnlineContrastiveLoss(1.5)(u[:2], v[:2], torch.ones(2)).item() == pytest.approx(1.28)
    assert OnlineContrastiveLoss(1.5)(u[2:], v[2:], torch.zeros(2)).item() == pytest.approx(0.045)


def test_cosine_hinge_by_hand() -> None:
    # s      0.28   0.28   0.6    -0.28
    # label  1      0      0       1
    # 0.5    0.22   0      0.1     0.78     mean 0.275
    # 0.9    0.62   0.18   0.5     1.18     mean 0.62
    u, v = with_cosines(0.28, 0.28, 0.6, -0.28)
    labels = torch.tensor([1, 0, 0, 1])
    assert CosineHingeLoss(0.5)(u, v, labels).item() == pytest.approx(0.275)
    assert CosineHingeLoss(0.9)(u, v, labels).item() == pytest.approx(0.62)


def test_mse_by_hand() -> None:
    # (0.28 - 1)² + 0.28² + 0.6² + (-0.28 - 1)² = 0.5184 + 0.0784 + 0.36 + 1.6384 = 2.5952
    u, v = with_cosines(0.28, 0.28, 0.6, -0.28)
    assert MSELoss()(u, v, torch.tensor([1, 0, 0, 1])).item() == pytest.approx(0.6488)


def plain_terms(name: str, s: float, d: float, label: int) -> float:
    """Return the term of a pair, with default settings."""
    if name == "logistic":
        z = 8 * (s - 0.5) * (-1 if label else 1)
        return max(z, 0.0) + math.log1p(math.exp(-abs(z)))  # log(1 + e^z), which e^z alone would overflow
    if name == "cosine-hinge":
        return max(0.5 - s, 0.0) if label else max(s - 0.5, 0.0)
    if name == "mse":
        return (s - label) ** 2
    return d**2 if label else max(0.5 - d, 0.0) ** 2


def plain_loop(name: str, u: list[list[float]], v: list[list[float]], labels: list[int]) -> float:
    similarity = [sum(x * y for x, y in zip(a, b)) for a, b in zip(u, v)]
    distance = [math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b))) for a, b in zip(u, v)]
    pairs = list(zip(similarity, distance, labels))
    if name == "online-contrastive" and len(set(labels)) == 2:
        nearest = min(d for _, d, label in pairs if not label)
        furthest = max(d for _, d, label in pairs if label)
        pairs = [(s, d, label) for s, d, label in pairs if (d > nearest if label else d < furthest)]
    return sum(plain_terms(name, *pair) for pair in pairs) / len(pairs) if pairs else 0.0


@dataclass
class Example:
    u: Tensor  # (n, d) float64
    v: Tensor  # (n, d) float64
    labels: Tensor  # (n,) int64

    def take(self, rows: list[int]) -> "Example":
        return Example(self.u[rows], self.v[rows], self.labels[rows])


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Draw quarters from -1 to 1: squared distances are exact, so that ties stay ties."""
    size, length = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    vectors = arrays(np.float64, (size, length), elements=st.integers(-4, 4).map(lambda k: k / 4))
    labels = arrays(np.int64, size, elements=st.integers(0, 1))
    return Example(*(torch.from_numpy(draw(kind)) for kind in (vectors, vectors, labels)))


names = st.sampled_from(list(LABELLED))
often = settings(max_examples=150)  # so that each of the losses has its turn


@pytest.mark.slow
@often
@given(examples(), names)
def test_agrees_with_a_plain_loop(example: Example, name: str) -> None:
    expected = plain_loop(name, example.u.tolist(), example.v.tolist(), example.labels.tolist())
    found = LABELLED[name]().double()(example.u, example.v, example.labels)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found >= 0


@given(
    arrays(np.float64, st.integers(1, 9), elements=st.floats(-1, 1)), st.data(), st.floats(0.1, 1e4), st.floats(0, 1)
)
def test_logistic_agrees_with_a_plain_loop_for_any_scale(
    similarity: np.ndarray, data: st.DataObject, scale: float, threshold: float
) -> None:
    labels = data.draw(arrays(np.int8, len(similarity), elements=st.integers(0, 1)))
    loss = LogisticLoss(scale, threshold).double()
    found = loss(torch.from_numpy(similarity)[:, None], torch.ones(len(labels), 1), torch.from_numpy(labels))
    found.backward()
    total = 0.0
    for s, label in zip(similarity, labels):
        z = loss.scale.item() * (s - loss.threshold.item()) * (-1 if label else 1)
        total += max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    assert found.item() == pytest.approx(total / len(labels), rel=1e-9, abs=1e-12)
    assert torch.isfinite(gradient(loss.scale)) and torch.isfinite(gradient(loss.threshold))


def test_agrees_with_torch() -> None:
    for size in (1, 8):
        u, v, labels = some_pairs(2, size)
        # torch's cosine of unit vectors is their dot product; its label of non-duplicates is -1
        theirs = nn.CosineEmbeddingLoss(margin=0)(u, v, 2 * labels - 1)
        torch.testing.assert_close(CosineHingeLoss(1)(u, v, labels), theirs, rtol=0, atol=1e-6)
        s = cosine_similarity(u, v)
        theirs = nn.MSELoss()(s, labels.double())
        torch.testing.assert_close(MSELoss()(u, v, labels), theirs, rtol=0, atol=1e-6)
        theirs = nn.BCEWithLogitsLoss()(8 * (s - 0.5), labels.double())
        torch.testing.assert_close(LogisticLoss()(u, v, labels), theirs, rtol=0, atol=1e-6, check_dtype=False)
        # d of duplicates and max(margin − d, 0) of the rest, here squared
        d = nn.PairwiseDistance(eps=0)(u, v)
        theirs = nn.HingeEmbeddingLoss(margin=1.1, reduction="none")(d, 2 * labels - 1).square().mean()
        torch.testing.assert_close(ContrastiveLoss(1.1)(u, v, labels), theirs, rtol=0, atol=1e-6)


def test_agrees_with_pytorch_metric_learning() -> None:
    u, v, labels = some_pairs(3, 12)
    cells = [((labels == label).nonzero()[:, 0],) * 2 for label in (1, 0)]  # pair i is cell [i, i] of u against v
    raw = distances.LpDistance(normalize_embeddings=False)

    def theirs(distance: distances.BaseDistance, positive: float, negative: float) -> Tensor:
        """Return each pair's term: max(d − positive, 0) for duplicates, max(negative − d, 0) for the rest."""
        loss = losses.ContrastiveLoss(positive, negative, distance=distance, reducer=reducers.DoNothingReducer())
        found = loss(u, indices_tuple=(*cells[0], *cells[1]), ref_emb=v)
        return torch.cat([found[kind]["losses"] for kind in ("pos_loss", "neg_loss")])

    # Theirs is of the distances, ours of their squares: square each term.
    expected = theirs(raw, 0, 1.2).square().mean()
    torch.testing.assert_close(ContrastiveLoss(1.2)(u, v, labels), expected, rtol=0, atol=1e-6)
    # Of a similarity it is max(positive − s, 0) and max(s − negative, 0), the cosine hinge.
    for margin in (0.5, 0.9):
        expected = theirs(distances.CosineSimilarity(), margin, 1 - margin).mean()
        torch.testing.assert_close(CosineHingeLoss(margin)(u, v, labels), expected, rtol=0, atol=1e-6)


@every_loss
def test_no_pairs_no_loss(name: str) -> None:
    u, v = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 4, requires_grad=True)
    loss = LABELLED[name]()
    value = loss(u, v, torch.zeros(0))
    value.backward()
    assert value == 0
    assert all(p.grad is None or p.grad == 0 for p in loss.parameters())
