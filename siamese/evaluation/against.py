"""A sentence encoder beside the model: its cosines of the same pairs, its speed and its size."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from siamese.config import PRETRAINED
from siamese.evaluation.setting import Setting
from siamese.model.folder import FILES, TOKENIZER
from siamese.model.model import SHIPPED
from siamese.model.similarity import cosine
from siamese.system.progress import CountBar
from siamese.towers.encoders import Encode, carried, load_encoder

QUESTIONS = 400  # that both encode in a round
ROUNDS = 5
BLOCK = 1_024  # questions between two reports of progress
# Other forms of the same weights, which lie beside them in folders of a hub.
COPIES = {".bin", ".onnx", ".h5", ".ot", ".msgpack", ".xml", ".mlmodel"}


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Questions a second of two encoders, medians over rounds in which they took turns."""

    ours: float
    theirs: float
    ratio: float  # the median of the rounds' ratios
    questions: int  # in a round
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Beside(Speeds):
    """Speed and size of a sentence encoder beside those of a model."""

    name: str
    our_bytes: int
    their_bytes: int | None  # None: not found


class ComparedEncoder:
    """A sentence encoder, by the name that `teacher.load_encoder` knows it by.

    Args:
        name: an installed package with its model, a folder, or a name of the hub.
        encode: the function itself, where it is not to be loaded.
    """

    def __init__(self, name: str, encode: Encode | None = None) -> None:
        self.source = name
        self.name = Path(name).name  # of a folder or a hub's name, the last part
        self.encode = encode or load_encoder(name)

    def similarity(self, questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
        """The cosine of each pair, each distinct question encoded once; (n,) float64. A bar on stderr shows how far."""
        distinct = sorted({*questions1, *questions2}, key=lambda question: (len(question), question))
        blocks = []
        with CountBar("questions") as bar:
            for start in range(0, len(distinct), BLOCK):  # of similar lengths, which spares padding
                blocks.append(self.encode(distinct[start : start + BLOCK]))
                bar(min(start + BLOCK, len(distinct)), len(distinct))
        number = {question: i for i, question in enumerate(distinct)}
        return cosine(np.concatenate(blocks), [number[q] for q in questions1], [number[q] for q in questions2])

    def beside(self, setting: Setting, folder: str) -> Beside:
        """Measure speed and size beside a model, whose folder is given."""
        questions = sample(setting.pairs.question1, setting.pairs.question2)
        measured = speeds(setting.model.encode, self.encode, questions)
        return Beside(**asdict(measured), name=self.name, our_bytes=model_bytes(folder),
                      their_bytes=encoder_bytes(self.source))  # fmt: skip


@contextmanager
def one_thread() -> Iterator[None]:
    """numpy and torch compute on one thread within."""
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
    ours: Encode,
    theirs: Encode,
    questions: Sequence[str],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Speeds:
    """Measure two encoders on the same questions, in turn, round by round, on one thread."""
    seconds = np.zeros((rounds, 2))
    with one_thread():
        for encode in (ours, theirs):
            encode(questions[:8])  # what loads at the first call
        for row in seconds:
            for side, encode in enumerate((ours, theirs)):
                began = clock()
                encode(questions)
                row[side] = clock() - began
    fast, slow = len(questions) / np.median(seconds, axis=0)
    ratio = float(np.median(seconds[:, 1] / seconds[:, 0]))
    return Speeds(ours=float(fast), theirs=float(slow), ratio=ratio, questions=len(questions), rounds=rounds)


def sample(questions1: Sequence[str], questions2: Sequence[str], count: int = QUESTIONS) -> list[str]:
    """Some of the distinct questions of pairs, evenly from all of them."""
    distinct = list(dict.fromkeys([*questions1, *questions2]))
    chosen = np.linspace(0, len(distinct) - 1, min(count, len(distinct))).round().astype(int)
    return [distinct[i] for i in chosen]


def model_bytes(folder: str | Path) -> int:
    """The bytes of the files that a model of ours is loaded from, given by its folder or as "pretrained"."""
    folder = SHIPPED if str(folder) == PRETRAINED else Path(folder)
    return sum((folder / name).stat().st_size for name in (*FILES, TOKENIZER) if (folder / name).is_file())


def encoder_bytes(name: str) -> int | None:
    """The bytes of an encoder's files, weights in one form; None where they are not found.

    Args:
        name: a folder, an installed package with its model, or a name of the hub that was fetched before.
    """
    folder = _folder(name)
    if folder is None:
        return None
    files = [path for path in folder.rglob("*") if path.is_file()]
    if any(path.suffix == ".safetensors" for path in files):
        files = [path for path in files if path.suffix not in COPIES]
    return sum(path.stat().st_size for path in files)


def _folder(name: str) -> Path | None:
    if Path(name).is_dir():
        return Path(name)
    if folder := carried(name):
        return Path(folder)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, local_files_only=True))
    except (ImportError, OSError, ValueError):
        return None
