"""Every loss of the registry: its description, settings, gradient and training, and that it is never nan.

Parametrised over the registry, so that a new loss is covered at once.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from commands import python
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize
from vectors import every_dtype, gradient

import siamese.losses
from siamese.config import CHOICES, Config
from siamese.errors import UserError
from siamese.evaluation import metrics
from siamese.losses.registry import LOSSES, names
from siamese.pairs.splits import Datasets
from siamese.training.batches import Prepared, data_generator
from siamese.training.objective import Objective
from siamese.training.train import train_model

every_loss = pytest.mark.parametrize("name", LOSSES)
every_in_batch = pytest.mark.parametrize("name", names("in-batch"))
every_labelled = pytest.mark.parametrize("name", names("labelled"))


def a_batch(name: str, seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw unit vectors (size, 5) in float64 for both sides, and what the loss's slot needs: `same` or labels."""
    generator = np.random.default_rng(seed)
    v1 = generator.normal(size=(size, 5))
    v2 = v1 + generator.normal(size=(size, 5))
    if LOSSES[name].slot == "in-batch":
        third = torch.from_numpy(generator.random((size, size)) < 0.2)
    else:
        third = torch.from_numpy(np.arange(size) % 2)
    return normalize(torch.from_numpy(v1)), normalize(torch.from_numpy(v2)), third


@every_loss
def test_it_says_what_it_is_in_a_line_each(name: str) -> None:
    loss = LOSSES[name]
    assert loss.name == name
    for text in (loss.formula, loss.needs, loss.source):
        assert text.strip() == text and text and "\n" not in text
    fields = {field.name for field in dataclasses.fields(Config)}
    assert set(loss.settings.values()) <= fields


@pytest.mark.slow
def test_the_list_costs_no_torch() -> None:
    for line in (
        "import siamese.losses.registry",
        "from siamese.losses import LOSSES; [loss.formula for loss in LOSSES.values()]",
        "from siamese.config import Config; Config()",
    ):
        code = f"{line}\nimport sys; assert 'torch' not in sys.modules, 'torch is loaded'"
        done = python("-c", code)
        assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    classes = {type(loss.make(Config())).__name__ for loss in LOSSES.values()}
    assert classes <= {getattr(siamese.losses, name).__name__ for name in siamese.losses.__all__ if name != "LOSSES"}
    with pytest.raises(AttributeError, match="'NoLoss'"):
        siamese.losses.NoLoss  # noqa: B018 (asking is the test)


@every_loss
def test_a_recipe_makes_it(name: str) -> None:
    loss = LOSSES[name].make(Config())
    assert isinstance(loss, torch.nn.Module)
    value = loss(*a_batch(name, 1, 8))
    assert value.shape == () and value.isfinite()


@every_loss
def test_by_itself_it_has_the_settings_of_a_recipe(name: str) -> None:
    """The defaults of the class and of `Config` are the same."""
    made, batch = LOSSES[name].make(Config()), a_batch(name, 1, 8)
    assert torch.equal(type(made)()(*batch), made(*batch))


SETTINGS = sorted({field for loss in LOSSES.values() for field in loss.settings.values()})


def another(field: str) -> Any:
    """Return a value of a field of the recipe that is not the default."""
    default = getattr(Config(), field)
    if field in CHOICES:
        return next(choice for choice in CHOICES[field] if choice != default)
    return not default if isinstance(default, bool) else 2 * default


@every_loss
def test_it_heeds_its_settings_and_no_others(name: str) -> None:
    recipe, batch = Config(), a_batch(name, 1, 8)
    before = LOSSES[name].make(recipe)(*batch)
    for field in SETTINGS:
        after = LOSSES[name].make(recipe.replace(**{field: another(field)}))(*batch)
        assert (after != before) == (field in LOSSES[name].settings.values()), field


@pytest.mark.parametrize("field", SETTINGS)
def test_a_recipe_refuses_nan_as_a_setting(field: str) -> None:
    """Of numbers too, which `config.RANGES` limits."""
    with pytest.raises(UserError, match="nan is not"):
        Config(**{field: math.nan})


