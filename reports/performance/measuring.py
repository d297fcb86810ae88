"""Measuring for the benchmark: ways that do one step a call, taken in turn, and what is derived from their steps."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from reports.performance.report_writer import Spread
from reports.performance.rivals import BATCH, ROOT, Step
from siamese.config import Config
from siamese.errors import DataError
from siamese.losses import TripletLossFn
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.text.tokenizer import Tokenizer
from siamese.text.tokens import Tokens, pad
from siamese.towers import lstm
from siamese.towers.lstm_tower import ROWS
from siamese.training.batches import Batch, PairTokens, data_generator
from siamese.training.loop import denormals_flushed, make_tower
from siamese.training.objective import Objective
from siamese.training.optimizers import make_optimizer
from siamese.training.preparation import learn_tokenizer, prepare
from siamese.training.step import encode_batch, tensors

MM, ONEDNN = "torch.mm", "oneDNN"
PARTS = ("batch building", "forward", "loss with its gradient", "backward", "optimiser")
PATIENCE = 45.0  # seconds after which a slow way is left out of further rounds

TRIPLET = Config(batch_size=BATCH, skip=False, labelled="none")

Way = Callable[[], Step | None]


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    rounds: int  # of training
    warm: int  # steps of each way before the clock counts
    loss_rounds: int
    questions: int  # a step of encoding
    encode_rounds: int
    cold: int  # starts of `predict`
    products: int
    growth_steps: int
    points: int  # sizes a curve of growth
    pairs: tuple[int, ...]  # to prepare


@dataclass(frozen=True)
class Corpus:
    """A file of pairs, ready for all sections."""

    pairs: Pairs
    tokenizer: Tokenizer
    tokens: PairTokens

    @classmethod
    def read(cls, path: str) -> "Corpus":
        pairs = read_pairs(path)
        tokenizer = learn_tokenizer(TRIPLET, pairs)
        tokens = prepare(pairs, tokenizer)
        if (tokens.labels == 1).sum() < 2:
            raise DataError(f"{path}: fewer than two duplicate pairs; a step needs two")
        return cls(pairs, tokenizer, tokens)

    def trainer(self, config: Config, way: str = "ragged") -> "Trainer":
        return Trainer(config, self.tokens, len(self.tokenizer), way)

    def questions(self) -> list[str]:
        """The distinct ones, in a fixed order that has nothing to do with their text."""
        return sorted({*self.pairs.question1, *self.pairs.question2}, key=hash_of)


def hash_of(question: str) -> bytes:
    """What the questions are ordered by."""
    return hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def interleave(ways: Mapping[str, Way], rounds: int, warm: int, what: str) -> dict[str, list[Step | None]]:
    """`rounds` steps of each way, one after the other in each round; None where a way was left out or stopped."""
    steps: dict[str, list[Step | None]] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    for i in tqdm(range(-warm, rounds), desc=what, file=sys.stderr):
        for name, way in ways.items():
            step = way() if spent[name] < PATIENCE or i in (0, 1) else None
            spent[name] += step.seconds if step else 0.0
            if i >= 0:
                steps[name].append(step)
    return steps


def rate(steps: list[Step | None]) -> Spread | None:
    """Pairs or questions a second."""
    return Spread.of([step.count / step.seconds for step in steps if step])


def ratio(steps: list[Step | None], other: list[Step | None]) -> Spread | None:
    """How many times as fast as the other way, round by round."""
    pairs = [(a, b) for a, b in zip(steps, other) if a and b]
    return Spread.of([a.count / a.seconds / (b.count / b.seconds) for a, b in pairs])


def share(steps: list[Step | None], products: list[Step | None], flop_a_pair: float | None = None) -> Spread | None:
    """Percent of the limit: operations a second over those of the product of the same round."""
    both = [(s, p) for s, p in zip(steps, products) if s and p]
    done = [(s.count * flop_a_pair if flop_a_pair else s.flop) / s.seconds for s, _ in both]
    return Spread.of([100 * d / (p.flop / p.seconds) for d, (_, p) in zip(done, both)])


def flop(tokens: int, distinct: int, embedding: int, hidden: int) -> float:
    """Operations of a step's products: each token meets W_hh, each distinct word W_ih; once forwards, twice back."""
    return 3 * 2 * 4 * hidden * (tokens * hidden + distinct * embedding)


