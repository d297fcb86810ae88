"""The gradients of a large batch in the memory of a small one.

An in-batch loss needs the vectors of the whole batch, but a transformer's graph of the whole batch is what fills the
memory. So: the vectors of all parts without a graph; the loss, and its gradient dL/dv of each vector v; then part by
part the vectors again, with a graph, through which the part's rows of dL/dv go back to the weights. By the chain rule

    dL/dw  =  Σ over the vectors v of  dL/dv · dv/dw

these are the gradients of the whole batch, for one more forward pass. The tower must give the same vectors both times:
ours has no dropout.

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
    """Add the gradients of a loss to those of the weights, as `loss_of(cat([encode(p) for p in parts])).backward()`.

    Args:
        encode: the vectors of a part, (n, d); the same whenever it is called.
        parts: of a batch, one at least.
        loss_of: a scalar of all vectors, those of the first part first; its own weights get gradients too.
        partly: a context for all parts but the last: in it, processes do not yet send each other their gradients.

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
