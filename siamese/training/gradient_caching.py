"""The gradients of a large batch in the memory of a small one.

An in-batch loss needs the vectors of the whole batch, but the graph of a whole batch of a transformer does not fit into
memory. So compute the vectors of all parts without a graph, then the loss and its gradient dL/dv for each vector v.
Then compute the vectors again part by part, with a graph that carries their rows of dL/dv back to the weights. By the
chain rule

    dL/dw  =  Σ over the vectors v of  dL/dv · dv/dw

these are the gradients of the whole batch, at the cost of one more forward pass. The tower must give the same vectors
both times, so it has no dropout.

Source: Gao, Zhang, Han, Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


def backward(
    encode: Callable[[Part], Tensor],
    parts: Sequence[Part],
    loss_of: Callable[[Tensor], Tensor],
    partly: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Add gradients to those of the weights, as `loss_of(cat([encode(p) for p in parts])).backward()` does.

    Args:
        encode: returns the vectors of a part, (n, d), the same at each call.
        parts: of a batch, at least one.
        loss_of: returns the loss of all vectors, in the order of the parts; its own weights get gradients too.
        partly: context for all parts but the last, in which processes do not exchange gradients yet.

    Returns:
        The loss, without a graph.
    """
    with torch.no_grad():
        cached = [encode(part) for part in parts]
    vectors = torch.cat(cached).requires_grad_()
    loss = loss_of(vectors)
    loss.backward()
    assert vectors.grad is not None
    gradients = vectors.grad.split([len(rows) for rows in cached])
    with partly():
        for part, gradient in zip(parts[:-1], gradients):
            encode(part).backward(gradient)
    encode(parts[-1]).backward(gradients[-1])
    return loss.detach()
