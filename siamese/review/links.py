"""What follows from decisions: which questions belong together, and which apart."""

from collections import deque
from collections.abc import Iterable

import numpy as np

from siamese.errors import UserError
from siamese.mining.clusters import Links
from siamese.mining.found import MILLION, PAIR
from siamese.mining.questions import Questions
from siamese.review.decisions import DIFFERENT, DUPLICATE, REPRESENTATIVE, Decision, latest
from siamese.text.keys import identity

SHOWN = 3  # contradictions that a message names


def links_of(decisions: Iterable[Decision], questions: Questions) -> Links:
    """Return what the decisions say of these questions. Those about other questions lead through them all the same.

    Raises:
        UserError: the decisions contradict each other.
    """
    counting = latest(decisions)
    check(counting.values())
    number = {identity(text): i for i, text in enumerate(questions.texts)}
    roots = _roots(counting.values())
    known: dict[int, int] = {}  # of questions that decisions join, the first one here
    together, apart, first = [], [], []
    for decision in counting.values():
        ends = [identity(question) for question in (decision.question1, decision.question2) if question]
        here = sorted(number[end] for end in ends if end in number)
        if decision.answer == REPRESENTATIVE:
            first += here
        elif decision.answer == DUPLICATE and len(here) == 2:
            together.append((_millionths(decision), *here))
    for end, root in roots.items():  # a chain may lead through questions that are not here
        if end in number:
            other = known.setdefault(root, number[end])
            if other != number[end]:
                together.append((0, *sorted((other, number[end]))))
    for decision in counting.values():
        if decision.answer == DIFFERENT:
            sides = [roots.get(end, end) for end in map(identity, (decision.question1, decision.question2))]
            found = [known.get(side, number.get(side)) for side in sides]
            if None not in found:
                apart.append(found)
    pairs = np.array(together, PAIR)
    pairs = pairs[np.lexsort((-pairs["millionths"], pairs["second"], pairs["first"]))]
    ends = pairs["first"].astype(np.int64) * len(questions) + pairs["second"]
    once = np.unique(ends, return_index=True)[1]  # with the similarity that is known
    return Links(pairs[once], np.array(apart, np.int64).reshape(-1, 2), first)


def check(decisions: Iterable[Decision]) -> None:
    """Raise a UserError that names the chain if two questions are different, and duplicates by a chain of others."""
    decisions = list(decisions)
    texts: dict[int, str] = {}
    near: dict[int, list[int]] = {}
    for decision in decisions:
        one, two = (identity(question) for question in (decision.question1, decision.question2))
        texts |= {one: decision.question1, two: decision.question2}
        if decision.answer == DUPLICATE:
            near.setdefault(one, []).append(two)
            near.setdefault(two, []).append(one)
    roots, faults = _roots(decisions), []
    for decision in decisions:
        if decision.answer == DIFFERENT:
            one, two = (identity(question) for question in (decision.question1, decision.question2))
            if one in roots and roots[one] == roots.get(two):
                faults.append(" = ".join(repr(texts[end][:60]) for end in _chain(near, one, two)))
    if faults:
        shown = "; ".join(f"{fault}, yet its ends are different" for fault in faults[:SHOWN])
        raise UserError(f"decisions contradict each other: {shown}; decide one of these pairs again")


def _roots(decisions: Iterable[Decision]) -> dict[int, int]:
    """Return, for each question that a decision joins to another, one question of those joined."""
    root: dict[int, int] = {}

    def find(end: int) -> int:
        while root[end] != end:
            root[end] = end = root[root[end]]
        return end

    for decision in decisions:
        if decision.answer == DUPLICATE:
            one, two = (identity(question) for question in (decision.question1, decision.question2))
            root.setdefault(one, one)
            root.setdefault(two, two)
            root[find(two)] = find(one)
    return {end: find(end) for end in root}


def _chain(near: dict[int, list[int]], start: int, end: int) -> list[int]:
    """Return the shortest chain of duplicates from one question to another."""
    before, queue = {start: start}, deque([start])
    while end not in before:
        here = queue.popleft()
        for there in near[here]:
            if there not in before:
                before[there] = here
                queue.append(there)
    chain = [end]
    while chain[-1] != start:
        chain.append(before[chain[-1]])
    return chain[::-1]


def _millionths(decision: Decision) -> int:
    """Return the similarity of the pair when it was decided, or 0."""
    try:
        return min(max(round(float(decision.similarity) * MILLION), 0), MILLION)
    except ValueError:
        return 0
