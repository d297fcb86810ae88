"""Ask a person about pairs, the most valuable first. The page and the terminal drive a `PairReview`.

Pairs are asked in the order of priority sampling (siamese.review.order). Whenever the person stops, the answers are a
sample from which shares of all pairs can be estimated without bias, and each row of the file has what that takes.
"""

from typing import NamedTuple

from siamese.review.asked import WHOLE, Asked, Part
from siamese.review.decisions import DIFFERENT, DUPLICATE, SKIP, UNSURE, Decision
from siamese.review.journal import Journal, Progress
from siamese.review.order import queue

ABOUT_A_PAIR = (DUPLICATE, DIFFERENT, UNSURE, SKIP)  # answers


class Question(NamedTuple):
    """A pair to ask about. What the model says of it is left out, so that it cannot sway the answer."""

    question1: str
    question2: str


class Answered(NamedTuple):
    """What was answered last, and what the model says of that pair."""

    answer: str
    similarity: float
    probability: float


class PairReview:
    """The review of mined pairs, one at a time."""

    def __init__(self, asked: Asked, journal: Journal, part: Part = WHOLE, seed: int = 0) -> None:
        self._asked, self._journal = asked, journal
        order, self._value, self._priority = queue(asked.probability, seed)
        self._order: list[int] = part.of(order).tolist()
        keys = asked.keys
        ends = asked.pairs[["first", "second"]].tolist()
        self._about = [frozenset((keys[first], keys[second])) for first, second in ends]
        self._drawn = {about: pair for pair, about in enumerate(self._about)}  # of all parts
        self._place = {self._about[pair]: place for place, pair in enumerate(self._order)}
        self._next = 0  # place of the first pair that has no answer
        self._skipped = {d.about: d for d in journal.counting if d.answer == SKIP}  # in earlier sessions
        self.last: Answered | None = None
        journal.number(filter(None, map(self._forgotten, list(journal.counting))))
        self._advance()

    @property
    def task(self) -> Question | None:
        """The pair to ask about; None if none is left."""
        return None if (pair := self._pair()) is None else Question(*self._texts(pair))

    @property
    def progress(self) -> Progress:
        """How many pairs have an answer, and which."""
        counts = self._journal.counts(self._place)
        return Progress(counts.total() - len(self._to_ask_again()), len(self._order), counts)

    def answer(self, answer: str) -> None:
        """Write the answer about the pair of `task`: duplicate, different, unsure or skip.

        Raises:
            ValueError: it is another, or there is no pair to ask about.
        """
        pair = self._pair()
        if pair is None or answer not in ABOUT_A_PAIR:
            raise ValueError(f"{answer}: expected one of {', '.join(ABOUT_A_PAIR)}, about a pair")
        self._journal.act([self._numbered(pair, Decision(*self._texts(pair), answer))])
        self.last = Answered(answer, float(self._asked.similarity[pair]), float(self._asked.probability[pair]))
        self._advance()

    def undo(self) -> bool:
        """Take the last answer back, so that its pair is asked about again. Return whether there was one."""
        taken = self._journal.undo()
        self._next = min([self._next, *(self._place.get(decision.about, self._next) for decision in taken)])
        self.last = None
        self._advance()
        return bool(taken)

    def _pair(self) -> int | None:
        if self._next < len(self._order):
            return self._order[self._next]
        return next(iter(self._to_ask_again()), None)

    def _to_ask_again(self) -> list[int]:
        """Return the pairs that were skipped in an earlier session, which are asked about last."""
        found = []
        for about, decision in self._skipped.items():
            known = self._journal.get(about)
            if about in self._place and known and (known.answer, known.at) == (SKIP, decision.at):
                found.append(self._order[self._place[about]])
        return found

    def _advance(self) -> None:
        """Go on to the first pair without an answer. Those on the way count as drawn, wherever their answer is from."""
        passed = []
        while self._next < len(self._order):
            pair = self._order[self._next]
            if (known := self._journal.get(self._about[pair])) is None:
                break
            if not known.priority:
                passed.append(self._numbered(pair, known))
            self._next += 1
        self._journal.number(passed)

    def _forgotten(self, decision: Decision) -> Decision | None:
        """Return a decision without its priority if that is from a draw of other pairs or of another seed."""
        if not decision.priority:
            return None
        pair = self._drawn.get(decision.about)
        if pair is not None and _same(decision.priority, self._priority[pair]):
            return None
        return decision._replace(value="", priority="")

    def _texts(self, pair: int) -> tuple[str, str]:
        _, first, second = self._asked.pairs[pair].tolist()[:3]
        return self._asked.texts[first], self._asked.texts[second]

    def _numbered(self, pair: int, decision: Decision) -> Decision:
        numbers = (self._asked.similarity, self._asked.probability, self._value, self._priority)
        similarity, probability, value, priority = (repr(float(column[pair])) for column in numbers)
        return decision._replace(similarity=similarity, probability=probability, value=value, priority=priority)


def _same(text: str, number: float) -> bool:
    """Return whether a cell, which a spreadsheet may have rounded, has this number."""
    try:
        return abs(float(text.replace(",", ".")) - number) <= 1e-6 * abs(number)
    except ValueError:
        return False
