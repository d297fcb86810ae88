"""Say what differs between two questions, of what a vector blurs: numbers, names, opposites, negation, direction."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.pairs.opposites import opposites, stem
from siamese.text import cleaning

FEATURES = (
    "numbers", "codes", "added number", "names", "added name", "opposites", "negation", "direction", "tense",
    "rare words",
)  # fmt: skip
PLACE = {name: place for place, name in enumerate(FEATURES)}
SHOWN = 0.2  # differences with a smaller feature are between questions that have little in common
REMEMBERED = 1 << 15  # questions, each of which takes 2 KB, and words


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# A number such as 1,000.5, a word such as don't or v2.0, a sign.
_WORD = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\w+(?:[.'’]\w+)*[+#]*|[^\w\s]")
_CODE = re.compile(r"([^\W\d_]{3,})[-.]?(\d[\d.]*)")  # a word with a number, such as python3
_NAMES_OF_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SPELLED = {word: str(n) for n, word in enumerate(_NAMES_OF_NUMBERS, 2)}
_NEGATIONS = _set(
    "not no never without cannot nor neither nobody nothing none unable dont doesnt didnt cant wont isnt arent wasnt "
    "shouldnt couldnt wouldnt havent hasnt"
)
_PRONOUNS = _set("he him his she her hers")
_BE = _set("is are was were be been being get got gets")
_TENSES = {
    "past": _set("was were did had"),
    "present": _set("is are am do does has have"),
    "future": _set("will shall"),
}
# Words between two things that one may name in either order, and words that give each its own part.
_EITHER = _set(
    "and or vs versus between similar same equal equivalent married related different difference compare compared "
    "comparison relationship connection compatible dating friends siblings & / ,"
)
_PARTS = _set("to into than from over under before after of for on in against without instead as")
# Words that carry no meaning of their own; in stems, without those that have a feature.
_FUNCTION = frozenset(
    map(
        stem,
        _set(
            "a an the this that these those it its there here i me my mine we us our you your they them their one some "
            "any is are am was were be been being do does did doing done have has had having will would shall should "
            "can could may might must use to of in on at by for with from into about as than then so if and or but "
            "also what which who whom whose when where why how much many best way ways good better get got getting "
            "please someone something anyone anything thing things really just very actually exactly"
        ),
    )
)

TITLE = 4  # words with a meaning that are enough to tell a title by their capitals
_NOTHING: dict[str, Any] = {}  # of many questions, so that it takes no memory
YEARS = ("19", "20")  # the beginning of four digits that are no code


@dataclass(frozen=True)
class Difference:
    """Words in which two questions differ."""

    kind: str  # one of FEATURES
    first: str  # words of the first question, or "" if only the second has any
    second: str

    def __str__(self) -> str:
        return " / ".join(side or "–" for side in (self.first, self.second))


class Token(NamedTuple):
    """A word or a sign, whatever question it stands in."""

    text: str
    root: str  # its stem, or the sign
    kind: str  # "sign", "number", "negation", "pronoun", "function" or "content"
    number: str  # of a number, or in a word such as python3; else ""
    named: bool  # capitals inside or throughout, which make a name wherever they stand
    rare: bool
    against: frozenset[str]  # stems of its opposites
    tense: str


@lru_cache(REMEMBERED)
def _token(text: str) -> Token:
    lower, number, kind = text.lower(), "", "content"
    if not (text[0].isalnum() or text[0] == "_"):
        return Token(text, text, "sign", "", False, False, frozenset(), "")
    if (code := _CODE.fullmatch(lower)) is not None:  # python3, as Python 3
        lower, number = code[1], _number(code[2])
    root = stem(lower.removesuffix("'s").removesuffix("’s"))
    if lower in _SPELLED or (not code and any(letter.isdigit() for letter in lower)):
        number = root = _number(lower)
        kind = "number"
    elif lower in _NEGATIONS or lower.endswith(("n't", "n’t")):
        kind = "negation"
    elif lower in _PRONOUNS:
        kind = "pronoun"
    elif root in _FUNCTION or lower.startswith(("i'", "i’")):
        kind = "function"
    common = _common()
    rare = kind == "content" and len(lower) > 2 and lower not in common and root not in common
    tense = next((name for name, auxiliaries in _TENSES.items() if lower in auxiliaries), "")
    return Token(text, root, kind, number, text[1:] != text[1:].lower(), rare, opposites(lower), tense)


class Words:
    """The words of a question, by what they are. The dictionaries lead from stems, in which we compare, to words."""

    __slots__ = (
        "against", "content", "names", "negations", "numbers", "order", "passive", "pronouns", "rare", "stems", "tense",
        "written",
    )  # fmt: skip

    def __init__(self, question: str) -> None:
        tokens = [_token(text) for text in _WORD.findall(cleaning.clean(question))]
        # In a Title Like This Or IN CAPITALS, capitals name nothing.
        weighty = [token.text[0].isupper() for token in tokens[1:] if token.kind == "content"]
        plain = len(weighty) < TITLE or not all(weighty)
        numbers: dict[str, str] = {}
        names: dict[str, str] = {}
        rare: dict[str, str] = {}
        written: dict[str, str] = {}
        against: dict[str, frozenset[str]] = {}
        content = []
        begins = True
        for token in tokens:
            text, root, kind, number, named, is_rare, others, _ = token
            if kind == "sign":
                begins = text in ".?!:"
                continue
            if number:
                numbers[number] = text
                written.setdefault(number, text)
            if kind == "content":
                if plain and (named or (text[0].isupper() and not begins)):
                    names[root] = text
                content.append(root)
            if is_rare:
                rare[root] = text
            if others:
                against[root] = others
            written.setdefault(root, text)
            begins = False
        self.order = tuple(token.root for token in tokens)  # signs, too
        self.written, self.stems = written, frozenset(written)
        self.content = frozenset(content)
        self.numbers, self.names, self.rare = numbers or _NOTHING, names or _NOTHING, rare or _NOTHING
        self.against = against or _NOTHING
        self.negations = tuple(token.text for token in tokens if token.kind == "negation")
        self.pronouns = tuple(sorted({token.text.lower() for token in tokens if token.kind == "pronoun"}))
        self.tense, self.passive = _tense(tokens), _passive(tokens)


@cache
def _common() -> frozenset[str]:
    """Return the most frequent words of questions: 3,000, counted in the open families of the pile."""
    path = Path(cleaning.__file__).with_name("common.txt")
    return frozenset(path.read_text("utf-8").split())


def _number(word: str) -> str:
    """Return a number or code without what does not change it: 1,000 and 1000, two and 2, v5.0 and 5."""
    word = _SPELLED.get(word, word).replace(",", "")
    word = word[1:] if word[0] == "v" and word[1:2].isdigit() else word
    return word.rstrip("0").rstrip(".") if word.count(".") == 1 and word.replace(".", "").isdigit() else word


def _tense(tokens: Sequence[Token]) -> str:
    """Return "past habit" for "used to", else the tense of the first auxiliary, or "" if there is none."""
    for token, following in pairwise(tokens):
        if token.root == "use" and following.root == "to" and token.text.lower() in ("use", "used"):
            return "past habit"
    return next((token.tense for token in tokens if token.tense), "")


def _passive(tokens: Sequence[Token]) -> bool:
    """Return whether the words look like a passive with its agent: was written by."""
    lower = [token.text.lower() for token in tokens]
    if "by" not in lower:
        return False
    place = lower.index("by")
    before = lower[place - 1] if place else ""
    return before.endswith(("ed", "en", "wn", "ght", "ung", "t", "d", "de")) and not _BE.isdisjoint(lower[:place])


@lru_cache(REMEMBERED)
def words_of(question: str) -> Words:
    """Return the words of a question; remembered, since a question stands in many pairs."""
    return Words(question)


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
        yield "direction", 1.0, *turned
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
    the other question, and if these have parts of their own: a preposition stands between them in both questions, or
    both are names, with another word between. A passive with its agent exchanges them once more.
    """
    shared = one.content & two.content | (one.numbers.keys() & two.numbers.keys())
    if len(shared) < 2:
        return None
    first, second = _order(one, shared), _order(two, shared)
    if len(first) != len(second):
        return None
    turned = one.passive != two.passive
    if first == second:
        named = [root for root in first if root in one.names and root in two.names]
        return ([*first], [*second]) if turned and len(named) > 1 and len(first) > 2 else None
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


def _parts(one: Words, two: Words, a: list[str], b: list[str]) -> bool:
    """Return whether two stretches, which one has in this order and two in the other, play different parts."""
    between1 = one.order[one.order.index(a[-1]) + 1 : one.order.index(b[0])]
    between2 = two.order[two.order.index(b[-1]) + 1 : two.order.index(a[0])]
    either = _EITHER.intersection(one.order) | _EITHER.intersection(two.order)
    if either:
        return False
    if _PARTS.intersection(between1) & _PARTS.intersection(between2):
        return True
    named = all(root in one.names and root in two.names for root in (*a, *b))
    return named and bool(set(between1) - _FUNCTION) and bool(set(between2) - _FUNCTION)
