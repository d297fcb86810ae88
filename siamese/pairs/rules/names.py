"""Names and things that become others of the same list."""

from collections.abc import Sequence
from random import Random

from siamese.pairs.rules.phrases import Phrases
from siamese.pairs.rules.question import Question, Rule
from siamese.pairs.rules.words import NAMES, NOT_NAMES, SETS, WORDS

PLACES = ("countries", "cities", "states", "continents", "planets")
TECHNOLOGIES = (
    "programming languages", "web frameworks", "databases", "operating systems", "linux distributions", "programs",
    "browsers", "file formats", "cloud services", "companies", "devices", "data structures",
)  # fmt: skip
PEOPLE = ("men", "women", "surnames")
ROLES = ("family", "professions", "professions, plural")
ORIGINS = ("nationalities", "nationalities with a language", "languages", "religions", "believers")
CALENDAR = ("months", "days")
ANIMALS = ("animals", "animals, plural")
FOODS = ("foods", "fruits")
THINGS = ("vehicles", "rooms", "instruments", "body", "metals", "colours")
FIELDS = ("illnesses", "sports", "subjects")

# Lists whose names people write with a small letter, too; the ambiguous ones of them are words then.
_ANY_CASE = (
    "programming languages", "databases", "linux distributions", "browsers", "file formats", "devices", "countries",
    "cities", "states", "nationalities", "nationalities with a language", "web frameworks", "days", "religions",
)  # fmt: skip
_SMALL = frozenset(name.lower() for group in _ANY_CASE for entry in NAMES[group] for name in entry) - SETS["ambiguous"]


def other_name(groups: Sequence[str]) -> tuple[Rule, frozenset[str]]:
    """Return the rule that writes another name of the same list, and the words it looks for."""
    phrases = Phrases(NOT_NAMES)
    for group in groups:
        for entry in NAMES[group]:
            for name in entry:
                phrases.add(name, [other[0] for other in NAMES[group] if other is not entry])

    def keep(q: Question, start: int, end: int) -> bool:
        word, name = q.words[start], phrases.names[" ".join(q.lower[start:end])]
        if q.gaps[end] == " " and end < len(q.words) and q.words[end][0].isdigit():
            return False  # Windows 10 is a version
        if name.islower():
            return word.islower() or (start == 0 and q.after(end - 1) != "" and q.words[end].islower())
        if word[0].islower():
            return name.lower() in _SMALL
        return groups == PEOPLE or not _part_of_a_name(q, start, end, phrases)

    def rule(q: Question, random: Random) -> str | None:
        return phrases.change(q, random, keep)

    return rule, frozenset(phrases.longest)


def _part_of_a_name(q: Question, start: int, end: int, phrases: Phrases) -> bool:
    """Return whether the word before or after has a capital, too, as in Washington Post; titles have many."""
    if len(q.words) > 4 and sum(word[0].isupper() for word in q.words) > 0.6 * len(q.words):
        return False
    after = end < len(q.words) and q.gaps[end] == " " and q.words[end][0].isupper() and not q.words[end].isupper()
    before = start > 1 and q.gaps[start] == " " and q.words[start - 1][0].isupper()
    return after or (before and q.lower[start - 1] not in phrases.longest)


_ADJECTIVES = {noun: text.split() for noun, text in WORDS["modifiers"].items()}
NARROWED = frozenset(_ADJECTIVES)


def modifier(q: Question, random: Random) -> str | None:
    """Narrow a noun by an adjective: a guitar, an electric guitar."""
    for i, word in enumerate(q.lower[1:], 1):
        alone = q.after(i) == "" or q.after(i) in SETS["stops"]
        if word in _ADJECTIVES and q.words[i].islower() and q.lower[i - 1] in ("a", "an") and alone:
            return q.put(i, i + 1, f"{random.choice(_ADJECTIVES[word])} {q.words[i]}")
    return None


_OTHER_SEX = {"he": "she", "she": "he", "his": "her", "him": "her", "himself": "herself", "herself": "himself"}
_GENDERED = frozenset([*_OTHER_SEX, "her", "hers", "he's", "she's"])
PRONOUNS = frozenset([*_OTHER_SEX, "my"])
_OWNERS = ("my neighbor's", "my friend's", "my sister's", "someone else's")


def pronoun(q: Question, random: Random) -> str | None:
    """Change who is meant: he and she, my dog and my neighbor's dog."""
    gendered = [i for i, word in enumerate(q.lower) if word in _GENDERED]
    if len(gendered) == 1 and q.lower[gendered[0]] in _OTHER_SEX:
        return q.put(gendered[0], gendered[0] + 1, _OTHER_SEX[q.lower[gendered[0]]])
    if q.lower.count("my") == 1 and {"i", "me", "i'm", "i've"}.isdisjoint(q.lower):
        i = q.lower.index("my")
        if q.after(i) in SETS["owned"]:
            return q.put(i, i + 1, random.choice(_OWNERS))
    return None
