"""The course's optimisers and learning rates, against arithmetic that can be followed by hand."""

from typing import Any

import pytest
import torch
from commands import python
from torch import nn

from siamese.config import PRESETS, Config
from siamese.training.optimizers import learning_rate, make_optimizer

GRADIENTS = (1.0, -2.0, 3.0)


def steps(config: Config, gradients: tuple[float, ...], start: float = 1.0, rate: float = 0.01) -> list[float]:
    """Return the weight after each step from `start`, in float64."""
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = make_optimizer(config.replace(learning_rate=rate), [weight])
    seen = []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        seen.append(weight.item())
    return seen


# Both courses: beta1 = 0.9, beta2 = 0.999, learning rate 0.01, and from the gradients 1, -2, 3
#   m1 = 0.1·1                    =  0.1      v1 = 0.001·1                      = 0.001
#   m2 = 0.9·0.1  + 0.1·(-2)      = -0.11     v2 = 0.999·0.001    + 0.001·4     = 0.004999
#   m3 = 0.9·(-0.11) + 0.1·3      =  0.201    v3 = 0.999·0.004999 + 0.001·9     = 0.013994001


@pytest.mark.parametrize("preset", ["course-trax-2020", "course-trax-2021"])
def test_three_steps_of_trax(preset: str) -> None:
    # trax/optimizers/adam.py: w ← (1 - 1e-5)·w - 0.01·M / (√V + 1e-5), with
    # M = m / (1 - 0.9^(step+1)) and V = v / (1 - 0.999^(step+1)), steps counted from 1.
    #   1: M =  0.1   / (1 - 0.81)   =  0.526315789   V = 0.001       / 0.001999       = 0.500250125   √V = 0.707283624
    #      w = 0.99999·1           - 0.01· 0.526315789 / 0.707293624 = 0.992548737
    #   2: M = -0.11  / (1 - 0.729)  = -0.405904059   V = 0.004999    / 0.002997001    = 1.668000778   √V = 1.291511045
    #      w = 0.99999·0.992548737 + 0.01· 0.405904059 / 1.291521045 = 0.995681649
    #   3: M =  0.201 / (1 - 0.6561) =  0.584472230   V = 0.013994001 / 0.003994003999 = 3.503752416   √V = 1.871831289
    #      w = 0.99999·0.995681649 - 0.01· 0.584472230 / 1.871841289 = 0.992549247
    expected = [0.992548737, 0.995681649, 0.992549247]
    assert steps(PRESETS[preset], GRADIENTS) == pytest.approx(expected, rel=0, abs=1e-9)


def test_three_steps_of_keras() -> None:
    # Keras: w ← w - a·m / (√v + 1e-7), with a = 0.01·√(1 - 0.999^step) / (1 - 0.9^step), steps counted from 1.
    #   1: a = 0.01·0.0316227766 / 0.1   = 0.00316227766   m / (√v + 1e-7) =  0.1   / 0.0316228766 =  3.162267660
    #      w = 1           - 0.009999968 = 0.990000032
    #   2: a = 0.01·0.0447101778 / 0.19  = 0.00235316725   m / (√v + 1e-7) = -0.11  / 0.0707037067 = -1.555788305
    #      w = 0.990000032 + 0.003661030 = 0.993661062
    #   3: a = 0.01·0.0547448719 / 0.271 = 0.00202010597   m / (√v + 1e-7) =  0.201 / 0.1182963425 =  1.699122692
    #      w = 0.993661062 - 0.003432408 = 0.990228654
    expected = [0.990000032, 0.993661062, 0.990228654]
    assert steps(PRESETS["course-tensorflow"], GRADIENTS) == pytest.approx(expected, rel=0, abs=1e-9)


def test_trax_decay_does_not_depend_on_the_learning_rate() -> None:
    # Without a gradient nothing but the decay moves the weight: 2·0.99999 = 1.99998, then 1.99998·0.99999.
    for rate in (0.0, 0.01, 1.0):
        assert steps(PRESETS["course-trax-2021"], (0.0, 0.0), 2.0, rate) == pytest.approx(
            [1.99998, 1.9999600002], abs=1e-13
        )
    assert steps(PRESETS["course-tensorflow"], (0.0, 0.0), 2.0) == [2.0, 2.0]


