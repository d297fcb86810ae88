"""Adapt a model to a person's answers about pairs: threshold, weights of the verdict, or the tower itself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siamese.errors import DataError, UserError
from siamese.model.calibration import Calibration
from siamese.model.differences import FEATURES, features
from siamese.model.model import SiameseModel
from siamese.model.verdict import Verdict
from siamese.model.words import words_of
from siamese.pairs.pairs import Pairs
from siamese.review.answers import Answers
from siamese.review.folds import folds
from siamese.review.steps import (
    AS_IS,
    FOR_TOWER,
    OF_EACH_FOR_TOWER,
    THRESHOLD,
    TOWER,
    WEIGHTS,
    Pool,
    Tried,
    better,
    enough_for_tower,
    enough_for_weights,
    try_as_is,
    try_step,
)
from siamese.review.threshold import CERTAIN, Answered, Choice, calibrate, choose, of_threshold
from siamese.system.optional import optional
from siamese.text.keys import identity, keys

LEAST, OF_EACH = 30, 5  # answers, and answers of each kind, to begin with
MOST_PAIRS = 100_000  # of the pool
LOWEST = 0.05  # quantile of the answered cosines from which the pool is mined
WORTH = 0.02  # more of the pool's duplicates, from which a lower threshold counts as a gain


@dataclass(frozen=True)
class Adapted:
    """What answers lead to."""

    model: SiameseModel | None  # None: nothing was gained, so nothing was changed
    step: str  # that was taken
    tried: list[Tried]  # the steps, the simplest first
    notes: list[str]  # why further ones were not tried
    choice: Choice  # the threshold
    before: Choice | None  # what the answers say of the present threshold; None: no pair is above it
    pool: int  # pairs that the answers are of
    share: float  # of duplicates among these

    @property
    def gain(self) -> tuple[float, float]:
        """How much lower the held-out log loss is than that of the model as it was, with its standard error."""
        taken = next(tried for tried in self.tried if tried.step == self.step)
        return taken.gain(self.tried[0])


def adapt(
    model: SiameseModel, answers: Answers, precision: float, questions: Sequence[str] | None = None, seed: int = 0,
    note: Callable[[str], None] = lambda message: None,
) -> Adapted:  # fmt: skip
    """Make a model that suits a person's answers, from the current one, which stays as it is.

    The steps are: threshold and probability alone; the weights of the verdict too; the tower too. The simplest is taken
    unless a further one predicts the answers better, in cross-validation, by more than its standard error.

    Args:
        model: the current one.
        answers: LEAST or more, OF_EACH or more of each kind.
        precision: wanted share of duplicates above the threshold, between 0 and 1.
        questions: those that were mined. None: the answers stand for the mined pairs, by the weights of their sampling,
            which they must have.
        seed: of the folds.
        note: called with a message before work that takes a while.

    Raises:
        DataError: there are too few answers, or duplicates are no more similar than others.
        UserError: the precision is out of range, no threshold is likely to reach it, the answers have no weights and
            there are no questions, or the model cannot be saved.
    """
    _check(model, answers, precision)
    pairs, answered = _pool(model, answers, questions, note)
    pool = _seen(model, pairs, answered)
    duplicate, cut = answered.duplicate, list(folds(answers.pairs, seed))
    score, asked = pool.score(pool.weights), answered.asked
    tried, notes = [try_as_is(model.rule().probability(score[asked]), score[asked], duplicate, cut)], []
    plain = try_step(THRESHOLD, cut, lambda fit: pool)
    if plain is None:
        raise DataError("the answers do not rise with the similarity, so it cannot tell these duplicates apart")
    tried.append(plain)
    weights, taken, now = pool.weights, plain, model
    if enough_for_weights(duplicate) and model.config.padding == "none":
        refitted = try_step(WEIGHTS, cut, lambda fit: pool)
        tried += [refitted] if refitted else []
        if refitted and better(refitted, plain):
            weights, taken = pool.refitted(), refitted
    else:
        notes.append(f"{WEIGHTS}: not tried, as it takes 60 answers, 10 of each kind")
    former = pool
    if lack := _no_tower(model, duplicate):
        notes.append(f"{TOWER}: not tried, as it {lack}")
    else:
        note("training the tower, once for each fold and once for all")
        from siamese.review.tower import forgotten, with_tower

        known = [*(questions or ()), *answers.pairs.question1, *answers.pairs.question2]

        def of(fit: np.ndarray) -> tuple[SiameseModel, Pool]:
            trained = with_tower(model, pairs, answered, fit, known, seed)
            cosine = trained.similarity(pairs.question1, pairs.question2)
            return trained, replace(pool, cosine=cosine, weights=weights)

        tower = try_step(TOWER, cut, lambda fit: of(fit)[1])
        tried += [tower] if tower else []
        if tower and better(tower, taken):
            (now, pool), taken = of(np.arange(len(answers))), tower
            pool = _unknown(pool, tower)
            notes.append(f"{TOWER}: {forgotten(model, now)}")
    score, answered = pool.score(weights), pool.answered
    choice, best = choose(score, answered, precision)
    before = of_threshold(former.score(former.weights), former.answered, precision, model.rule().threshold)
    if choice is None:
        raise UserError(_out_of_reach(precision, best, len(answers)))
    calibration = calibrate(score, answered)
    if calibration is None:
        raise DataError("the answers do not rise with the similarity, so it cannot tell these duplicates apart")
    found = Adapted(None, taken.step, tried, notes, choice, before, answered.size(len(score)), calibration.prior)
    if taken is plain and plain.gain(tried[0])[0] <= 0 and not _worth(choice, before):
        return replace(found, step=AS_IS)
    changed = _changed(now, pool, weights, calibration, choice, precision)
    changed.facts = _facts(model, changed.threshold, found, len(answers), precision)
    return replace(found, model=changed)


def _check(model: SiameseModel, answers: Answers, precision: float) -> None:
    if not 0 < precision < 1:
        raise UserError(f"--precision {precision}: give a share between 0 and 1, such as 0.9")
    duplicates, others = int((answers.pairs.labels == 1).sum()), int((answers.pairs.labels != 1).sum())
    if len(answers) < LEAST or min(duplicates, others) < OF_EACH:
        raise DataError(
            f"{len(answers)} answers, {duplicates} duplicate and {others} different, are too few; "
            f"{LEAST} are needed, {OF_EACH} of each kind"
        )
    if model.library is not None:
        raise UserError(
            f"{model.config.encoder}: a sentence encoder of this kind cannot become a model folder; make one by "
            "`train --preset transformer --encoder NAME --epochs 0`, or adapt another model"
        )


def _unknown(pool: Pool, tower: Tried) -> Pool:
    """Return a pool whose answered pairs have the cosines of towers that did not know the answer.

    The tower that knows all answers tells these pairs apart, which says nothing of others. Answers about pairs across
    folds do not count.
    """
    answered, held = pool.answered, ~np.isnan(tower.scores)
    asked, cosine = answered.asked[held], pool.cosine.copy()
    cosine[asked] += tower.scores[held] - pool.score(pool.weights)[asked]
    return replace(pool, cosine=cosine, answered=Answered(asked, answered.duplicate[held], answered.weight))


def _no_tower(model: SiameseModel, duplicate: np.ndarray) -> str | None:
    """Return why the tower is not trained, or None."""
    if not enough_for_tower(duplicate):
        return f"takes {FOR_TOWER} answers, {OF_EACH_FOR_TOWER} of each kind"
    if model.config.tower != "lstm" or model.config.padding != "none":
        return "is for LSTM models other than the course's"
    try:
        optional("torch", TOWER)
    except UserError as error:
        return str(error).removeprefix(f"{TOWER} ")
    return None


def _pool(
    model: SiameseModel, answers: Answers, questions: Iterable[str] | None, note: Callable[[str], None]
) -> tuple[Pairs, Answered]:
    """Return the pairs that the answers are about or stand for, the answered ones first."""
    asked, duplicate = np.arange(len(answers)), answers.pairs.labels.astype(int)
    if questions is None:
        if answers.weight is None:  # taken for all pairs there are, they would seem to be known for sure
            lack = "do not say how their pairs were drawn from which questions, so they say little of others"
            raise UserError(f"the answers {lack}; give these by --questions or --archive")
        return answers.pairs, Answered(asked, duplicate, np.maximum(answers.weight, 1.0))
    from siamese.mining.mine import mine

    cosine = model.similarity(answers.pairs.question1, answers.pairs.question2)
    low = max(0.0, float(np.quantile(cosine, LOWEST)))
    note(f"mining pairs with a similarity above {low:.2f}")
    known = set(map(frozenset, _ends(answers.pairs.question1, answers.pairs.question2)))
    mined = mine(questions, model, threshold=low, max_pairs=MOST_PAIRS).pairs
    one, two = [pair.question1 for pair in mined], [pair.question2 for pair in mined]
    new = [i for i, ends in enumerate(_ends(one, two)) if frozenset(ends) not in known]
    every = Pairs.of(
        (*answers.pairs.question1, *(one[i] for i in new)), (*answers.pairs.question2, *(two[i] for i in new)),
        (*duplicate.tolist(), *(0 for _ in new)),
    )  # fmt: skip
    return every, Answered(asked, duplicate)


def _ends(questions1: Iterable[str], questions2: Iterable[str]) -> list[tuple[int, int]]:
    return list(zip(keys(questions1, identity).tolist(), keys(questions2, identity).tolist()))


def _seen(model: SiameseModel, pairs: Pairs, answered: Answered) -> Pool:
    """Return pairs as a model sees them."""
    cosine = model.similarity(pairs.question1, pairs.question2)
    found = features((words_of(a), words_of(b)) for a, b in zip(pairs.question1, pairs.question2))
    weights = None if model.verdict is None else np.array([model.verdict.weights[name] for name in FEATURES])
    return Pool(cosine, found.astype(np.float64), answered, weights)


def _worth(choice: Choice, before: Choice | None) -> bool:
    """Return whether a threshold is better than the present one: precise where that is not, or lower."""
    return before is None or before.certainty < CERTAIN or choice.share > before.share + WORTH


def _changed(
    model: SiameseModel, pool: Pool, weights: np.ndarray | None, calibration: Calibration, choice: Choice,
    precision: float,
) -> SiameseModel:  # fmt: skip
    """Return a copy of a model with these weights, probabilities and threshold. The similarity alone gets its own."""
    changed = replace(model)
    if weights is None:
        changed.threshold, changed.calibration = choice.threshold, calibration
        return changed
    named = {name: float(weight) for name, weight in zip(FEATURES, weights)}
    changed.verdict = Verdict(named, calibration, choice.threshold)
    changed.calibration = calibrate(pool.cosine, pool.answered) or model.calibration
    by_cosine, _ = choose(pool.cosine, pool.answered, precision)
    if by_cosine:
        changed.threshold = by_cosine.threshold
    return changed


def _facts(model: SiameseModel, threshold: float, found: Adapted, answers: int, precision: float) -> dict[str, Any]:
    gain, error = found.gain
    adapted = {
        "step": found.step, "answers": answers, "wanted precision": precision, "precision": found.choice.precision,
        "interval": [found.choice.low, found.choice.high], "pool": found.pool, "share of duplicates": found.share,
        "gain": gain, "standard error": error,
    }  # fmt: skip
    kept = {name: fact for name, fact in model.facts.items() if name not in ("chosen_threshold", "warnings")}
    return kept | {"chosen_threshold": threshold, "adapted": adapted}


def _out_of_reach(precision: float, best: Choice | None, answers: int) -> str:
    if best is None:
        return f"none of the {answers} answers is about a pair that a threshold could be above"
    return (
        f"no threshold is likely enough to reach a precision of {precision:g}; the most likely is "
        f"{best.threshold:.3f}, with {best.precision:.3f} (95 % interval {best.low:.3f} to {best.high:.3f}) and a "
        f"probability of {best.certainty:.2f}, where {CERTAIN:g} is needed. Answer more pairs, or ask for less"
    )
