"""Say what differs between two questions, of what a vector blurs: numbers, names, opposites, negation, direction."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from siamese.model.words import FUNCTION, Words, word_set, words_of

FEATURES = (
    "numbers", "codes", "added number", "names", "added name", "opposites", "negation", "direction", "tense",
    "rare words",
)  # fmt: skip
PLACE = {name: place for place, name in enumerate(FEATURES)}
SHOWN = 0.2  # differences with a smaller feature are between questions that have little in common
# Words between two things that one may name in either order; prepositions that give each its part, without and with
# something before it that has none.
EITHER = word_set(
    "and or vs versus between similar same equal equivalent married related different difference compare compared "
    "comparison relationship connection compatible dating friends siblings & / ,"
)
PARTS = word_set("to into than from over under before after of for on in against without instead as")
TOWARDS = word_set("to into than from over before after")
YEARS = ("19", "20")  # the beginning of four digits that are no code


@dataclass(frozen=True)
class Difference:
    """Words in which two questions differ."""

    kind: str  # one of FEATURES
    first: str  # words of the first question, or "" if only the second has any
    second: str

    def __str__(self) -> str:
        return " / ".join(side or "–" for side in (self.first, self.second))


def differences(question1: str, question2: str) -> tuple[Difference, ...]:
    """Return what differs between two questions that have much in common, of what a vector blurs."""
    one, two = words_of(question1), words_of(question2)
    kinds: dict[tuple[str, str], str] = {}  # codes are numbers, too, and are shown once
    for kind, value, first, second in _found(one, two):
        if value >= SHOWN and kind != "rare words":
            kinds.setdefault((" ".join(first), " ".join(second)), kind)
    return tuple(Difference(kind, first, second) for (first, second), kind in kinds.items())


def differs(question1: str, question2: str) -> str:
    """Return the differences of two questions as a text, such as "1603 / 1722"; "" if there are none."""
    return "; ".join(map(str, differences(question1, question2)))


def features(pairs: Iterable[tuple[Words, Words]]) -> np.ndarray:
    """Return what differs between the questions of n pairs; (n, FEATURES) float32, 0 to 1.

    The features of (a, b) are those of (b, a), to the bit. Equal questions have none.
    """
    rows: list[list[float]] = []
    nothing = [0.0] * len(FEATURES)
    for one, two in pairs:
        row = nothing.copy()
        for kind, value, _, _ in _found(one, two):
            row[PLACE[kind]] = value
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, len(FEATURES))


def _found(one: Words, two: Words) -> Iterator[tuple[str, float, Collection[str], Collection[str]]]:
    """Yield the features that are not 0, with the words that they come from."""
    if one.order == two.order:
        return
    opposed1, opposed2 = _opposed(one, two), _opposed(two, one)
    # A difference counts by the square of the share of the other words that the questions have in common.
    alone1, alone2 = one.content - two.content, two.content - one.content
    same = len(one.content) - len(alone1)
    rest1, rest2 = (len(alone.difference(words.names, opposed)) for alone, words, opposed in
                    ((alone1, one, opposed1), (alone2, two, opposed2)))  # fmt: skip
    rest = max(rest1, rest2)
    alike = (same / (same + rest)) ** 2 if rest else 1.0
    if one.numbers or two.numbers:
        first, second = _alone(one.numbers, two), _alone(two.numbers, one)
        if first and second:
            yield "numbers", alike, first.values(), second.values()
            codes1, codes2 = ([word for root, word in numbers.items() if _is_code(root)] for numbers in (first, second))
            if codes1 and codes2:
                yield "codes", 1.0, codes1, codes2
        elif first or second:
            yield "added number", alike, first.values(), second.values()
    if one.names or two.names:
        first, second = _alone(one.names, two), _alone(two.names, one)
        if first or second:
            yield "names" if first and second else "added name", alike, first.values(), second.values()
    if one.pronouns and two.pronouns and one.pronouns != two.pronouns:
        yield "names", alike, one.pronouns, two.pronouns
    negated = len(one.negations) % 2 != len(two.negations) % 2
    odd = min(len(opposed1), len(opposed2)) % 2
    if negated and not odd:
        yield "negation", alike, one.negations, two.negations
    elif odd and not negated:
        yield "opposites", alike, opposed1.values(), opposed2.values()
    if turned := _reversed(one, two):
        one_written, two_written = ([words.written[root] for root in roots] for words, roots in zip((one, two), turned))
        yield "direction", 1.0, one_written, two_written
    if one.tense and two.tense and one.tense != two.tense:
        yield "tense", alike, (one.tense,), (two.tense,)
    if one.rare.keys() != two.rare.keys():
        shared = len(one.rare.keys() & two.rare.keys())
        first, second = _alone(one.rare, two), _alone(two.rare, one)
        yield "rare words", 1 - shared / (len(one.rare) + len(two.rare) - shared), first.values(), second.values()


def _is_code(number: str) -> bool:
    """Return whether a number stands for a thing, such as E1603, 5.2 or 90417, rather than for how many or when."""
    return not number.isdigit() or (len(number) > 2 and not (len(number) == 4 and number.startswith(YEARS)))


def _alone(words: Mapping[str, str], other: Words) -> dict[str, str]:
    """Return the words that the other question does not have."""
    return {root: word for root, word in words.items() if root not in other.stems}


def _opposed(one: Words, two: Words) -> dict[str, str]:
    """Return the words of one that two lacks, and has an opposite of that one lacks."""
    return {
        root: one.written[root]
        for root, others in one.against.items()
        if root not in two.stems and any(other in two.stems and other not in one.stems for other in others)
    }


def _reversed(one: Words, two: Words) -> tuple[list[str], list[str]] | None:
    """Return the words in which one goes from A to B and two from B to A, in both orders; None if it does not.

    The words that both questions have are compared in their order. They are reversed if exchanging two stretches gives
    the other question, and if these exchange their parts: the prepositions before them stay where they are, or both
    are names, with another word between. A passive with its agent exchanges them once more.
    """
    shared = one.content & two.content | (one.numbers.keys() & two.numbers.keys())
    if len(shared) < 2:
        return None
    first, second = _order(one, shared), _order(two, shared)
    if len(first) != len(second):
        return None
    turned = one.passive != two.passive
    if first == second:
        named = [root in one.names and root in two.names for root in first]
        return (first, second) if turned and named[0] and named[-1] and not all(named) else None
    if turned:
        return None
    start = next(i for i, (a, b) in enumerate(zip(first, second)) if a != b)
    end = next(i for i, (a, b) in enumerate(zip(first[::-1], second[::-1])) if a != b)
    inner1, inner2 = first[start : len(first) - end], second[start : len(second) - end]
    for before in range(1, len(inner1)):
        for after in range(1, len(inner1) - before + 1):
            a, middle, b = inner1[:before], inner1[before : len(inner1) - after], inner1[len(inner1) - after :]
            if b + middle + a == inner2 and _parts(one, two, a, b):
                return inner1, inner2
    return None


def _order(words: Words, shared: Collection[str]) -> list[str]:
    return list(dict.fromkeys(root for root in words.order if root in shared))


def _part(words: Words, stretch: list[str]) -> str:
    """Return the preposition of a stretch of words, which follows the word with a meaning before it; "" if none."""
    for root in words.order[: words.order.index(stretch[0])][::-1]:
        if root in PARTS:
            return root
        if root in words.content or root in words.numbers:
            break
    return ""


def _parts(one: Words, two: Words, a: list[str], b: list[str]) -> bool:
    """Return whether two stretches, which one has in this order and two in the other, play different parts."""
    between1 = one.order[one.order.index(a[-1]) + 1 : one.order.index(b[0])]
    between2 = two.order[two.order.index(b[-1]) + 1 : two.order.index(a[0])]
    if EITHER.intersection(one.order) or EITHER.intersection(two.order):
        return False
    parts1, parts2 = (_part(one, a), _part(one, b)), (_part(two, b), _part(two, a))
    if parts1 == parts2 and parts1[0] != parts1[1] and (parts1[0] or parts1[1] in TOWARDS):
        return bool(parts1[1])
    named = all(root in one.names and root in two.names for root in (*a, *b))
    return named and bool(set(between1) - FUNCTION) and bool(set(between2) - FUNCTION)
