"""Losses on questions without labels: v[i] is the vector of question i, y[i] the one that a teacher wants there.

Both are (n, d) floats of length 1 (or 0). Each loss returns a scalar.
"""

import torch
from torch import Tensor
from torch.nn import functional


def distance(v: Tensor, y: Tensor) -> Tensor:
    """Return the mean of 1 − cos(v, y)."""
    return (1 - (v * y).sum(1)).mean()


def neighbourhood(v: Tensor, y: Tensor, temperature: float = 0.05) -> Tensor:
    """Return how much the questions of a batch have other neighbours than the teacher gives them.

    The mean over i of KL(p ‖ q), where p = softmax over j ≠ i of y[i]·y[j] / temperature, and q the same of v.

    Source: Passalis, Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge Transfer".
    """
    same = torch.eye(len(v), dtype=torch.bool, device=v.device)
    wanted, found = (
        functional.log_softmax((x @ x.T / temperature).masked_fill(same, -1e4), dim=1) for x in (y, v)
    )  # not −∞, which would make 0 · ∞ of the diagonal
    return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
