"""Find all pairs of questions above a threshold, in units of work that are saved when they are done."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from siamese.config import PRETRAINED
from siamese.errors import UserError
from siamese.mining import exact
from siamese.mining.across import Across
from siamese.mining.clusters import LINKAGES
from siamese.mining.found import PAIR, Score, Wanted, check_room, lowest_above
from siamese.mining.kept import Kept
from siamese.mining.mined import Mined
from siamese.mining.questions import Questions, QuestionsLike
from siamese.mining.settings import MEMORY, Settings
from siamese.model import word_table
from siamese.model.many_pairs import many_features
from siamese.model.model import SiameseModel
from siamese.model.verdict import Rule
from siamese.system.files import remove_leftovers
from siamese.system.locking import locked
from siamese.system.optional import needing
from siamese.system.outputs import is_stream, refuse_links

QUESTIONS_AT_A_TIME = 65_536  # that are encoded
CELLS_A_UNIT = 32
PROGRAM = 400  # MB that Python, torch and the products of a tile take, whatever the questions
A_QUESTION = 300  # bytes of a text, its place and its id, about
SORTING = 5  # times the size of pairs that it takes to sort them
LEAST_SORTED = 1 << 20  # pairs; with room for fewer, mining is refused

Progress = Callable[[int, int], None]


def quiet(done: int, total: int) -> None:
    """Show nothing."""


def mine(
    questions: QuestionsLike, model: SiameseModel | str | Path | None = None, *, threshold: float | None = None,
    max_pairs: int | None = None, approximate: bool = False, linkage: str = LINKAGES[0],
    ids: Iterable[Any] | None = None, memory: int = MEMORY, seed: int = 0, cosine: bool = False,
) -> Mined:  # fmt: skip
    """Find all pairs of questions that a model calls duplicates.

    All pairs whose similarity is above a threshold are found. If the model has a verdict, it orders them, and removes
    those that it calls different.

    Args:
        questions: n questions in a list or a Series; a DataFrame with the columns question and optionally id, whose
            other columns are kept as metadata; or a file. Empty ones are left out, and copies
            collapsed: texts that are the same once they are clean.
        model: encodes the questions: a model, its folder, or None for the pretrained one.
        threshold: 0 to 1, of the similarity, which then decides alone; None: as the model judges.
        max_pairs: find only this many, the most similar ones or those the verdict is surest of.
        approximate: compare only questions that share a cell. Faster from about 200,000 questions on; finds 99 % of the
            pairs or more, and the result's `recall` says how many, measured.
        linkage: of clusters: "complete" (every two questions are a pair) or "connected" (by chains of pairs).
        ids: an id for each question, instead of the column id.
        memory: MB to use at most.
        seed: of the cells.
        cosine: whether the similarity decides alone, even if the model has a verdict.

    Returns:
        The pairs and clusters.

    Raises:
        UserError: questions or settings that cannot be used, or more pairs than the memory has room for.
    """
    model = model if isinstance(model, SiameseModel) else SiameseModel.load(model or PRETRAINED)
    rule = model.rule(threshold, cosine=cosine)
    settings = Settings(rule.threshold, max_pairs, approximate, memory, seed, linkage)
    asked = Questions.of(questions, ids)
    with TemporaryDirectory(prefix="siamese-") as folder:
        vectors, kept = _start(asked, model, settings, rule, Path(folder))
        join(vectors, settings, kept, score=scoring(asked, rule))
        count = sum(map(len, kept))
        check_room(count if max_pairs is None else min(count, max_pairs), kept.at_once)
        judged = rule.verdict is not None
        chunks, removed = list(kept.ranked()), list(kept.removed()) if judged else []
    return Mined(asked, lambda: iter(chunks), rule.probability, settings, kept.recall, lambda: iter(removed), judged)


@contextmanager
def mined_beside(
    out: str | Path, questions: Questions, model: SiameseModel, settings: Settings, resume: bool = False,
    encoded: Progress = quiet, joined: Progress = quiet, rule: Rule | None = None,
) -> Iterator[Mined]:  # fmt: skip
    """Find pairs that stay on disk until the block ends, so that they need not fit in memory.

    A run that is stopped, even within the block, can be continued with `resume`.

    Args:
        out: the file that the block writes; the pairs are in a folder with this name and ".unfinished", or, if it is a
            device or a pipe, in a temporary one.
        questions: to compare.
        model: encodes them.
        settings: what to find.
        resume: continue the run that was stopped there, if there is one.
        encoded: called with the number of encoded questions and of all.
        joined: called with the number of comparisons done and of all.
        rule: decides on the pairs above its threshold, which is that of the settings; None: all are wanted.

    Raises:
        UserError: too little memory is allowed, or another run was stopped there.
    """
    if is_stream(out):
        with (
            TemporaryDirectory(prefix="siamese-") as folder,
            mined_beside(Path(folder) / "pairs", questions, model, settings, resume, encoded, joined, rule) as found,
        ):
            yield found
        return
    unfinished = Path(out).with_name(f"{Path(out).name}.unfinished")
    refuse_links(unfinished.parent, unfinished.name)
    with locked(unfinished):
        remove_leftovers(Path(out).parent, re.escape(Path(out).name))
        rule = rule or model.rule(settings.threshold)
        vectors, kept = _start(questions, model, settings, rule, unfinished, resume, encoded)
        try:
            join(vectors, settings, kept, joined, scoring(questions, rule))
            judged = rule.verdict is not None
            yield Mined(questions, kept.ranked, rule.probability, settings, kept.recall, kept.removed, judged)
        except UserError:  # to continue would fail again
            kept.remove()
            raise
        kept.remove()
    if unfinished.is_dir():  # it existed before this run
        unfinished.rmdir()


def _start(
    questions: Questions, model: SiameseModel, settings: Settings, rule: Rule, folder: Path, resume: bool = False,
    encoded: Progress = quiet,
) -> tuple[np.ndarray, Kept]:  # fmt: skip
    at_once = sortable(len(questions), model.dimensions, settings.memory, rule.verdict is not None)
    vectors = vectors_of(questions.texts, model, encoded)
    questions.unknown = int((~vectors.any(axis=1)).sum())
    of_run, accepted = identity(questions, vectors, settings), None
    if rule.verdict is not None:
        of_run |= {"verdict": str(sorted(rule.verdict.weights.items()))}
        accepted = lowest_above(rule.threshold)
    return vectors, Kept(folder, of_run, resume, at_once, settings.max_pairs, accepted=accepted)


def scoring(questions: Questions, rule: Rule) -> Score | None:
    """Return the function that corrects similarities by the texts, if the rule does."""
    if (verdict := rule.verdict) is None:
        return None
    questions.lowered = verdict.lowers

    def score(first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        return verdict.corrected(similarity, many_features(questions.words, first, second))

    return score


def join(
    exact_vectors: np.ndarray, settings: Settings, kept: Kept, joined: Progress = quiet, score: Score | None = None,
    across: Across | None = None,
) -> None:  # fmt: skip
    """Find all pairs of vectors above a threshold, except for the units of work that are saved already.

    Args:
        exact_vectors: (n, d) float32, rows of length 1 or 0.
        settings: what to find.
        kept: takes the pairs.
        joined: called with the number of comparisons done and of all.
        score: of the pairs, at most their similarity; None: the similarity.
        across: the order of the vectors, of which only the new ones are compared with all; None: all with all.

    Raises:
        UserError: a unit has more pairs than fit in memory, or no cells are good enough.
    """
    if across is not None and score is not None:
        score = across.score(score)
    wanted = Wanted(lowest_above(settings.threshold), settings.max_pairs, kept.at_once, score)
    vectors = exact.made_ready(exact_vectors, wanted.lowest)
    shared = None
    if settings.approximate and len(vectors):
        with needing("--approximate"):
            from siamese.mining import cells
        shared, kept.recall = cells.make_cells(vectors, wanted.lowest, settings.seed)
        count, step = len(shared), CELLS_A_UNIT
        squares = np.diff(shared.starts).astype(float) ** 2
        costs = [squares[start : start + step].sum() / 2 for start in range(0, count, step)]
    else:
        count, step = len(vectors) if across is None else across.new, exact.ROWS
        costs = [step * float(len(vectors) - start) for start in range(0, count, step)]
    for pairs in kept:
        wanted.add(pairs)
    for unit in range(kept.units, len(costs)):
        joined(int(sum(costs[:unit])), int(sum(costs)))
        start, stop = unit * step, min((unit + 1) * step, count)
        if shared is None:
            pairs = exact.join_rows(vectors, start, stop, wanted)
        else:
            pairs = np.concatenate([shared.join(vectors, cell, wanted) for cell in range(start, stop)])
        kept.append(pairs if across is None else across.numbered(pairs))
    joined(int(sum(costs)), int(sum(costs)))


def vectors_of(questions: list[str], model: SiameseModel, progress: Progress = quiet) -> np.ndarray:
    """Encode questions; return (n, d) float32."""
    vectors = np.empty((len(questions), model.dimensions), np.float32)
    for start in range(0, len(questions), QUESTIONS_AT_A_TIME):
        part = questions[start : start + QUESTIONS_AT_A_TIME]
        vectors[start : start + len(part)] = model.encode(part)
        progress(start + len(part), len(questions))
    return vectors


def sortable(count: int, dimensions: int, memory: int, judged: bool = False) -> int:
    """Return the number of pairs that may be sorted at once.

    Args:
        count: questions.
        dimensions: of a vector, which is held in float32 and in bfloat16.
        memory: MB allowed.
        judged: whether a verdict reads their words.

    Raises:
        UserError: the vectors leave too little.
    """
    fixed = (PROGRAM << 20) + count * (dimensions * 6 + A_QUESTION + judged * word_table.A_QUESTION)
    a_pair = SORTING * PAIR.itemsize
    if (left := (memory << 20) - fixed) < LEAST_SORTED * a_pair:
        least = (fixed + LEAST_SORTED * a_pair >> 20) + 1
        raise UserError(f"--memory {memory}: {count:,} questions of {dimensions} dimensions need {least} (MB) or more")
    return left // a_pair


def identity(questions: Questions, vectors: np.ndarray, settings: Settings) -> dict[str, object]:
    """Return all that the pairs of a run depend on. The vectors represent the model."""
    texts = hashlib.sha256()
    for text in questions.texts:
        texts.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return {
        "questions": texts.hexdigest(), "model": hashlib.sha256(vectors.data if vectors.size else b"").hexdigest(),
        "threshold": settings.threshold, "max-pairs": settings.max_pairs, "approximate": settings.approximate,
        "seed": settings.seed, "rows": exact.ROWS,
    }  # fmt: skip