def square(n: int, how: str) -> Way:
    """A float32 product of two n x n matrices, as a way."""
    a, out = torch.randn(n, n), torch.empty(n, n)
    b, c = a.numpy(), out.numpy()
    products: dict[str, Callable[[], Any]] = {
        MM: lambda: torch.mm(a, a, out=out),
        ONEDNN: lambda: lstm._times(a, a, a.dtype),
        "numpy": lambda: np.matmul(b, b, out=c),
    }
    return timed(products[how], 1, 2.0 * n**3)


def timed(work: Callable[[], Any], count: int, operations: float = 0.0) -> Callable[[], Step]:
    """Any call, as a way."""

    def way() -> Step:
        began = time.perf_counter()
        work()
        return Step(time.perf_counter() - began, count, operations)

    return way


class Trainer:
    """Trains a tower on endless batches, one step a call, with everything that a step of `siamese.training` does.

    Args:
        config: the recipe.
        pairs: what to train on.
        vocabulary: number of token ids.
        way: "ragged" as the product does; "chunks": nn.LSTM over sorted questions in padded chunks; "course":
            both sides padded to a power of two, two calls of nn.LSTM, the mean over the padding, torch's default Adam.
    """

    def __init__(self, config: Config, pairs: PairTokens, vocabulary: int, way: str = "ragged") -> None:
        self.config, self.way = config, way
        self.tower, self.objective = make_tower(config, vocabulary), Objective(config)
        if way == "chunks":
            self.tower._means = self.tower._means_padded  # type: ignore[method-assign]
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
        with denormals_flushed():
            return self._step()

    def _step(self) -> Step:
        clock = [time.perf_counter()]
        batch = next(self.batches)
        clock.append(time.perf_counter())
        vectors = self._course(batch) if self.way == "course" else encode_batch(self.tower, self.config, batch, 0)
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
        operations = flop(tokens, distinct, self.config.embedding, self.config.hidden)
        return Step(clock[-1] - clock[0], len(batch.b1) + len(batch.n1), operations, tuple(np.diff(clock).tolist()))

    def _course(self, batch: Batch) -> Tensor:
        vectors = []
        for side in pad(batch.b1, batch.b2, "power-of-two", 0):
            ids = tensors(side, torch.device("cpu"))[0].view(len(side), -1)
            states, _ = self.tower.lstm(self.tower.embedding(ids))
            vectors.append(nn.functional.normalize(states.mean(1), dim=1))
        return torch.cat(vectors)


def computed_per_token(batch: Batch, way: str) -> float:
    """Tokens that run through the LSTM for each real one."""
    lengths = np.concatenate((batch.b1.lengths, batch.b2.lengths))
    if way == "course":
        return sum(len(side.ids) for side in pad(batch.b1, batch.b2, "power-of-two", 0)) / lengths.sum()
    if way == "chunks":
        chunks = np.split(np.sort(lengths)[::-1], range(ROWS, len(lengths), ROWS))
        return sum(int(chunk[0]) * len(chunk) for chunk in chunks) / lengths.sum()
    ids, parts = tensors(batch.b1.join(batch.b2), torch.device("cpu"))
    packed = lstm._pack(ids, parts, int(ids.max()) + 1, torch.get_num_threads())[2]
    return sum(sum(counts) for _, _, counts in packed) / lengths.sum()