def test_two_losses_of_a_recipe_add_up_with_a_weight(parts: Datasets) -> None:
    recipe = Config(embedding=4, hidden=4, batch_size=16, loss="matrix-bce", labelled="mse", labelled_weight=0.5)
    prepared = Prepared.of(recipe, parts.training)
    batch = next(iter(data_generator(prepared.pairs, recipe.batch_size, seed=1, epoch=0, negatives=True)))
    number = 2 * len(batch.b1) + 2 * len(batch.n1)
    vectors = normalize(torch.from_numpy(np.random.default_rng(1).normal(size=(number, 4))))
    both, one, other = (
        Objective(recipe.replace(**changes))(batch, vectors)
        for changes in ({}, {"labelled": "none"}, {"loss": "none", "labelled_weight": 1.0})
    )
    assert len(batch.n1) > 0 and one > 0 and other > 0
    assert both.item() == pytest.approx(one.item() + 0.5 * other.item())


@given(st.sampled_from(list(LOSSES)), st.integers(0, 999), st.integers(2, 8))
def test_neither_order_nor_rotation_matters(name: str, seed: int, size: int) -> None:
    loss, (v1, v2, third) = LOSSES[name].make(Config()), a_batch(name, seed, size)
    before = loss(v1, v2, third).item()
    assert before >= 0
    generator = np.random.default_rng(seed)
    order = generator.permutation(size)
    moved = third[order][:, order] if third.ndim == 2 else third[order]
    assert loss(v1[order], v2[order], moved).item() == pytest.approx(before, rel=1e-9, abs=1e-9)
    turn = torch.from_numpy(np.linalg.qr(generator.normal(size=(5, 5)))[0])
    assert loss(v1 @ turn, v2 @ turn, third).item() == pytest.approx(before, rel=1e-9, abs=1e-9)


@given(
    st.sampled_from(list(LOSSES)), st.sampled_from(["rows", "columns", "both"]), st.integers(0, 999), st.integers(2, 8)
)
def test_exchanging_the_sides_exchanges_rows_and_columns(name: str, anchors: str, seed: int, size: int) -> None:
    """The labelled losses have no rows; nothing changes there."""
    other = {"rows": "columns", "columns": "rows", "both": "both"}[anchors]
    v1, v2, third = a_batch(name, seed, size)
    before = LOSSES[name].make(Config(anchors=anchors))(v1, v2, third)
    after = LOSSES[name].make(Config(anchors=other))(v2, v1, third.T if third.ndim == 2 else third)
    assert after.item() == pytest.approx(before.item(), rel=1e-9, abs=1e-9)


@every_loss
def test_its_gradient_is_that_of_differences(name: str) -> None:
    """Along a random direction, of vectors and of what the loss learns; in float64."""
    loss, (v1, v2, third) = LOSSES[name].make(Config()).double(), a_batch(name, 2, 10)
    leaves = [v1.requires_grad_(), v2.requires_grad_(), *(p for p in loss.parameters() if p.requires_grad)]
    generator = np.random.default_rng(3)
    directions = [torch.tensor(generator.normal(size=leaf.shape)) for leaf in leaves]
    loss(v1, v2, third).backward()
    slope = sum((gradient(leaf) * way).sum().item() for leaf, way in zip(leaves, directions))
    values = []
    for step in (1e-6, -2e-6):  # forth, and back to the other side
        with torch.no_grad():
            for leaf, way in zip(leaves, directions):
                leaf += step * way
        values.append(loss(v1, v2, third).item())
    assert abs(slope) > 1e-3
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5)


def falling(values: list[float]) -> bool:
    return all(later < earlier for earlier, later in itertools.pairwise(values))


@every_in_batch
def test_it_falls_when_duplicates_get_closer(name: str) -> None:
    loss = LOSSES[name].make(Config())
    for seed in range(3):
        v1, v2, _ = a_batch(name, seed, 8)
        values = [loss(v1, normalize(v2 + closer * v1)).item() for closer in (0, 0.2, 0.5, 1)]
        assert falling(values), values


