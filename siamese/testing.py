"""Checks for losses and towers of other packages, to call from their tests: `check_loss(MyLoss)`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from siamese.config import Config
from siamese.losses import registry
from siamese.losses.registry import Loss
from siamese.plugins import class_of
from siamese.towers.plugin import PluginTower, of_weights, shapes

CLOSE = 1e-4  # relative to 1 + the size of a number
Third = Tensor | None  # `same` of an in-batch loss, labels of a labelled one


def check_loss(loss: Any, *, symmetric: bool = False) -> tuple[str, ...]:
    """Check that a loss keeps its contract, and return the names of the properties that were checked.

    They are: a finite scalar for any batch, among them equal vectors, zero vectors, and batches without a negative or
    of one kind; the same value each time, from unchanged arguments; finite gradients, and right ones by differences;
    the order of the pairs does not matter; the loss falls along its gradient. If `forward` takes `own`, the parts of
    several processes add up to the whole.

    Args:
        loss: a class, made with the settings of the preset `best`, or an instance; an `InBatchLoss` or a `LabelledLoss`
            of `siamese.plugins`.
        symmetric: also check that the loss stays the same if the two sides are exchanged.

    Raises:
        AssertionError: the loss breaks a property; the message names both.
        UserError: the loss cannot be made.
    """
    return _run(_CheckedLoss(registry.describe(loss), symmetric), class_of(loss).__name__)


def check_tower(kind: type[nn.Module]) -> tuple[str, ...]:
    """Check that a tower keeps its contract, and return the names of the properties that were checked.

    They are: its shape and type for any question, an empty one too; a vector does not depend on the other questions of
    the batch; finite gradients; it is made on the device "meta", and its saved weights give the same vectors.

    Args:
        kind: the class, a `siamese.plugins.Tower`.

    Raises:
        AssertionError: the tower breaks a property; the message names both.
        UserError: the tower cannot be made, fails, or returns another shape or type.
    """
    return _run(_CheckedTower(kind), kind.__name__)


def _run(checked: Any, name: str) -> tuple[str, ...]:
    """Run the methods of a group whose names have no underscore in front; one that returns None has nothing to do."""
    done = []
    for method in vars(type(checked)):
        if not method.startswith("_") and (faults := getattr(checked, method)()) is not None:
            title = method.replace("_", " ")
            for fault in faults:
                raise AssertionError(f"{name}: {title}: {fault}")
            done.append(title)
    return tuple(done)


Faults = Iterator[str]  # of a property; the first one counts


@dataclass
class _CheckedLoss:
    """The properties of a loss, each a method that yields what breaks it."""

    _loss: Loss
    _symmetric: bool

    def finite_scalar(self) -> Faults:
        for what, v1, v2, third in self._batches():
            value = self._value(v1, v2, third)
            if not isinstance(value, Tensor) or value.shape != ():
                yield f"{what}: returned {getattr(value, 'shape', type(value).__name__)}, expected a scalar tensor"
            elif not value.isfinite():
                yield f"{what}: the loss is {value.item()}"

    def repeatable(self) -> Faults:
        for what, v1, v2, third in self._batches():
            before = [v1.clone(), v2.clone()]
            values = [self._value(v1, v2, third) for _ in range(2)]
            if not torch.equal(*values):
                yield f"{what}: two calls gave {values[0].item()} and {values[1].item()}"
            if not all(map(torch.equal, before, (v1, v2))):
                yield f"{what}: the vectors that it was given were changed"

    def finite_gradients(self) -> Faults:
        for what, v1, v2, third in self._batches():
            made, sides = self._made(), (v1.clone().requires_grad_(), v2.clone().requires_grad_())
            value = made(*sides, third)
            if not value.requires_grad:
                yield f"{what}: there is no gradient; the loss must be computed from the vectors by torch"
                return
            value.backward()
            for name, tensor in (("v1", sides[0]), ("v2", sides[1]), *made.named_parameters()):
                if tensor.grad is not None and not tensor.grad.isfinite().all():
                    yield f"{what}: the gradient of {name} is not finite"

    def right_gradients(self) -> Faults:
        made, step = self._made().double(), 1e-6
        for seed in range(3):
            v1, v2, third = self._batch(8, seed)
            sides = [v1.double().requires_grad_(), v2.double().requires_grad_()]
            gradients = torch.autograd.grad(made(*sides, third), sides, allow_unused=True)
            ways = [torch.randn(8, 5, dtype=torch.float64, generator=_generator(seed + 9)) for _ in sides]
            along = sum(float((g * way).sum()) for g, way in zip(gradients, ways) if g is not None)
            with torch.no_grad():
                ahead, behind = (
                    float(made(*(side + sign * step * way for side, way in zip(sides, ways)), third))
                    for sign in (1, -1)
                )
            if not _close(found := (ahead - behind) / (2 * step), along):
                yield f"along a line the gradient says {along:.6g}, differences say {found:.6g}"

    def order_of_the_pairs(self) -> Faults:
        for size in (3, 8):
            v1, v2, third = self._batch(size, size)
            order = torch.randperm(size, generator=_generator(size))
            moved = third[order] if third is not None and third.ndim == 1 else third
            if third is not None and third.ndim == 2:
                moved = third[order][:, order]
            one, other = self._value(v1, v2, third), self._value(v1[order], v2[order], moved)
            if not _close(float(one), float(other)):
                yield f"{size} pairs in another order give {float(other):.6g} instead of {float(one):.6g}"

    def symmetry(self) -> Faults | None:
        return self._symmetry() if self._symmetric else None

    def _symmetry(self) -> Faults:
        v1, v2, third = self._batch(8, 1)
        one, other = self._value(v1, v2, third), self._value(v2, v1, third)  # `same` is symmetric
        if not _close(float(one), float(other)):
            yield f"with the sides exchanged it is {float(other):.6g} instead of {float(one):.6g}"

    def falls_along_its_gradient(self) -> Faults:
        v1, v2, third = self._batch(8, 1)
        sides, made = [v1.clone().requires_grad_(), v2.clone().requires_grad_()], self._made()
        first = float(self._value(v1, v2, third))
        for _ in range(30):
            value = made(*map(normalize, sides), third)
            gradients = torch.autograd.grad(value, sides, allow_unused=True)
            with torch.no_grad():
                for side, gradient in zip(sides, gradients):
                    if gradient is not None:
                        side -= 0.05 * gradient / (1e-9 + gradient.norm())
        with torch.no_grad():
            last = float(made(*map(normalize, sides), third))
        if not last < first:
            yield f"after 30 steps down its gradient it is {last:.6g}, no less than {first:.6g} at first"

    def parts_of_processes(self) -> Faults | None:
        return self._parts() if self._loss.parts else None

    @torch.no_grad()
    def _parts(self) -> Faults:
        for size, cuts in ((8, (0, 3, 8)), (7, (0, 2, 4, 7))):
            v1, v2, third = self._batch(size, 1)
            made, parts = self._made(), 0.0
            for start, stop in pairwise(cuts):
                own = slice(start, stop)
                parts += float(made(v1, v2, None if third is None else third[own], own))
            if not _close(whole := float(made(v1, v2, third)), parts):
                yield f"the parts add up to {parts:.6g}, the whole is {whole:.6g}"

    def _made(self) -> nn.Module:
        return self._loss.make(Config())

    def _value(self, v1: Tensor, v2: Tensor, third: Third) -> Any:
        with torch.no_grad():
            return self._made()(v1, v2, third)

    def _batch(self, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw unit vectors (size, 5) of both sides, and labels of both kinds or a symmetric `same`."""
        generator = _generator(seed)
        v1 = torch.randn(size, 5, generator=generator)
        v2 = v1 + torch.randn(size, 5, generator=generator)
        third = torch.arange(size) % 2 == 0
        if self._loss.slot == "in-batch":
            third = torch.rand(size, size, generator=generator) < 0.1
            third = (third | third.T).fill_diagonal_(False)
        return normalize(v1), normalize(v2), third

    def _batches(self) -> Iterator[tuple[str, Tensor, Tensor, Third]]:
        """Yield batches that training can meet, with a word for each."""
        in_batch = self._loss.slot == "in-batch"
        for size in (2, 8):
            v1, v2, third = self._batch(size, size)
            yield f"a batch of {size}", v1, v2, third
            yield f"{size} pairs of equal vectors", v1, v1.clone(), third
            yield f"{size} times the same vector", v1[:1].repeat(size, 1), v1[:1].repeat(size, 1), third
            yield f"{size} pairs of zero vectors", torch.zeros_like(v1), torch.zeros_like(v2), third
            if in_batch:
                yield f"a batch of {size} without `same`", v1, v2, None
                alike = ~torch.eye(size, dtype=torch.bool)
                yield f"{size} pairs that are all known duplicates", v1, v2, alike
            else:
                for kind in (False, True):
                    what = f"{size} {'duplicates' if kind else 'non-duplicates'} alone"
                    yield what, v1, v2, torch.full((size,), kind)
        if not in_batch:
            yield "no pair", torch.zeros(0, 5), torch.zeros(0, 5), torch.zeros(0, dtype=torch.bool)


