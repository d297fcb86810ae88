"""Compare a sentence encoder with the model: scores on the same pairs, speed and size."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.config import PACKAGED
from siamese.evaluation.evaluate import Setting
from siamese.model.encoders import source_of
from siamese.model.folder import FILES, TOKENIZER, is_model
from siamese.model.packaged import model_folder_of
from siamese.model.similarity import cosine
from siamese.system.progress import CountBar
from siamese.towers.encoders import Encode, load_encoder
from siamese.towers.places import folder_of

QUESTIONS = 400  # encoded in a round
ROUNDS = 5
QUESTIONS_AT_A_TIME = 1_024  # between two updates of the progress bar
# Other formats of the same weights, which a hub keeps in the same folder.
COPIES = {".bin", ".onnx", ".h5", ".ot", ".msgpack", ".xml", ".mlmodel"}


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Speed and size of a sentence encoder beside those of a model."""

    ours: float  # speed of the model in questions/s: the median over rounds in which the two take turns
    theirs: float
    ratio: float  # median of the rounds' ratios
    questions: int  # in a round
    rounds: int
    name: str
    our_bytes: int
    their_bytes: int | None  # None: not found


class ComparedEncoder:
    """A sentence encoder to compare with the model."""

    def __init__(self, name: str, encode: Encode | None = None) -> None:
        """Take a name as in `load_encoder`, and load the encoder unless its function is given."""
        self.source, self.name, self.encode = name, Path(name).name, encode or load_encoder(name)

    def similarity(self, questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
        """Return the cosine of each pair, (n,) float64. A progress bar goes to stderr."""
        distinct = sorted({*questions1, *questions2}, key=lambda question: (len(question), question))
        vectors = []
        with CountBar("questions") as bar:
            for start in range(0, len(distinct), QUESTIONS_AT_A_TIME):  # sorted by length: less padding
                vectors.append(self.encode(distinct[start : start + QUESTIONS_AT_A_TIME]))
                bar(min(start + QUESTIONS_AT_A_TIME, len(distinct)), len(distinct))
        number = {question: i for i, question in enumerate(distinct)}
        return cosine(np.concatenate(vectors), [number[q] for q in questions1], [number[q] for q in questions2])

    def beside(self, setting: Setting, folder: str) -> Beside:
        """Measure speed and size of the encoder and of the setting's model, which is in `folder`."""
        questions = sample(setting.pairs.question1, setting.pairs.question2)
        ours, theirs, ratio = speeds(setting.model.encode, self.encode, questions)
        return Beside(
            ours=ours, theirs=theirs, ratio=ratio, questions=len(questions), rounds=ROUNDS, name=self.name,
            our_bytes=model_bytes(folder), their_bytes=encoder_bytes(self.source),
        )  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """Run numpy and torch on one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def speeds(
    ours: Encode, theirs: Encode, questions: Sequence[str], rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:  # fmt: skip
    """Time two encoders on the same questions, in turn, on one thread. Return their questions/s and the ratio."""
    seconds = np.zeros((rounds, 2))
    with one_thread():
        for encode in (ours, theirs):
            encode(questions[:8])  # warm up
        for row in seconds:
            for side, encode in enumerate((ours, theirs)):
                began = clock()
                encode(questions)
                row[side] = clock() - began
    fast, slow = (len(questions) / np.median(seconds, axis=0)).tolist()
    return fast, slow, float(np.median(seconds[:, 1] / seconds[:, 0]))


def sample(questions1: Sequence[str], questions2: Sequence[str], count: int = QUESTIONS) -> list[str]:
    """Return up to `count` distinct questions, evenly spaced among all of them."""
    distinct = list(dict.fromkeys([*questions1, *questions2]))
    chosen = np.linspace(0, len(distinct) - 1, min(count, len(distinct))).round().astype(int)
    return [distinct[i] for i in chosen]


def model_bytes(folder: str | Path) -> int:
    """Return the size of a model's files; `folder` may be that of a packaged model, or the name of an encoder."""
    if str(folder) not in PACKAGED and not is_model(folder):
        return encoder_bytes(source_of(str(folder))) or 0
    folder = model_folder_of(folder)
    return sum((folder / name).stat().st_size for name in (*FILES, TOKENIZER) if (folder / name).is_file())


def encoder_bytes(name: str) -> int | None:
    """Return the size of an encoder's files, without copies of its weights, or None if they are not on this machine."""
    folder = folder_of(name)
    if folder is None:
        return None
    files = [path for path in folder.rglob("*") if path.is_file()]
    if any(path.suffix == ".safetensors" for path in files):
        files = [path for path in files if path.suffix not in COPIES]
    return sum(path.stat().st_size for path in files)
