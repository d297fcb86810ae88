"""A question as words, and the changes of text that the rules share."""

import re
from collections.abc import Callable, Sequence
from random import Random

from siamese.pairs.rules.words import PROPER

_WORD = re.compile(r"((?:\w+(?:[.'’-]\w+)*)(?:\+\+|#(?!\w))?)")
_AN = re.compile(r"(?!u[nst]i|us[ea]|eu|one\b|once\b)[aeiou]|ubuntu|uni[nmd]|hour|hono|honest|heir|8|1[18]\b", re.I)
_ARTICLE = re.compile(r"\b([Aa]n?) (?=(\w+))")


class Question:
    """A question as words and the gaps between them: gaps[i] precedes words[i], and gaps[-1] ends the question."""

    __slots__ = ("gaps", "lower", "text", "words")

    def __init__(self, text: str) -> None:
        self.text = text
        self.words, self.gaps = split(text)
        self.lower = [word.lower().replace("’", "'") for word in self.words]

    def after(self, i: int) -> str:
        """Return the word that follows word i, in small letters; "" if there is none or punctuation comes first."""
        return self.lower[i + 1] if i + 1 < len(self.words) and self.gaps[i + 1] == " " else ""

    def put(self, start: int, end: int, new: str) -> str:
        """Return the text with words[start:end] replaced by `new`. Its first letter and the article before it fit."""
        words, gaps = self.words.copy(), self.gaps.copy()
        old = words[start]
        if len(old) > 1 and self.text.isupper():
            new = new.upper()
        elif old[0].isupper() and (start == 0 or not old.isupper()):
            new = capital(new)
        words[start:end], gaps[start + 1 : end] = [new], []
        if start and self.lower[start - 1] in ("a", "an") and gaps[start] == " ":
            words[start - 1] = _like(words[start - 1], article(new))
        return _join(words, gaps)

    def drop(self, i: int) -> str:
        """Return the text without word i, which is not the first."""
        return _join(self.words[:i] + self.words[i + 1 :], self.gaps[:i] + self.gaps[i + 1 :])

    def swap(self, one: tuple[int, int], two: tuple[int, int]) -> str:
        """Return the text with two runs of words in each other's place; `one` stands before `two`."""
        (a, b), (c, d) = one, two
        first = _join(self.words[a:b], ["", *self.gaps[a + 1 : b], ""])
        second = _join(self.words[c:d], ["", *self.gaps[c + 1 : d], ""])
        if a == 0 and first[0].isupper():
            first, second = small(first), capital(second)
        words = [*self.words[:a], second, *self.words[b:c], first, *self.words[d:]]
        gaps = [*self.gaps[: a + 1], *self.gaps[b : c + 1], *self.gaps[d:]]
        return mend_articles(_join(words, gaps))


Rule = Callable[[Question, Random], str | None]


def split(text: str) -> tuple[list[str], list[str]]:
    """Return the n words of a text and the n + 1 gaps around them."""
    parts = _WORD.split(text)
    return parts[1::2], parts[::2]


def _join(words: Sequence[str], gaps: Sequence[str]) -> str:
    return "".join(part for pair in zip(gaps, [*words, ""]) for part in pair)


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def small(text: str) -> str:
    """Return the text with a small first letter, unless its first word is a name or an abbreviation."""
    first = text.split(" ", 1)[0].strip(",")
    if first in PROPER or first == "I" or first.startswith("I'") or (len(first) > 1 and not first[1:].islower()):
        return text
    return text[:1].lower() + text[1:]


def _like(old: str, new: str) -> str:
    return capital(new) if old[0].isupper() else new


def article(word: str) -> str:
    """Return "a" or "an", as a word demands; most abbreviations are spelled out: an HTML page."""
    if len(word) > 1 and word.isupper() and not word.isdigit():
        return "an" if word[0] in "AEFHILMNORSX" and word[1] != "A" else "a"
    return "an" if _AN.match(word) else "a"


def mend_articles(text: str) -> str:
    """Return the text with "a" or "an" as the next word demands."""
    return _ARTICLE.sub(lambda match: _like(match[1], article(match[2])) + " ", text)