@dataclass
class _CheckedTower:
    """The properties of a tower, each a method that yields what breaks it."""

    _kind: type[nn.Module]

    def shape_and_numbers(self) -> Faults:
        for hidden in (8, 6):
            tower = self._tower(hidden)
            for what, lengths in (("questions", (3, 1, 5, 2)), ("an empty question", (0,)), ("a long one", (2_000,))):
                if not tower(*_tokens(lengths)).isfinite().all():
                    yield f"{what}: a number is not finite"

    def own_question_alone(self) -> Faults:
        lengths, encode = (3, 1, 5, 2, 5), self._encoder()
        ids, together = _tokens(lengths)[0], encode(*_tokens(lengths))
        for row, part in enumerate(ids.split(list(lengths))):
            alone = encode(part, torch.tensor([len(part)]))
            if (difference := float((alone - together[row]).abs().max())) > CLOSE:
                yield f"question {row} of {len(part)} tokens alone has another vector, by {difference:.3g}"

    def finite_gradients(self) -> Faults:
        tower = self._tower(8)
        tower(*_tokens((3, 1, 0, 5)))[:, 0].sum().backward()
        reached = {name: weight.grad for name, weight in tower.named_parameters() if weight.grad is not None}
        if not reached:
            yield "no weight gets a gradient"
        yield from (f"that of {name} is not finite" for name, grad in reached.items() if not grad.isfinite().all())

    def saved_weights(self) -> Faults:
        tower, sizes = self._tower(8), (50, 8, 8)
        weights = {name: weight.numpy() for name, weight in tower.state_dict().items()}
        if (planned := shapes(self._kind, sizes)) != {name: weight.shape for name, weight in weights.items()}:
            yield f"on the device meta its weights have the shapes {planned}"
        loaded = of_weights(self._kind, sizes, 2, weights)
        with torch.no_grad():
            if not torch.equal(loaded(*_tokens((3, 1, 5))), tower.eval()(*_tokens((3, 1, 5)))):
                yield "the vectors are others after the weights were saved and loaded"

    def _tower(self, hidden: int) -> PluginTower:
        torch.manual_seed(1)
        return PluginTower(self._kind, 50, 8, hidden, 2)

    def _encoder(self) -> Callable[[Tensor, Tensor], Tensor]:
        return torch.no_grad()(self._tower(8).eval())


def _tokens(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return ids of known words, (total,), and the lengths, (n,), of questions."""
    return torch.randint(2, 50, (sum(lengths),), generator=_generator(len(lengths))), torch.tensor(lengths)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * (1 + abs(one))
