"""Read a question as words: its numbers, names, opposites, negations, rare words, tense, and their order."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from siamese.pairs.opposites import opposites, stem
from siamese.pairs.rules.forms import twos
from siamese.pairs.rules.words import WORDS
from siamese.text import cleaning

REMEMBERED = 1 << 15  # questions, each of which takes 2 KB, and words


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(words.split())


# A number such as 1,000.5, a word such as don't or v2.0, a sign.
_WORD = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\w+(?:[.'’]\w+)*[+#]*|[^\w\s]")
_CODE = re.compile(r"([^\W\d_]{2,})[-.]?(\d[\d.,]*)")  # a word with a number, such as python3
_UNIT = re.compile(r"(\d[\d.,]*)(?:(st|nd|rd|th|'?s|k)|([^\W\d_]{2,}))")  # 21st, 1980s, 15k; 500rs
_NAMES_OF_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SPELLED = {word: str(n) for n, word in enumerate(_NAMES_OF_NUMBERS, 2)}
_NEGATIONS = word_set(
    "not no never without cannot nor neither nobody nothing none unable dont doesnt didnt cant wont isnt arent wasnt "
    "shouldnt couldnt wouldnt havent hasnt"
)
_PRONOUNS = word_set("he him his she her hers")
_BE = word_set("is are was were be been being get got gets")
_TENSES = {
    "past": word_set("was were did had"),
    "present": word_set("is are am do does has have"),
    "future": word_set("will shall"),
}
# Words that carry no meaning of their own; in stems, without those that have a feature.
FUNCTION = frozenset(
    map(
        stem,
        word_set(
            "a an the this that these those it its there here i me my mine we us our you your they them their one some "
            "any is are am was were be been being do does did doing done have has had having will would shall should "
            "can could may might must use to of in on at by for with from into about as than then so if and or but "
            "also what which who whom whose when where why how much many best way ways good better get got getting "
            "please someone something anyone anything thing things really just very actually exactly"
        ),
    )
)

_ENDS = word_set(". ? !")
ENOUGH = 2  # words with a meaning that a question has that can be understood without the sentences around it
TITLE = 4  # words with a meaning that are enough to recognize a title by their capitals
_NOTHING: dict[str, Any] = {}  # of many questions, so that it takes no memory


class Token(NamedTuple):
    """A word or a sign, whatever question it stands in."""

    text: str
    root: str  # its stem, or that of a synonym or another spelling that stands for it; or the sign
    kind: str  # "sign", "number", "negation", "pronoun", "function" or "content"
    number: str  # of a number, or in a word such as python3; else ""
    named: bool  # capitals inside or throughout, which make a name wherever they stand
    rare: bool
    against: frozenset[str]  # stems of its opposites
    tense: str


def words_in(question: str) -> list[str]:
    """Return the words and signs of a question."""
    return _WORD.findall(cleaning.clean(question))


@lru_cache(REMEMBERED)
def token_of(text: str) -> Token:
    """Return a word or a sign, as `words_in` cuts it, with what it is."""
    lower, number, kind = text.lower(), "", "content"
    if not (text[0].isalnum() or text[0] == "_"):
        return Token(text, text, "sign", "", False, False, frozenset(), "")
    if (code := _CODE.fullmatch(lower)) is not None:  # python3, as Python 3
        lower, number = code[1], _number(code[2])
    elif unit := _UNIT.fullmatch(lower):
        number = _number(unit[1])
        lower = unit[3] or (f"{number}000" if unit[2] == "k" and number.isdigit() else number)
        number = number if unit[3] else lower
    root = _root(lower.removesuffix("'s").removesuffix("’s"))
    if lower in _SPELLED or (not code and any(letter.isdigit() for letter in lower)):
        number = root = _number(lower)
        kind = "number"
    elif lower in _NEGATIONS or lower.endswith(("n't", "n’t")):
        kind = "negation"
    elif lower in _PRONOUNS:
        kind = "pronoun"
    elif root in FUNCTION or lower.startswith(("i'", "i’")):
        kind = "function"
    common = _common()
    rare = kind == "content" and len(lower) > 2 and lower not in common and root not in common
    tense = next((name for name, auxiliaries in _TENSES.items() if lower in auxiliaries), "")
    return Token(text, root, kind, number, text[1:] != text[1:].lower(), rare, _against(root, lower), tense)


class Words:
    """The words of a question, by what they are. The dictionaries lead from stems, in which we compare, to words."""

    __slots__ = (
        "against", "asked", "by", "content", "names", "negations", "numbers", "order", "pronouns", "rare", "stems",
        "tense", "written",
    )  # fmt: skip

    def __init__(self, question: str) -> None:
        tokens = [token_of(text) for text in words_in(question)]
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
        asked = asked_of(tokens)
        self.asked = frozenset(token.root for token in asked if token.kind in ("content", "number"))
        self.numbers, self.names, self.rare = numbers or _NOTHING, names or _NOTHING, rare or _NOTHING
        self.against = against or _NOTHING
        self.negations = tuple(token.text for token in asked if token.kind == "negation")
        self.pronouns = tuple(sorted({token.text.lower() for token in tokens if token.kind == "pronoun"}))
        self.tense, self.by = tense_of(asked), place_of_by(tokens)


@cache
def _common() -> frozenset[str]:
    """Return the most frequent words of questions: 3,000, counted in the open families of the pile."""
    path = Path(cleaning.__file__).with_name("common.txt")
    return frozenset(path.read_text("utf-8").split())


@cache
def _same() -> dict[str, str]:
    """Return the stems that stand for those of their synonyms and other spellings, by our lists of single words."""
    found: dict[str, str] = {}

    def first_of(word: str) -> str:
        while word in found:
            word = found[word]
        return word

    for kind in ("spelling", "abbreviations", "synonyms"):
        for first, second in twos(WORDS["same"][kind]["words"]):
            one, two = (first_of(stem(word.lower())) for word in (first, second))
            if one != two and not {one, two} & FUNCTION and " " not in one + two:
                found[two] = one
    return {word: first_of(word) for word in found}


def _against(root: str, word: str) -> frozenset[str]:
    """Return what stands for the opposites of a word or of its synonyms."""
    members = (word, root, *(other for other, first in _same().items() if first == root))
    return frozenset(_same().get(other, other) for member in members for other in opposites(member))


def _root(word: str) -> str:
    root = stem(word)
    return _same().get(root, root)


def _number(word: str) -> str:
    """Return a number or code without what does not change it: 1,000 and 1000, two and 2, v5.0 and 5."""
    word = _SPELLED.get(word, word).replace(",", "")
    word = word[1:] if word[0] == "v" and word[1:2].isdigit() else word
    return word.rstrip("0").rstrip(".") if word.count(".") == 1 and word.replace(".", "").isdigit() else word


def tense_of(tokens: Sequence[Token]) -> str:
    """Return "past habit" for "used to", else the tense of the first auxiliary, or "" if there is none."""
    for token, following in pairwise(tokens):
        if token.root == "use" and following.root == "to" and token.text.lower() in ("use", "used"):
            return "past habit"
    return next((token.tense for token in tokens if token.tense), "")


def asked_of(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return the tokens of the sentences with a question mark, if they say enough alone; else all of them."""
    found: list[Token] = []
    start = 0
    for end, token in enumerate(tokens, 1):
        if token.text == "?":
            found += tokens[start:end]
            start = end
        elif token.text in _ENDS and not _shortened(tokens[end - 2].text):
            start = end
    if len(found) == len(tokens):
        return tokens
    return found if sum(token.kind == "content" for token in found) >= ENOUGH else tokens


def _shortened(word: str) -> bool:
    """Return whether a word before a full stop looks like St. or Dr."""
    return len(word) < 4 and word[0].isupper()


def place_of_by(tokens: Sequence[Token]) -> int | None:
    """Return the place of "by" in words that look like a passive with its agent: was written by."""
    lower = [token.text.lower() for token in tokens]
    if "by" not in lower:
        return None
    place = lower.index("by")
    before = lower[place - 1] if place else ""
    passive = before.endswith(("ed", "en", "wn", "ght", "ung", "t", "d", "de")) and not _BE.isdisjoint(lower[:place])
    return place if passive else None


@lru_cache(REMEMBERED)
def words_of(question: str) -> Words:
    """Return the words of a question; remembered, since a question stands in many pairs."""
    return Words(question)
