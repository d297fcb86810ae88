"""Say what differs between two questions, of what a vector blurs: numbers, names, opposites, negation, direction."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from siamese.model.order import exchanged, turned
from siamese.model.words import ENOUGH, Words, word_set, words_of

FEATURES = (
    "numbers", "codes", "names", "added name", "opposites", "negation", "direction", "tense", "rare words",
    "replaced word",
)  # fmt: skip
PLACE = {name: place for place, name in enumerate(FEATURES)}
SHOWN = 0.2  # differences with a smaller feature are between questions that have little in common
COMPARING = word_set("before after more less over under above below")
YEARS = ("19", "20")  # the beginning of four digits that are no code


@dataclass(frozen=True)
class Difference:
    """Words in which two questions differ."""

    kind: str  # one of FEATURES
    first: str  # words of the first question, or "" if only the second has any
    second: str

    def __str__(self) -> str:
        return " / ".join(side or "–" for side in (self.first, self.second))


# A feature that is not 0, its value, and the words of either question that it comes from.
Found = tuple[str, float, Collection[str], Collection[str]]


def differences(question1: str, question2: str) -> tuple[Difference, ...]:
    """Return what differs between two questions that have much in common, of what a vector blurs."""
    return shown(found_between(words_of(question1), words_of(question2)))


def shown(found: Iterable[Found]) -> tuple[Difference, ...]:
    """Return the differences to show of those found between two questions."""
    kinds: dict[tuple[str, str], str] = {}  # codes are numbers, too, and are shown once
    for kind, value, first, second in found:
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
    return features_of(_found(one, two) for one, two in pairs)


def features_of(differing: Iterable[Iterable[Found]]) -> np.ndarray:
    """Return the features of n pairs, (n, FEATURES) float32, from what was found between their questions."""
    rows: list[list[float]] = []
    nothing = [0.0] * len(FEATURES)
    for found in differing:
        row = nothing.copy()
        for kind, value, _, _ in found:
            row[PLACE[kind]] = value
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, len(FEATURES))


def found_between(one: Words, two: Words) -> list[Found]:
    """Return the features of two questions that are not 0, with the words that they come from."""
    return list(_found(one, two))


def _found(one: Words, two: Words) -> Iterator[Found]:
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
    if one.numbers and two.numbers:
        first, second = _alone(one.numbers, two), _alone(two.numbers, one)
        if first and second:
            yield "numbers", alike, first.values(), second.values()
            codes1, codes2 = ([word for root, word in numbers.items() if is_code(root)] for numbers in (first, second))
            if codes1 and codes2:
                yield "codes", 1.0, codes1, codes2
    if one.names or two.names:
        first, second = _alone(one.names, two), _alone(two.names, one)
        if first or second:
            for root in (*_initials(first, two), *_initials(second, one)):
                first.pop(root, None)
                second.pop(root, None)
            if first and second:
                yield "names", alike, first.values(), second.values()
            elif _adds(first, one, two) or _adds(second, two, one):
                yield "added name", alike, first.values(), second.values()
    if one.pronouns and two.pronouns and one.pronouns != two.pronouns:
        yield "names", alike, one.pronouns, two.pronouns
    negated = len(one.negations) % 2 != len(two.negations) % 2
    odd = min(len(opposed1), len(opposed2)) % 2
    order = turned(one, two)
    if odd and not negated:
        if order or (_compares(opposed1) and exchanged(one, two)):
            order = None  # is A taller than B? means is B shorter than A?
        else:
            yield "opposites", alike, opposed1.values(), opposed2.values()
    elif negated and not odd:
        yield "negation", alike, one.negations, two.negations
    if order:
        first_written, second_written = (
            [words.written[root] for root in roots] for words, roots in zip((one, two), order)
        )
        yield "direction", 1.0, first_written, second_written
    if one.tense and two.tense and one.tense != two.tense:
        yield "tense", alike, (one.tense,), (two.tense,)
    if one.rare.keys() != two.rare.keys():
        shared = len(one.rare.keys() & two.rare.keys())
        first, second = _alone(one.rare, two), _alone(two.rare, one)
        yield "rare words", 1 - shared / (len(one.rare) + len(two.rare) - shared), first.values(), second.values()
    if len(alone1) == len(alone2) == 1 and not (one.asked == two.asked and len(one.asked) >= ENOUGH):
        (root1,), (root2,) = alone1, alone2
        if same and root1 not in opposed1 and not variants(root1, root2):
            yield "replaced word", same / (same + 1), (one.written[root1],), (two.written[root2],)


def is_code(number: str) -> bool:
    """Return whether a number stands for a thing, such as E1603, 5.2 or 90417, rather than for how many or when."""
    return not number.isdigit() or (len(number) > 2 and not (len(number) == 4 and number.startswith(YEARS)))


def _alone(words: Mapping[str, str], other: Words) -> dict[str, str]:
    """Return the words that the other question does not have."""
    return {root: word for root, word in words.items() if root not in other.stems}


def _adds(alone: Collection[str], words: Words, other: Words) -> bool:
    """Return whether a question asks about a name beside which stands none that both have, as in Ada Lovelace."""
    known = words.names.keys() & other.stems
    for root in alone:
        if root in words.asked:
            place = words.order.index(root)
            if known.isdisjoint(words.order[max(0, place - 1) : place + 2]):
                return True
    return False


def _initials(names: Mapping[str, str], other: Words) -> Iterator[str]:
    """Yield the names in capitals that are initials of words in a row of the other question, and these words."""
    for root, name in names.items():
        if name.isupper() and len(name) > 1:
            words = [each for each in other.order if each[0].isalpha()]
            place = "".join(each[0] for each in words).find(name.lower())
            if place >= 0:
                yield root
                yield from words[place : place + len(name)]


def _opposed(one: Words, two: Words) -> dict[str, str]:
    """Return the words of one that two lacks, and has an opposite of that one lacks."""
    if not two.against:
        return {}  # opposites are mutual
    return {
        root: one.written[root]
        for root, others in one.against.items()
        if root not in two.stems and any(other in two.stems and other not in one.stems for other in others)
    }


def _compares(words: Mapping[str, str]) -> bool:
    """Return whether a word compares two things, such as taller or before."""
    return any(word.lower() in COMPARING or word.lower().endswith("er") for word in words.values())


def variants(a: str, b: str) -> bool:
    """Return whether two stems are forms of a word, or differ by one typo."""
    if min(len(a), len(b)) < 4:
        return False
    if a.startswith(b[: max(4, len(b) - 3)]) and b.startswith(a[: max(4, len(a) - 3)]):
        return True
    start = next((i for i, (c, d) in enumerate(zip(a, b)) if c != d), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] in (b, b[1:]) or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