@pytest.mark.slow
def test_adam_is_torchs() -> None:
    # Textbook Adam, eps 1e-8 outside the correction: the first step is 0.01·g/(|g| + 1e-8), so the weight is 0.99 and
    # a little more; the rest is torch's own arithmetic.
    weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=0.01)
    expected = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        expected.append(weight.item())
    assert expected[0] == pytest.approx(0.99 + 1e-10, abs=1e-12)
    assert steps(Config(optimizer="adam"), GRADIENTS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.ci
@pytest.mark.slow
def test_a_training_starts_without_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from siamese.config import PRESETS\n"
        "from siamese.training.loop import fast_and_repeatable\n"
        "from siamese.training.optimizers import make_optimizer\n"
        "for preset in PRESETS.values():\n"
        "    weight = torch.nn.Parameter(torch.ones(1))\n"
        "    with fast_and_repeatable():\n"
        "        optimizer = make_optimizer(preset, [weight])\n"
        "        weight.sum().backward()\n"
        "        optimizer.step()\n"
        "        optimizer.zero_grad()\n"
        "        optimizer.load_state_dict(optimizer.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_a_matrix_moves_as_its_cells_do() -> None:
    """The optimisers work cell by cell, so the hand-made numbers hold for a whole table."""
    for preset in ("course-trax-2021", "course-tensorflow"):
        config = PRESETS[preset]
        weights = nn.Parameter(torch.tensor([[1.0, -0.5], [0.0, 2.0]], dtype=torch.float64))
        optimizer = make_optimizer(config, [weights])
        gradients = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
        for factor in (1.0, -1.0):
            weights.grad = factor * gradients
            optimizer.step()
        for start, gradient, end in zip(
            [1.0, -0.5, 0.0, 2.0], gradients.flatten().tolist(), weights.flatten().tolist()
        ):
            assert steps(config, (gradient, -gradient), start)[-1] == pytest.approx(end, rel=1e-12)


def test_a_run_goes_on_from_its_saved_state() -> None:
    """The step is part of the state: an optimiser made anew and loaded makes the same third step."""
    for preset in ("course-trax-2021", "course-tensorflow"):
        weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        optimizer = make_optimizer(PRESETS[preset], [weight])
        for gradient in GRADIENTS:
            state = optimizer.state_dict()
            optimizer = make_optimizer(PRESETS[preset], [weight])
            optimizer.load_state_dict(state)
            weight.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
        assert weight.item() == steps(PRESETS[preset], GRADIENTS)[-1]


def test_published_learning_rates(course: dict[str, Any]) -> None:
    published = course["learning_rate"]
    for preset in ("course-trax-2020", "course-trax-2021"):
        for step, value in published["trax"]["values"].items():
            found = learning_rate(PRESETS[preset], int(step), 50_000)
            assert found == pytest.approx(value, rel=2e-4), step  # four digits are printed
    for step in (1, 400, 50_000):
        assert learning_rate(PRESETS["course-tensorflow"], step, 50_000) == published["tensorflow"]


def test_warm_up_then_one_over_the_square_root() -> None:
    # 0.01·1/401, 0.01·400/401, 0.01, 0.01·√(401/402), 0.01·√(401/1604) = 0.01·√¼; the run's length plays no part.
    expected = {1: 2.4937656e-5, 400: 0.00997506234, 401: 0.01, 402: 0.00998755447, 1604: 0.005}
    for steps_in_all in (1, 10_000):
        for step, value in expected.items():
            found = learning_rate(PRESETS["course-trax-2021"], step, steps_in_all)
            assert found == pytest.approx(value, rel=1e-8), step


def test_linear_decay() -> None:
    # From the whole rate in the first of 4 steps down in equal parts: 4/4, 3/4, 2/4, 1/4 of 0.008.
    config = Config(schedule="linear-decay", learning_rate=0.008)
    assert [learning_rate(config, step, 4) for step in (1, 2, 3, 4)] == pytest.approx([0.008, 0.006, 0.004, 0.002])
    assert learning_rate(config, 1, 1) == 0.008
