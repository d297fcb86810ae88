"""Ways to train, multiply and encode that do one step a call, taken in turn, and what is derived from their steps."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from reports.measured import Spread
from reports.performance.rivals import Step
from siamese.config import Config
from siamese.text.ragged import Tokens, pad
from siamese.training.batches import Batch, PairTokens, data_generator
from siamese.training.loop import fast_and_repeatable
from siamese.training.objective import Objective
from siamese.training.optimizers import make_optimizer
from siamese.training.start import make_tower
from siamese.training.step import encode_batch, tensors

MM, ONEDNN = "torch.mm", "oneDNN"
PARTS = ("batch building", "forward", "loss with its gradient", "backward", "optimizer")
PATIENCE = 45.0  # seconds after which a slow way is left out of further rounds
CHUNK = 128  # questions that run through nn.LSTM together

Way = Callable[[], Step | None]
Steps = list[Step | None]


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    rounds: int  # of training and of the loss
    warm: int  # steps of each way before the clock counts
    few: int  # rounds of everything else


def interleave(ways: Mapping[str, Way], rounds: int, warm: int, what: str) -> dict[str, Steps]:
    """Take `rounds` steps of each way, one after the other in each round.

    Returns:
        The steps by way; None stands for a step that was left out because the way is slow or has stopped.
    """
    steps: dict[str, Steps] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    for i in tqdm(range(-warm, rounds), desc=what, file=sys.stderr):
        for name, way in ways.items():
            step = way() if spent[name] < PATIENCE or i in (0, 1) else None
            spent[name] += step.seconds if step else 0.0
            if i >= 0:
                steps[name].append(step)
    return steps


def rate(steps: Steps) -> Spread | None:
    """Return pairs or questions per second."""
    return Spread.of([step.count / step.seconds for step in steps if step])


def ratio(steps: Steps, other: Steps) -> Spread | None:
    """Return how many times as fast as the other way the steps are, round by round."""
    pairs = [(a, b) for a, b in zip(steps, other) if a and b]
    return Spread.of([a.count / a.seconds / (b.count / b.seconds) for a, b in pairs])


def share(steps: Steps, products: Steps) -> Spread | None:
    """Return the percentage of the limit: operations per second over those of the product in the same round."""
    both = [(s, p) for s, p in zip(steps, products) if s and p and s.flop]
    return Spread.of([100 * s.flop / s.seconds / (p.flop / p.seconds) for s, p in both])


def flop(tokens: int, distinct: int, embedding: int, hidden: int) -> float:
    """Return the operations of a training step's products.

    Each token meets W_hh and each distinct word W_ih; once forwards and twice backwards.
    """
    return 3 * 2 * 4 * hidden * (tokens * hidden + distinct * embedding)


def square(n: int, how: str) -> Way:
    """Return a float32 product of two n x n matrices as a way."""
    a, out = torch.randn(n, n), torch.empty(n, n)
    packed = a.to_mkldnn()
    product = {MM: lambda: torch.mm(a, a, out=out), ONEDNN: lambda: nn.functional.linear(packed, packed)}[how]
    return timed(product, 1, 2.0 * n**3)


def timed(work: Callable[[], Any], count: int, operations: float = 0.0) -> Callable[[], Step]:
    """Return any call as a way."""

    def way() -> Step:
        began = time.perf_counter()
        work()
        return Step(time.perf_counter() - began, count, operations)

    return way


class Trainer:
    """Train a tower on endless batches, one step a call, with everything that a step of `siamese.training` does.

    Args:
        config: the recipe.
        pairs: to train on.
        vocabulary: number of token ids.
        way: "ragged" as `siamese.training` does it; "chunks": nn.LSTM over sorted questions in padded chunks;
            "course": both sides padded to a power of two, two calls of nn.LSTM, the mean over the padding, torch's
            default Adam.
    """

    def __init__(self, config: Config, pairs: PairTokens, vocabulary: int, way: str = "ragged") -> None:
        self.config, self.way = config, way
        self.tower, self.objective = make_tower(config, vocabulary), Objective(config)
        weights = [*self.tower.parameters(), *self.objective.parameters()]
        course = way == "course"
        self.optimizer = torch.optim.Adam(weights, config.learning_rate) if course else make_optimizer(config, weights)
        self.batches = self._endless(pairs)

    def _endless(self, pairs: PairTokens) -> Iterator[Batch]:
        for epoch in itertools.count():
            yield from data_generator(
                pairs, self.config.batch_size, seed=1, epoch=epoch, negatives=self.config.labelled != "none"
            )

    def __call__(self) -> Step:
        if self.way == "course":
            return self._step()
        with fast_and_repeatable():
            return self._step()

    def _step(self) -> Step:
        clock = [time.perf_counter()]
        batch = next(self.batches)
        clock.append(time.perf_counter())
        vectors = self._encode(batch)
        clock.append(time.perf_counter())
        self.optimizer.zero_grad()
        leaf = vectors.detach().requires_grad_()  # cuts the backward pass in two, to time the loss's part
        value = self.objective(batch, leaf)
        assert torch.isfinite(value), "the loss is not finite"
        value.backward()
        clock.append(time.perf_counter())
        vectors.backward(leaf.grad)
        clock.append(time.perf_counter())
        self.optimizer.step()
        value.item()
        clock.append(time.perf_counter())
        sides = (batch.b1, batch.b2, batch.n1, batch.n2)
        tokens, distinct = sum(len(s.ids) for s in sides), len(np.unique(np.concatenate([s.ids for s in sides])))
        operations = flop(tokens, distinct, self.tower.lstm.input_size, self.tower.lstm.hidden_size)
        return Step(clock[-1] - clock[0], len(batch.b1) + len(batch.n1), operations, tuple(np.diff(clock).tolist()))

    def _encode(self, batch: Batch) -> Tensor:
        if self.way == "course":
            return torch.cat([self._padded(side) for side in pad(batch.b1, batch.b2, "power-of-two", 0)])
        if self.way == "chunks":
            return self._chunks(batch.b1.join(batch.b2))
        return encode_batch(self.tower, self.config, batch, 0)

    def _padded(self, side: Tokens) -> Tensor:
        ids = tensors(side, torch.device("cpu"))[0].view(len(side), -1)
        states, _ = self.tower.lstm(self.tower.embedding(ids))
        return nn.functional.normalize(states.mean(1), dim=1)

    def _chunks(self, tokens: Tokens) -> Tensor:
        ids, lengths = tensors(tokens, torch.device("cpu"))
        questions, order, means = ids.split(lengths.tolist()), lengths.argsort(descending=True), []
        for rows in order.split(CHUNK):
            padded = pad_sequence([questions[row] for row in rows], batch_first=True)
            states, _ = self.tower.lstm(self.tower.embedding(padded))
            real = torch.arange(padded.shape[1]) < lengths[rows, None]
            means.append((states * real[:, :, None]).sum(1) / lengths[rows, None])
        return nn.functional.normalize(torch.cat(means)[order.argsort()], dim=1)
