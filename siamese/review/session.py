"""Ask a person about pairs, the most valuable first. The page and the terminal drive a `PairReview`.

Pairs are drawn by priority sampling in stages (siamese.review.order). Whenever the person stops, the answers are a
sample from which shares of all pairs can be estimated without bias, and each row of the file has what that takes.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from siamese.errors import UserError
from siamese.review.asked import WHOLE, Asked, Part
from siamese.review.decisions import DIFFERENT, DUPLICATE, SKIP, UNSURE, Decision
from siamese.review.journal import Journal, Progress
from siamese.review.links import check
from siamese.review.order import STAGE, queue

ABOUT_A_PAIR = (DUPLICATE, DIFFERENT, UNSURE, SKIP)  # answers
LABELS = {DUPLICATE: 1, DIFFERENT: 0}


class Question(NamedTuple):
    """A pair to ask about. What the model says of it is left out, so that it cannot sway the answer."""

    question1: str
    question2: str


class Answered(NamedTuple):
    """What was answered last, and what the model says of that pair."""

    answer: str
    similarity: float
    probability: float
    fault: str  # what it contradicts, or ""


class _Draw(NamedTuple):
    """A pair to ask about, and the numbers of its draw, as text."""

    place: int  # of the pair in the part
    value: str
    priority: str
    stage: str


class PairReview:
    """The review of mined pairs, one at a time."""

    def __init__(self, asked: Asked, journal: Journal, part: Part = WHOLE, seed: int = 0) -> None:
        self._asked, self._journal, self._seed = asked, journal, seed
        self._pairs: np.ndarray = part.of(np.arange(len(asked)))
        self._probability = asked.probability[self._pairs]
        keys = np.array(asked.keys, np.uint64)
        ends = np.sort(np.stack((keys[asked.pairs["first"]], keys[asked.pairs["second"]])), axis=0).T[self._pairs]
        self._about = list(map(frozenset, ends.tolist()))
        self._place = {about: place for place, about in enumerate(self._about)}
        drawn_from = ends.tobytes() + self._probability.tobytes() + f"{seed} {part}".encode()
        self._draw = hashlib.blake2b(drawn_from, digest_size=4).hexdigest()
        self._again: list[_Draw] = []  # whose answers were taken back
        self._skipped = {d.about: d for d in journal.counting if d.answer == SKIP and d.about in self._place}
        stages = [decision.stage.partition(":") for decision in journal.counting]
        self._stage = max((int(k) for draw, _, k in stages if draw == self._draw and k.isdecimal()), default=-1)
        self.last: Answered | None = None
        self._fault = ""
        self._new_fault()
        self._begin_stage()

    @property
    def ticket(self) -> str:
        """A name for what was answered so far, which changes with each answer."""
        return str(len(self._journal))

    @property
    def task(self) -> Question | None:
        """The pair to ask about; None if none is left."""
        return None if (draw := self._next()) is None else Question(*self._texts(draw.place))

    @property
    def progress(self) -> Progress:
        """How many pairs have an answer, and which."""
        counts = self._journal.counts(self._place)
        return Progress(counts.total() - len(self._to_ask_again()), len(self._pairs), counts)

    def answer(self, answer: str) -> None:
        """Write the answer about the pair of `task`: duplicate, different, unsure or skip.

        Raises:
            ValueError: it is another, or there is no pair to ask about.
        """
        draw = self._next()
        if draw is None or answer not in ABOUT_A_PAIR:
            raise ValueError(f"{answer}: expected one of {', '.join(ABOUT_A_PAIR)}, about a pair")
        place, value, priority, stage = draw
        similarity = float(self._asked.similarity[self._pairs[place]])
        probability = float(self._probability[place])
        decision = Decision(*self._texts(place), answer, repr(similarity), repr(probability), value, priority)
        self._journal.act([decision._replace(stage=stage)])
        self.last = Answered(answer, similarity, probability, self._new_fault())
        if self._again:
            self._again.pop()
        elif self._queue and self._queue[-1] == place:
            self._left -= 1
            if not self._left:
                self._begin_stage()

    def undo(self) -> bool:
        """Take the last answer back, so that its pair is asked about again. Return whether there was one."""
        taken = self._journal.undo()
        for made in taken:
            if made.about in self._place and self._journal.get(made.about) is None:
                self._again.append(_Draw(self._place[made.about], made.value, made.priority, made.stage))
        self.last = None
        return bool(taken)

    def _next(self) -> _Draw | None:
        """Return what was taken back last, else what the queue has next, else what was skipped in earlier sessions."""
        if self._again:
            return self._again[-1]
        while self._queue and self._journal.get(self._about[self._queue[-1]]):
            self._queue.pop()
        if self._queue:
            place = self._queue[-1]
            value, priority = repr(float(self._value[place])), repr(float(self._priority[place]))
            return _Draw(place, value, priority, f"{self._draw}:{self._stage}")
        for decision in self._to_ask_again():
            return _Draw(self._place[decision.about], decision.value, decision.priority, decision.stage)
        return None

    def _begin_stage(self) -> None:
        """Draw the pairs that are left anew, by what the answers say."""
        known = [(self._place[d.about], LABELS.get(d.answer)) for d in self._journal.counting if d.about in self._place]
        places, answers = zip(*known) if known else ((), ())
        self._stage, self._left = self._stage + 1, STAGE
        order, self._value, self._priority = queue(self._probability, self._seed, places, answers, self._stage)
        self._queue: list[int] = order[::-1].tolist()  # the next one last

    def _to_ask_again(self) -> list[Decision]:
        """Return the pairs that were skipped in an earlier session, which are asked about last."""
        found = []
        for about, decision in self._skipped.items():
            known = self._journal.get(about)
            if known and (known.answer, known.at) == (SKIP, decision.at):
                found.append(decision)
        return found

    def _new_fault(self) -> str:
        """Return how the decisions contradict each other, if they do since the last answer."""
        before, self._fault = self._fault, ""
        try:
            check(self._journal.counting)
        except UserError as fault:
            self._fault = str(fault)
        return self._fault if self._fault != before else ""

    def _texts(self, place: int) -> tuple[str, str]:
        _, first, second = self._asked.pairs[self._pairs[place]].tolist()[:3]
        texts = self._asked.questions.texts
        return texts[first], texts[second]
