"""Mining: from questions to the ranked pairs above a threshold, unit by unit, each kept when it is done."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.errors import UserError
from siamese.mining import cells, exact
from siamese.mining.found import PAIR, Wanted, lowest_above
from siamese.mining.kept import Kept, limited
from siamese.mining.questions import Questions
from siamese.model.model import SiameseModel
from siamese.model.similarity import check_threshold

BLOCK = 65_536  # questions that are encoded at a time
CELLS_A_UNIT = 32
PROGRAM = 400  # MB that Python, torch and the work on a tile take, whatever the questions
A_QUESTION = 300  # bytes of its text, its place and its id, about
SORTING = 5  # times the bytes of the pairs that are sorted at once
LEAST_SORTED = 1 << 20  # pairs that there must be room to sort

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What pairs are wanted, and how they are found."""

    threshold: float  # 0 to 1; a pair's similarity, to six decimals, is above it
    max_pairs: int | None = None  # only so many, the most similar ones
    approximate: bool = False
    memory: int = 2_048  # MB that may be used
    seed: int = 0  # of the approximate way

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        for name, value in (("max-pairs", self.max_pairs), ("memory", self.memory)):
            if value is not None and value < 1:
                raise UserError(f"--{name} {value}: expected a whole number of 1 or more")


@dataclass(frozen=True)
class Mined:
    """The pairs of a run, on the disk until they are written where they belong."""

    kept: Kept
    settings: Settings
    at_once: int  # pairs that may be sorted in memory
    recall: cells.Recall | None  # of the approximate way

    def ranked(self) -> Iterator[np.ndarray]:
        """The pairs, found.PAIR, most similar first, equally similar ones in the questions' order; in chunks."""
        return limited(self.kept.ranked(self.at_once), self.settings.max_pairs)


def mine(
    questions: Questions,
    model: SiameseModel,
    settings: Settings,
    folder: Path,
    resume: bool,
    encoded: Progress,
    joined: Progress,
) -> Mined:
    """Find all pairs of questions above a threshold.

    Args:
        questions: of the archive.
        model: whose vectors are compared.
        settings: what is wanted.
        folder: for the pairs on their way; there is one, and it is this process's.
        resume: go on with the run that was stopped there, if there is one.
        encoded: told how many questions of how many are encoded.
        joined: told how many comparisons of how many are done.

    Raises:
        UserError: too little memory is allowed; the run that was stopped was another.
    """
    at_once = sortable(len(questions), model.dimensions, settings.memory)
    vectors = vectors_of(questions.texts, model, encoded)
    return join(vectors, settings, folder, resume, joined, at_once, identity(questions, vectors, settings))


def join(
    exact_vectors: np.ndarray, settings: Settings, folder: Path, resume: bool, joined: Progress, at_once: int,
    identity: dict[str, object],
) -> Mined:  # fmt: skip
    """The same for vectors, (n, d) float32, rows of length 1 or 0; `identity` is all that the pairs depend on."""
    kept = Kept(folder, identity, resume)
    try:
        return Mined(kept, settings, at_once, _join(exact_vectors, settings, kept, joined, at_once))
    except UserError:  # going on would fail again
        kept.remove()
        raise


def _join(
    exact_vectors: np.ndarray, settings: Settings, kept: Kept, joined: Progress, at_once: int
) -> cells.Recall | None:
    """Do the units of work that are not kept yet; the recall of the approximate way."""
    wanted = Wanted(lowest_above(settings.threshold), settings.max_pairs, at_once)
    vectors = exact.made_ready(exact_vectors, wanted.lowest)
    recall, shared = None, None
    if settings.approximate and len(vectors):
        shared, recall = cells.make_cells(vectors, wanted.lowest, settings.seed)
        count, step = len(shared), CELLS_A_UNIT
        squares = np.diff(shared.starts).astype(float) ** 2
        costs = [squares[start : start + step].sum() / 2 for start in range(0, count, step)]
    else:
        count, step = len(vectors), exact.ROWS
        costs = [step * float(count - start) for start in range(0, count, step)]
    for pairs in kept:
        wanted.add(pairs)
    for unit in range(kept.units, len(costs)):
        joined(int(sum(costs[:unit])), int(sum(costs)))
        start, stop = unit * step, min((unit + 1) * step, count)
        if shared is None:
            pairs = exact.join_rows(vectors, start, stop, wanted)
        else:
            pairs = np.concatenate([shared.join(vectors, cell, wanted) for cell in range(start, stop)])
        kept.append(pairs)
    joined(int(sum(costs)), int(sum(costs)))
    return recall


def vectors_of(questions: list[str], model: SiameseModel, progress: Progress = lambda done, total: None) -> np.ndarray:
    """The vectors of questions, (n, d) float32."""
    vectors = np.empty((len(questions), model.dimensions), np.float32)
    for start in range(0, len(questions), BLOCK):
        part = questions[start : start + BLOCK]
        vectors[start : start + len(part)] = model.encode(part)
        progress(start + len(part), len(questions))
    return vectors


def sortable(count: int, numbers: int, memory: int) -> int:
    """How many pairs may be sorted at once.

    Args:
        count: questions.
        numbers: of a vector; each is held in float32 and in bfloat16.
        memory: MB allowed.

    Raises:
        UserError: the vectors alone take more.
    """
    fixed = (PROGRAM << 20) + count * (numbers * 6 + A_QUESTION)
    a_pair = SORTING * PAIR.itemsize
    if (left := (memory << 20) - fixed) < LEAST_SORTED * a_pair:
        least = (fixed + LEAST_SORTED * a_pair >> 20) + 1
        raise UserError(f"--memory {memory}: {count:,} questions of {numbers} numbers need {least} (MB) or more")
    return left // a_pair


def identity(questions: Questions, vectors: np.ndarray, settings: Settings) -> dict[str, object]:
    """All that the pairs of a run depend on; the vectors stand for the model."""
    texts = hashlib.sha256()
    for text in questions.texts:
        texts.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return {
        "questions": texts.hexdigest(),
        "model": hashlib.sha256(vectors.data if vectors.size else b"").hexdigest(),
        "threshold": settings.threshold,
        "max-pairs": settings.max_pairs,
        "approximate": settings.approximate,
        "seed": settings.seed,
        "rows": exact.ROWS,
    }
