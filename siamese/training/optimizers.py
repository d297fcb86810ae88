"""Optimizers and learning-rate schedules of the presets."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from siamese.config import Config

WARMUP = 400  # steps, of the published Trax schedule
DISTILLED_WARMUP = 200  # steps of warmup-linear-decay, but at most a tenth of all


class Eager(torch.optim.Optimizer):
    """An optimizer that starts without torch.compile, whose import takes longer than that of torch itself.

    torch wraps these methods to keep them out of compiled code, and imports the compiler for it. Ours is not compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(Eager, torch.optim.Adam):
    """Adam as torch computes it."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class CourseAdam(Eager):
    """Adam as the frameworks of the published editions compute it; both differ from torch's.

    Trax: corrects the moments with the exponent step + 1, with steps from 1, and first multiplies the weights by
    1 − decay, not scaled by the learning rate. (trax/optimizers/adam.py)

    Keras: adds eps to the root of the second moment before the correction, the "epsilon hat" of section 2 of the Adam
    paper. (keras/src/optimizers/adam.py)
    """

    def __init__(self, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], lr: float, keras: bool) -> None:
        super().__init__(parameters, {"lr": lr})
        self.keras = keras
        self.beta1, self.beta2, self.eps, self.decay = 0.9, 0.999, 1e-7 if keras else 1e-5, 0.0 if keras else 1e-5

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.zeros(())
                    state["m"], state["v"] = torch.zeros_like(weight), torch.zeros_like(weight)
                state["step"] += 1
                m, v, step = state["m"], state["v"], int(state["step"])
                m.mul_(self.beta1).add_(weight.grad, alpha=1 - self.beta1)
                v.mul_(self.beta2).addcmul_(weight.grad, weight.grad, value=1 - self.beta2)
                power = step if self.keras else step + 1
                correction1, correction2 = 1 - self.beta1**power, 1 - self.beta2**power
                if self.keras:
                    update = m / (v.sqrt() + self.eps) * (correction2**0.5 / correction1)
                else:
                    update = (m / correction1) / ((v / correction2).sqrt() + self.eps)
                weight.mul_(1 - self.decay).sub_(group["lr"] * update)


def make_optimizer(
    config: Config, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """Return the optimizer that a recipe names. A `factor` of a group of parameters multiplies its learning rate."""
    if config.optimizer == "adam":
        # Large batches of a pile have less noise, so that a shorter memory of the squares serves.
        betas = (0.9, 0.99 if config.unlabelled else 0.999)
        return Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)
    return CourseAdam(parameters, config.learning_rate, keras=config.optimizer == "keras-adam")


def learning_rate(config: Config, step: int, steps: int) -> float:
    """Return the learning rate of step 1, 2, ... of `steps`."""
    if config.schedule in ("linear-decay", "warmup-linear-decay"):
        warm = 1 if config.schedule == "linear-decay" else max(1, min(DISTILLED_WARMUP, steps // 10))
        return config.learning_rate * min(1, step / warm) * (1 - (step - 1) / steps)
    if config.schedule == "warmup-rsqrt":
        knee = WARMUP + 1
        return config.learning_rate * (step / knee if step < knee else (knee / step) ** 0.5)
    return config.learning_rate
