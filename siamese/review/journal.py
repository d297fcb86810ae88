"""The answers of a review as they are given and taken back, each on disk before the next question is shown."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

from siamese.review.decisions import UNDO, Decision, Log

About = frozenset[int]


class Progress(NamedTuple):
    """How far a review has come."""

    done: int
    total: int
    answers: Mapping[str, int]  # how often each answer was given


class Journal:
    """A file of decisions, what counts of it, and the actions that can be taken back.

    An action is one or several decisions of the same time: an answer about a pair, or what was done to a cluster. Those
    of earlier sessions can be taken back as well.
    """

    def __init__(self, log: Log, by: str = "") -> None:
        self._log, self._by = log, by
        self._counting: dict[About, Decision] = {}
        self._actions: list[list[tuple[Decision, Decision | None]]] = []  # each decision with the one that it replaced
        for _, group in groupby(log.decisions, lambda decision: decision.at or object()):
            rows = list(group)
            changes = self._take(rows)
            if all(row.answer == UNDO for row in rows):
                self._actions = self._actions[:-1]
            elif changes := [(new, old) for new, old in changes if old is None or new.answer != old.answer]:
                self._actions.append(changes)

    def __len__(self) -> int:
        """The number of decisions, which grows with each action and each time one is taken back."""
        return len(self._log.decisions)

    def get(self, about: About) -> Decision | None:
        """Return the decision that counts about two questions, or about one as a representative; None if none does."""
        return self._counting.get(about)

    @property
    def counting(self) -> Iterable[Decision]:
        """The decisions that count."""
        return self._counting.values()

    @property
    def actions(self) -> int:
        """The number of actions that can be taken back."""
        return len(self._actions)

    def act(self, decisions: Iterable[Decision]) -> None:
        """Write the decisions of one action, signed and dated."""
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        rows = [decision._replace(by=self._by, at=at) for decision in decisions]
        self._log.append(*rows)
        self._actions.append(self._take(rows))

    def undo(self) -> list[Decision]:
        """Take the last action back, and return its decisions; none if there is no action left."""
        if not self._actions:
            return []
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        changes = self._actions[-1]
        rows = [
            old._replace(at=at) if old else Decision(new.question1, new.question2, UNDO, by=self._by, at=at)
            for new, old in changes
        ]
        self._log.append(*rows)
        self._take(rows)
        self._actions.pop()
        return [new for new, _ in changes]

    def counts(self, among: Container[About] | None = None) -> Counter[str]:
        """Return how often each answer counts, of decisions about these, or of all."""
        return Counter(d.answer for about, d in self._counting.items() if among is None or about in among)

    def _take(self, rows: list[Decision]) -> list[tuple[Decision, Decision | None]]:
        changes = [(row, self._counting.get(row.about)) for row in rows]
        for row in rows:
            if row.answer == UNDO:
                self._counting.pop(row.about, None)
            else:
                self._counting[row.about] = row
        return changes
