"""Opposites and stems of English words. The lists are in opposites.toml, which is read at the first call."""

import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

KINDS = ("verbs", "nouns", "other", "comparatives", "superlatives", "complements")
LATIN = frozenset(["us", "is", "ss"])  # ends of words that are no plurals
VOWELS = frozenset("aeiouy")
SHORT = dict.fromkeys(("used", "uses", "using"), "use") | dict.fromkeys(("sued", "sues", "suing"), "sue")


@lru_cache(1 << 17)
def stem(word: str) -> str:
    """Return a word in lower case without its inflection, such as "stop" for "stopped"; it need not be a word.

    Words of three letters or fewer stay. Irregular verbs are those of opposites.toml.
    """
    word = _bases().get(word, word)
    if len(word) > 3:
        if word.endswith(("ies", "ied")) and len(word) > 4:
            word = word[:-3] + "y"
        elif word.endswith(("ches", "shes", "xes", "sses", "zes")):
            word = word[:-2]
        elif word.endswith("s") and word[-2:] not in LATIN:
            word = word[:-1]
        elif word.endswith(("ing", "ed")):
            root = word.removesuffix("ing").removesuffix("ed")
            if len(root) > 2 and not root.endswith("e") and not VOWELS.isdisjoint(root):
                word = root
    if len(word) > 3:
        word = word.removesuffix("e")
        if word[-1] == word[-2]:  # stopped, and therefore also fill, filled
            word = word[:-1]
    return word


def opposites(word: str) -> frozenset[str]:
    """Return the stems of the opposites of a word in lower case; none for most words."""
    return _opposites().get(stem(word), frozenset())


@cache
def _lists() -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


@cache
def _bases() -> dict[str, str]:
    """Return the base of each form of the irregular verbs."""
    verbs = [forms.split() for forms in _lists()["inflection"]["irregular"].replace("\n", " ").split(",")]
    return {form: base for base, *forms in verbs for form in forms} | SHORT


@cache
def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for kind in KINDS:
        for entry in _lists()["opposites"][kind].replace("\n", " ").split(","):
            first, second = (phrase.split("_") for phrase in entry.split())
            differing = [(a, b) for a, b in zip(first, second) if a != b]
            # Of phrases such as turn_on and turn_off, the words in which they differ; "in" has too many senses.
            if len(first) == len(second) and len(differing) == 1 and differing[0][0] != "in":
                a, b = map(stem, differing[0])
                found.setdefault(a, set()).add(b)
                found.setdefault(b, set()).add(a)
    return {word: frozenset(others) for word, others in found.items()}
