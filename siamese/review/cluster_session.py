"""Ask a person about clusters: whether all their questions are one, which are not, and which represents them.

What a person does to a cluster is written as decisions about pairs. With these the clusters are made anew.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from siamese.errors import UserError
from siamese.mining.clusters import LINKAGES, find_clusters
from siamese.pairs.clusters import connected
from siamese.review.asked import WHOLE, Asked, Part
from siamese.review.decisions import DIFFERENT, DUPLICATE, REPRESENTATIVE, UNDO, Decision, latest
from siamese.review.journal import Journal, Progress
from siamese.review.links import check, links_of

NEAR = 5  # clusters beside one that are shown

Numbers = list[int]


class Near(NamedTuple):
    """A cluster, or a question without one, of which a question was mined as a pair with one of the cluster shown."""

    question: int  # its representative
    size: int


class Cluster(NamedTuple):
    """A cluster to ask about, by the numbers of its questions."""

    members: Numbers  # the representative first
    near: list[Near]  # the most similar first


class ClusterReview:
    """The review of clusters, one at a time, those first of whose pairs the model is least sure."""

    def __init__(self, asked: Asked, journal: Journal, part: Part = WHOLE, linkage: str = LINKAGES[0]) -> None:
        self.texts = asked.questions.texts
        self._asked, self._journal = asked, journal
        self._pairs = asked.pairs.copy()
        ends = np.sort(np.stack((asked.pairs["first"], asked.pairs["second"])), axis=0)
        self._pairs["first"], self._pairs["second"] = ends
        mined = find_clusters(len(self.texts), self._pairs, linkage)
        self._home = np.full(len(self.texts), -1)  # the mined cluster of each question
        for place, cluster in enumerate(mined):
            self._home[[member.question for member in cluster]] = place
        first, second = self._home[ends]
        self._within = self._pairs[(first == second) & (first >= 0)]
        p = asked.probability
        unsure = np.bincount(first[first == second] + 1, (p * (1 - p))[first == second], len(mined) + 1)[1:]
        self._order: Numbers = part.of(np.argsort(-unsure, kind="stable")).tolist()
        self._members = [[member.question for member in cluster] for cluster in mined]
        self._skipped: list[tuple[int, int]] = []  # mined clusters, each with the number of actions before
        self.last = ""
        self._make()

    @property
    def ticket(self) -> str:
        """A name for what was done so far, which changes with each step."""
        return f"{len(self._journal)}-{len(self._skipped)}"

    @property
    def task(self) -> Cluster | None:
        """The cluster to ask about; None if none is left."""
        skipped = {cluster for cluster, _ in self._skipped}
        for home in self._order:
            if self._open[home] and home not in skipped:
                open_ones = (self._clusters[q] for q in self._members[home] if self._is_open(self._clusters.get(q, [])))
                cluster = next(open_ones)
                return Cluster(cluster, self._near(cluster))
        return None

    @property
    def progress(self) -> Progress:
        """How many of the mined clusters are settled, and the answers about pairs."""
        settled = sum(not self._open[home] for home in self._order)
        return Progress(settled, len(self._order), self._journal.counts())

    def same(self) -> None:
        """Write that all questions of the cluster are duplicates of its representative."""
        first, *others = self._cluster()
        apart = [q for q in others if self._unit[q] != self._unit[first]]
        self._act("all the same", [(first, q, DUPLICATE) for q in apart])

    def split(self, question: int) -> None:
        """Write that a question of the cluster is different from all others of it."""
        members = self._cluster(question)
        self._act("split off", [(question, q, DIFFERENT) for q in members if q != question])

    def represent(self, question: int) -> None:
        """Write that a question of the cluster represents it."""
        members = self._cluster(question)
        before = [Decision(self.texts[q], "", UNDO) for q in members if q != question and self._represents(q)]
        self._write("represents the cluster", [*before, Decision(self.texts[question], "", REPRESENTATIVE)])

    def merge(self, question: int) -> None:
        """Write that a question of another cluster, or of none, is a duplicate of this one's representative."""
        first = self._cluster()[0]
        if question in self._cluster() or not 0 <= question < len(self.texts):
            raise UserError("choose a question of another cluster to merge with this one")
        self._act("merged", [(first, question, DUPLICATE)])

    def never(self, question1: int, question2: int) -> None:
        """Write that two questions, one of them of this cluster, are different."""
        members = self._cluster()
        if question1 == question2 or not {question1, question2} & set(members):
            raise UserError("choose two questions, one of this cluster at least")
        if not all(0 <= q < len(self.texts) for q in (question1, question2)):
            raise UserError("choose two questions that are shown")
        self._act("never the same", [(question1, question2, DIFFERENT)])

    def skip(self) -> None:
        """Leave the cluster for another session."""
        home = next(home for q in self._cluster() if (home := int(self._home[q])) in self._order)
        self._skipped.append((home, self._journal.actions))
        self.last = "skipped"

    def undo(self) -> bool:
        """Take back what was done last, here or in an earlier session. Return whether there was anything."""
        self.last = ""
        if self._skipped and self._skipped[-1][1] >= self._journal.actions:
            self._skipped.pop()
            return True
        taken = self._journal.undo()
        self._make()
        return bool(taken)

    def _cluster(self, *having: int) -> Numbers:
        task = self.task
        if task is None or not set(having) <= set(task.members):
            raise UserError("choose questions of the cluster that is shown")
        return task.members

    def _act(self, said: str, pairs: Iterable[tuple[int, int, str]]) -> None:
        self._write(said, [self._decision(*pair) for pair in pairs])

    def _write(self, said: str, decisions: list[Decision]) -> None:
        """Write an action, unless it contradicts what was decided before."""
        check(latest([*self._journal.counting, *decisions]).values())
        self._journal.act(decisions)
        self.last = said
        self._make()

    def _decision(self, question1: int, question2: int, answer: str) -> Decision:
        """Return a decision with the numbers of its pair, if that was mined, or drawn in a review of pairs."""
        made = Decision(self.texts[question1], self.texts[question2], answer)
        first, second = sorted((question1, question2))
        found = np.flatnonzero((self._pairs["first"] == first) & (self._pairs["second"] == second))
        if len(found):
            numbers = (self._asked.similarity[found[0]], self._asked.probability[found[0]])
            made = made._replace(similarity=repr(float(numbers[0])), probability=repr(float(numbers[1])))
        known = self._journal.get(made.about)
        return made._replace(value=known.value, priority=known.priority, stage=known.stage) if known else made

    def _represents(self, question: int) -> bool:
        return self._journal.get(frozenset((self._asked.keys[question],))) is not None

    def _make(self) -> None:
        """Make the clusters with what is decided by now: mined ones stay whole, merge whole, and lose what is apart."""
        links = links_of(self._journal.counting, self._asked.questions)
        self._unit = connected(len(self.texts), links.together["first"], links.together["second"])
        self._clusters: dict[int, Numbers] = {}  # of each question that is in one
        self._open = np.zeros(len(self._members), bool)
        for cluster in find_clusters(len(self.texts), self._within, "connected", links=links):
            members = [member.question for member in cluster]
            self._clusters |= dict.fromkeys(members, members)
            if self._is_open(members):
                homes = self._home[members]
                self._open[homes[homes >= 0]] = True

    def _is_open(self, members: Numbers) -> bool:
        """Return whether a cluster has questions that no decisions join."""
        return len({int(self._unit[q]) for q in members}) > 1

    def _near(self, members: Numbers) -> list[Near]:
        """Return the clusters nearest to one, without those that somebody said are different."""
        pairs, found, seen = self._pairs, list[Near](), set(members)
        first, second = np.isin(pairs["first"], members), np.isin(pairs["second"], members)
        crossing = np.flatnonzero(first != second)
        for place in crossing[np.argsort(-pairs["millionths"][crossing], kind="stable")].tolist():
            other = int(pairs["second" if first[place] else "first"][place])
            if other in seen:
                continue
            group = self._clusters.get(other, [other])
            seen.update(group)
            if not any(self._are_different(q, o) for q in members for o in group):
                found.append(Near(group[0], len(group)))
            if len(found) == NEAR:
                break
        return found

    def _are_different(self, question1: int, question2: int) -> bool:
        known = self._journal.get(frozenset((self._asked.keys[question1], self._asked.keys[question2])))
        return known is not None and known.answer == DIFFERENT
