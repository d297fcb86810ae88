"""Mining: from questions to the ranked pairs above a threshold, unit by unit, each kept when it is done."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.config import PRETRAINED
from siamese.errors import UserError
from siamese.mining import exact
from siamese.mining.clusters import LINKAGES
from siamese.mining.found import PAIR, Wanted, check_room, lowest_above
from siamese.mining.kept import Kept, limited
from siamese.mining.mined import MEMORY, Mined
from siamese.mining.questions import Questions, QuestionsLike
from siamese.model.model import SiameseModel
from siamese.model.similarity import check_threshold
from siamese.system.locking import locked
from siamese.system.optional import needing

if TYPE_CHECKING:
    from siamese.mining.cells import Recall

QUESTIONS_AT_A_TIME = 65_536  # questions that are encoded at a time
CELLS_A_UNIT = 32
PROGRAM = 400  # MB that Python, torch and the work on a tile take, whatever the questions
A_QUESTION = 300  # bytes of its text, its place and its id, about
SORTING = 5  # times the bytes of the pairs that are sorted at once
LEAST_SORTED = 1 << 20  # pairs that there must be room to sort

Progress = Callable[[int, int], None]


def _quiet(done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Settings:
    """What pairs are wanted, and how they are found."""

    threshold: float  # 0 to 1; a pair's similarity, to six decimals, is above it
    max_pairs: int | None = None  # only so many, the most similar ones
    approximate: bool = False
    memory: int = MEMORY  # MB that may be used
    seed: int = 0  # of the approximate way

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        for name, value in (("max-pairs", self.max_pairs), ("memory", self.memory)):
            if value is not None and value < 1:
                raise UserError(f"--{name} {value}: expected a whole number of 1 or more")


@dataclass(frozen=True)
class Joined:
    """The pairs of a run, on the disk until they are written where they belong."""

    kept: Kept
    settings: Settings
    at_once: int  # pairs that may be sorted in memory
    recall: "Recall | None"  # of the approximate way

    def ranked(self) -> Iterator[np.ndarray]:
        """Return the pairs, found.PAIR, most similar first, equally similar ones in the questions' order; in chunks."""
        return limited(self.kept.ranked(self.at_once), self.settings.max_pairs)


def mine(
    questions: QuestionsLike,
    model: SiameseModel | str | Path | None = None,
    *,
    threshold: float | None = None,
    max_pairs: int | None = None,
    approximate: bool = False,
    linkage: str = LINKAGES[0],
    ids: Iterable[Any] | None = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Mined:
    """Find all pairs of questions whose similarity is above a threshold.

    Args:
        questions: n questions in a list or a Series; a DataFrame with the columns question and optionally id, whose
            other columns are kept as metadata; or a file. Blank ones are left out, exact copies collapsed.
        model: whose vectors are compared: a model, its folder, or None for the pretrained one.
        threshold: 0 to 1; None: the model's own.
        max_pairs: find only so many, the most similar ones.
        approximate: compare only questions of the same cells: faster from about 200,000 questions on, and finds 99 % of
            the pairs or more; the result's `recall` says how many, measured.
        linkage: of clusters: "complete" (every two questions are a pair) or "connected" (by chains of pairs).
        ids: an id for each question, instead of the column id.
        memory: MB to use at most.
        seed: of the cells.

    Returns:
        Pairs and clusters; `Mined` has the methods.

    Raises:
        UserError: questions or settings that cannot be used, or more pairs than the memory has room for.
    """
    model = model if isinstance(model, SiameseModel) else SiameseModel.load(model or PRETRAINED)
    settings = Settings(model.threshold_for(threshold), max_pairs, approximate, memory, seed)
    asked = Questions.of(questions, ids)
    with TemporaryDirectory(prefix="siamese-") as folder:
        joined = _find(asked, model, settings, Path(folder), False, _quiet, _quiet)
        count = sum(map(len, joined.kept))
        check_room(count if max_pairs is None else min(count, max_pairs), joined.at_once)
        chunks = list(joined.ranked())
    return Mined(asked, lambda: iter(chunks), model.probability, settings.threshold, linkage, memory, joined.recall)


@contextmanager
def mined_beside(
    out: str | Path,
    questions: Questions,
    model: SiameseModel,
    settings: Settings,
    linkage: str = LINKAGES[0],
    resume: bool = False,
    encoded: Progress = _quiet,
    joined: Progress = _quiet,
) -> Iterator[Mined]:
    """Find pairs that are on the disk until the block ends, so that they need not fit in memory.

    A run that is stopped, in the block too, goes on with `resume`.

    Args:
        out: the file that the block writes; the pairs are in a folder with this name and ".unfinished".
        questions: to compare.
        model: whose vectors are compared.
        settings, linkage: what is wanted.
        resume: go on with the run that was stopped there, if there is one.
        encoded: called with the number of encoded questions and of all.
        joined: called with the number of comparisons done and of all.

    Raises:
        UserError: too little memory is allowed, or the run that was stopped was another.
    """
    unfinished = Path(out).with_name(f"{Path(out).name}.unfinished")
    with locked(unfinished):
        found = _find(questions, model, settings, unfinished, resume, encoded, joined)
        try:
            yield Mined(questions, found.ranked, model.probability, settings.threshold, linkage, settings.memory,
                        found.recall)  # fmt: skip
        except UserError:  # the pairs are written, or there is nothing to write
            found.kept.remove()
            raise
        found.kept.remove()
    if unfinished.is_dir():  # it was there before this run
        unfinished.rmdir()


def _find(
    questions: Questions, model: SiameseModel, settings: Settings, folder: Path, resume: bool, encoded: Progress,
    joined: Progress,
) -> Joined:  # fmt: skip
    at_once = sortable(len(questions), model.dimensions, settings.memory)
    vectors = vectors_of(questions.texts, model, encoded)
    return join(vectors, settings, folder, resume, joined, at_once, identity(questions, vectors, settings))


def join(
    exact_vectors: np.ndarray, settings: Settings, folder: Path, resume: bool, joined: Progress, at_once: int,
    identity: dict[str, object],
) -> Joined:  # fmt: skip
    """Find all pairs of vectors above a threshold, or go on with that.

    Args:
        exact_vectors: (n, d) float32, rows of length 1 or 0.
        settings: what is wanted.
        folder: for the pairs on their way; there is one, and it is this process's.
        resume: go on with the run that was stopped there, if there is one.
        joined: called with the number of comparisons done and of all.
        at_once: pairs that may be sorted in memory.
        identity: all that the pairs depend on.
    """
    kept = Kept(folder, identity, resume)
    try:
        return Joined(kept, settings, at_once, _join(exact_vectors, settings, kept, joined, at_once))
    except UserError:  # going on would fail again
        kept.remove()
        raise


def _join(exact_vectors: np.ndarray, settings: Settings, kept: Kept, joined: Progress, at_once: int) -> "Recall | None":
    """Do the units of work that are not kept yet. Return the recall of the approximate way."""
    wanted = Wanted(lowest_above(settings.threshold), settings.max_pairs, at_once)
    vectors = exact.made_ready(exact_vectors, wanted.lowest)
    recall, shared = None, None
    if settings.approximate and len(vectors):
        with needing("--approximate"):
            from siamese.mining import cells
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
    for start in range(0, len(questions), QUESTIONS_AT_A_TIME):
        part = questions[start : start + QUESTIONS_AT_A_TIME]
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
