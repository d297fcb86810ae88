"""Phrases that stand for others: opposites, time, quantities, units, synonyms and spellings."""

import re
from collections.abc import Callable, Iterable
from random import Random

from siamese.pairs.rules.forms import OPPOSITES, entries, forms, plural, twos
from siamese.pairs.rules.question import Question, Rule, split
from siamese.pairs.rules.words import SETS, WORDS

_CODE_BEFORE = re.compile(r"[_\-/\\.@#$<'\"]$")
_CODE_AFTER = re.compile(r"[_\-/\\@(<\[{'\"+=]")


class Phrases:
    """Phrases and the ones that may take their place, found in a question from the longest to the shortest.

    Args:
        fixed: list of expressions of two words; a phrase that begins or ends one of them is left alone.
    """

    def __init__(self, fixed: str = "") -> None:
        self.others: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}  # as written in the list
        self.longest: dict[str, int] = {}  # first word to words of the longest phrase
        self.fixed = frozenset(entries(fixed.lower()))

    def add(self, phrase: str, others: Iterable[str]) -> None:
        """Let others take a phrase's place."""
        words = split(phrase.lower())[0]
        known = self.others.setdefault(" ".join(words), [])
        known.extend(other for other in others if other not in known)
        self.names.setdefault(" ".join(words), phrase)
        self.longest[words[0]] = max(self.longest.get(words[0], 0), len(words))

    def found(self, q: Question, random: Random) -> list[tuple[int, int, str]]:
        """Return start, end and the phrase of each one in a question, in random order."""
        found, i, lower = [], 0, q.lower
        while i < len(lower):
            step = 1
            for size in range(min(self.longest.get(lower[i], 0), len(lower) - i), 0, -1):
                phrase = " ".join(lower[i : i + size])
                if phrase in self.others and all(gap == " " for gap in q.gaps[i + 1 : i + size]):
                    if not self._is_fixed(q, i, i + size):
                        found.append((i, i + size, phrase))
                    step = size
                    break
            i += step
        random.shuffle(found)
        return found

    def _is_fixed(self, q: Question, start: int, end: int) -> bool:
        if _CODE_BEFORE.search(q.gaps[start]) or _CODE_AFTER.match(q.gaps[end]):
            return True
        return " ".join(q.lower[max(start - 1, 0) : start + 1]) in self.fixed or (
            " ".join(q.lower[end - 1 : end + 1]) in self.fixed
        )

    def change(
        self, q: Question, random: Random, keep: Callable[[Question, int, int], bool] | None = None
    ) -> str | None:
        """Return the question with a phrase replaced by another one; None if there is none that `keep` allows."""
        padded = f" {' '.join(q.lower)} "
        for start, end, phrase in self.found(q, random):
            word = q.words[start]
            if word.isupper() and len(word) > 1 and not q.text.isupper() and not self.names[phrase].isupper():
                continue  # HID is no form of hide
            if keep is None or keep(q, start, end):
                new = [other for other in self.others[phrase] if f" {other.lower()} " not in padded]
                if new:
                    written = random.choice(new)
                    small = word.islower() and self.names[phrase][0].isupper()
                    return q.put(start, end, written.lower() if small else written)
        return None


def _opposites(*lists: str) -> Phrases:
    phrases = Phrases(OPPOSITES["fixed"])
    for name in lists:
        for pair in twos(OPPOSITES[name]):
            both = [pair]
            if name == "verbs":
                both = list(zip(forms(pair[0]), forms(pair[1])))
            elif name == "nouns":
                both = [pair, (plural(pair[0]), plural(pair[1]))]
            for one, two in both:
                phrases.add(one, [two])
                if two.lower() not in phrases.others:  # smaller is the opposite of larger alone, which stands first
                    phrases.add(two, [one])
    return phrases


def _groups(name: str) -> Phrases:
    """Return phrases from groups that are divided by commas, their members by |."""
    phrases = Phrases(WORDS[name].get("fixed", ""))
    for entry in entries(WORDS[name]["words"]):
        members = [member.strip() for member in entry.split("|")]
        for member in members:
            phrases.add(member, [other for other in members if other != member])
    return phrases


ANTONYMS = _opposites("verbs", "nouns", "other")
COMPARATIVES = _opposites("comparatives")
SUPERLATIVES = _opposites("superlatives")
TIMES = _groups("time")
QUANTIFIERS = _groups("quantifiers")
UNITS = _groups("units")


def comparative(q: Question, random: Random) -> str | None:
    """Write cheaper as pricier."""
    return COMPARATIVES.change(
        q, random, lambda q, start, end: not start or q.lower[start - 1] not in ("to", "some", "even")
    )


def time(q: Question, random: Random) -> str | None:
    """Write yesterday as last week, or the first time as the last time."""

    def keep(q: Question, start: int, end: int) -> bool:
        alone = end == start + 1 and q.lower[start] in ("first", "last")
        return not alone or (start > 0 and q.words[start].islower() and q.lower[start - 1] in SETS["before first"])

    return TIMES.change(q, random, keep)


def quantifier(q: Question, random: Random) -> str | None:
    """Write all as only some."""
    return QUANTIFIERS.change(q, random, lambda q, start, end: not start or q.words[start].islower())


def unit(q: Question, random: Random) -> str | None:
    """Write miles as kilometers."""
    return UNITS.change(
        q, random, lambda q, start, end: q.words[start].islower() or q.lower[start] in ("celsius", "fahrenheit")
    )


def without(q: Question, random: Random) -> str | None:
    """Write with as without, and the other way round."""
    for i, word in enumerate(q.lower):
        follows = q.after(i)
        if i and follows[:1].isalpha() and q.words[i].islower() and q.gaps[i] == " ":
            if word == "without" and not follows.endswith("ing") and follows != "any":
                return q.put(i, i + 1, "with")
            if word == "with" and q.lower[i - 1] not in SETS["with after"] and follows not in SETS["not after with"]:
                return q.put(i, i + 1, "without")
    return None


def same(name: str) -> tuple[Rule, frozenset[str]]:
    """Return the rule that replaces a phrase by another one that means the same, and the words it looks for.

    A list holds pairs of phrases. The second is replaced by the first, too, unless it is under `one_way`.
    """
    lists = WORDS["same"][name]
    phrases = Phrases(lists.get("fixed", ""))
    one_way = frozenset(entries(lists.get("one_way", "")))
    for first, second in twos(lists["words"]):
        phrases.add(first, [second])
        if second not in one_way and "*" not in one_way:
            phrases.add(second, [first])

    def keep(q: Question, start: int, end: int) -> bool:
        capital = q.words[start][0].isupper()
        around = [q.words[i] for i in (start - 1, end) if 0 <= i < len(q.words)]
        name = capital and not q.words[start].isupper() and any(word[0].isupper() for word in around)
        first = start == 0 and end < len(q.words) and not q.words[end][0].isupper()
        listed = phrases.names[" ".join(q.lower[start:end])]
        return (not name or first) and (not listed.isupper() or q.words[start].isupper())

    return lambda q, random: None if q.text.isupper() else phrases.change(q, random, keep), frozenset(phrases.longest)