def outside_operators(trainer: Trainer, steps: int) -> tuple[float, float] | None:
    """Percent of a step in which no torch operator runs: Python and bookkeeping; None where torch cannot tell.

    By the profiler over all threads: the wall time less that of the main thread's operators, less that of
    the busiest thread of the LSTM's team, which the main thread waits for. The wall time of steps
    without the profiler gives the lower figure, of those with it the upper one.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes between the progress bars
    from torch.profiler import ProfilerActivity, profile

    try:
        everywhere = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    except (AttributeError, TypeError):
        return None
    plain = sum(trainer().seconds for _ in range(steps))
    with profile(activities=[ProfilerActivity.CPU], experimental_config=everywhere) as profiler:
        wall = sum(trainer().seconds for _ in range(steps))
    inside: dict[int, float] = {}
    ends: dict[int, float] = {}
    for event in sorted(profiler.events() or [], key=lambda event: event.time_range.start):
        if event.name.startswith(("aten::", "mkldnn::")):
            start, end = event.time_range.start, event.time_range.end
            begin = max(start, ends.get(event.thread, 0.0))
            inside[event.thread] = inside.get(event.thread, 0.0) + max(0.0, end - begin)
            ends[event.thread] = max(end, ends.get(event.thread, 0.0))
    if not inside:
        return None
    main = min(inside)  # threads are numbered as they are first seen
    team = max((busy for thread, busy in inside.items() if thread != main), default=0.0)
    busy = (inside[main] + team) / 1e6
    return max(0.0, 100 * (1 - busy / plain)), max(0.0, 100 * (1 - busy / wall))


# In a process of its own, so that a peak of memory is its own


def apart(function: str, *arguments: Any) -> Any:
    """The result of a function of this module, called in a new process."""
    code = (
        "import json, sys; from reports.performance import measuring as m; "
        "print(json.dumps(getattr(m, sys.argv[1])(*json.loads(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, function, json.dumps(arguments)]
    environment = os.environ | {"PYTHONPATH": ROOT}
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def peak() -> float:
    """The highest resident MB of this process so far; nan where the system does not say."""
    try:  # not ru_maxrss, which a new process takes over from the one that started it
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return float("nan")


def preparation(paths: list[str]) -> list[tuple[float, float]]:
    """Seconds and peak MB of reading, tokenizing and preparing each file, smallest first."""
    results = []
    for path in paths:
        began = time.perf_counter()
        pairs = read_pairs(path)
        prepare(pairs, learn_tokenizer(Config(), pairs))
        results.append((time.perf_counter() - began, peak()))
    return results


def generated(axis: str, sizes: list[int], steps: int) -> list[tuple[list[float], float]]:
    """Seconds of each training step, and the peak MB, at each size, smallest first; on generated words."""
    results = []
    for size in sizes:
        at = {"tokens a question": 12, "batch size": 512, "words in the vocabulary": 40_000, "numbers a vector": 128}
        at[axis] = size
        length, batch, vocabulary, width = at.values()
        random = np.random.default_rng(1)
        lengths = random.poisson(length - 1, 4 * batch) + 1
        ids = 2 + (vocabulary - 2) * random.random(lengths.sum()) ** 6  # few words are frequent
        tokens = Tokens(ids.astype(np.int32), np.concatenate(([0], lengths.cumsum())))
        first, second = tokens.take(np.arange(2 * batch)), tokens.take(np.arange(2 * batch, 4 * batch))
        pairs = PairTokens(first, second, np.ones(2 * batch, np.int8), np.arange(2 * batch))
        config = Config(batch_size=batch, embedding=width, hidden=width, skip=False, labelled="none")
        trainer = Trainer(config, pairs, vocabulary)
        seconds = [trainer().seconds for _ in range(steps + 1)][1:]
        results.append((seconds, peak()))
    return results


def loss_memory(batch: int) -> float:
    """Peak MB of the triplet loss on rows and columns, known duplicates left out, forwards and backwards."""
    v1, v2 = (nn.functional.normalize(torch.randn(batch, 128), dim=1).requires_grad_() for _ in range(2))
    TripletLossFn(v1, v2, same=torch.zeros(batch, batch, dtype=torch.bool)).backward()
    return peak()