@every_labelled
def test_it_falls_when_duplicates_get_closer_and_others_move_apart(name: str) -> None:
    # A margin of 1.5: beyond it contrastive rightly cares no more.
    loss = LOSSES[name].make(Config(labelled_margin=1.5))
    for seed in range(3):
        v1, v2, mixed = a_batch(name, seed, 8)
        for labels, steps in ((torch.ones(8), (0, 0.2, 0.5)), (torch.zeros(8), (0, 0.2, 0.5)), (mixed, (0, 1))):
            # Both kinds in one leap: the mean over the hard pairs may rise for a while, when an easier one leaves it.
            way = (2 * labels - 1)[:, None] * v1
            values = [loss(v1, normalize(v2 + step * way), labels).item() for step in steps]
            assert falling(values), values


DEGENERATE = ["identical", "zero", "opposite", "zero beside others", "one pair", "no pairs"]


def degenerate(kind: str) -> tuple[Tensor, Tensor]:
    size = {"one pair": 1, "no pairs": 0}.get(kind, 5)
    v1 = torch.full((size, 4), 0.5)
    if kind == "zero":
        v1 = 0 * v1
    if kind == "zero beside others":
        v1[1:3] = 0
    return v1, -v1 if kind == "opposite" else v1.clone()


@pytest.mark.slow
@every_loss
@every_dtype
@pytest.mark.parametrize("kind", DEGENERATE)
def test_neither_value_nor_gradient_is_ever_nan(name: str, dtype: torch.dtype, kind: str) -> None:
    size = len(degenerate(kind)[0])
    none, everything, some = torch.zeros(size, size), torch.ones(size, size), torch.eye(size).roll(1, 0)
    thirds: list[Tensor | None]
    if LOSSES[name].slot == "in-batch":
        thirds = [None, none.bool(), everything.bool(), some.bool(), everything.bool().tril()]
    else:
        thirds = [torch.zeros(size), torch.ones(size), torch.arange(size) % 2]
    for third in thirds:
        v1, v2 = (v.to(dtype).requires_grad_() for v in degenerate(kind))
        loss = LOSSES[name].make(Config())
        if dtype == torch.float64:
            loss = loss.double()
        try:
            value = loss(v1, v2, third)
        except ValueError as error:
            assert size < 2 and f"batch of {size} pair" in str(error)  # said, and so no nan
            continue
        value.backward()
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert value.isfinite()
        for leaf in (v1, v2, *loss.parameters()):
            if leaf.grad is not None:
                assert leaf.grad.isfinite().all()
                # Nor as good as infinite: a vector of length 0 is no reason for a gradient of 1e10.
                assert leaf.grad.numel() == 0 or leaf.grad.abs().max() < 100


@every_loss
def test_long_vectors_are_no_nan_either(name: str) -> None:
    """Of no use, but a tower that runs away must be told by its loss."""
    v1, v2, third = a_batch(name, 5, 6)
    for dtype in (torch.bfloat16, torch.float32):
        a, b = ((1e4 * v).to(dtype).requires_grad_() for v in (v1, v2))
        value = LOSSES[name].make(Config())(a, b, third)
        value.backward()
        assert value.isfinite() and gradient(a).isfinite().all() and gradient(b).isfinite().all()


@every_loss
def test_half_precision_is_widened_first(name: str) -> None:
    v1, v2, third = a_batch(name, 4, 12)
    loss = LOSSES[name].make(Config())
    for dtype in (torch.bfloat16, torch.float16):
        rounded = loss(v1.to(dtype), v2.to(dtype), third)
        exact = loss(v1.to(dtype).float(), v2.to(dtype).float(), third)
        assert rounded.dtype == torch.float32 and torch.equal(rounded, exact)


@pytest.mark.ci
@every_loss
def test_it_trains_from_the_pairs_file(name: str, parts: Datasets) -> None:
    """Alone in its slot, with nothing in the other."""
    slots = {"loss": "none", "labelled": "none", {"in-batch": "loss", "labelled": "labelled"}[LOSSES[name].slot]: name}
    config = Config(embedding=16, hidden=16, batch_size=32, epochs=3, learning_rate=0.01, **slots)
    model = train_model(config, parts.training, parts.validation)
    values = [record["loss"] for record in model.facts["history"]]
    assert all(map(math.isfinite, values)) and falling(values), values
    similarity = model.similarity(parts.training.question1, parts.training.question2)
    assert metrics.roc_auc(parts.training.labels, similarity) > 0.55
