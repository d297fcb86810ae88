"""Make labelled pairs from plain questions: near misses, which differ by one change, and rewordings, which do not.

A rule takes a question and returns another one, or None if it does not apply. `KINDS` lists the rules and their labels;
near_misses.toml and opposites.toml hold the words they use. A near miss is label 0 (another number, name or direction,
the opposite, who does what to whom), a rewording label 1 (another frame or spelling, symmetric things in another order,
the right passive). The pairs of the kinds called "made-up" come from sentences of near_misses.toml alone.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

LONGEST = 40  # words of a question that a rule reads
MADE_UP_EVERY = 4  # a made-up pair follows after so many pairs from questions
BOTH = 0.2  # of the near misses, the share that is reworded, too, so that another frame says nothing of the label

_WORD = re.compile(r"((?:\w+(?:[.'’-]\w+)*)(?:\+\+|#(?!\w))?)")
_END = re.compile(r"[\s?.!]*$")


class Made(NamedTuple):
    """A pair of questions, its label and the kind of change between them."""

    question1: str
    question2: str
    is_duplicate: bool
    kind: str


class Kind(NamedTuple):
    """The label of a kind's pairs, and its rule; or, if it is made up, the sentences that its pairs come from."""

    is_duplicate: bool
    rule: "Rule | None" = None
    words: Collection[str] | None = None  # the rule reads questions with one of these, "#" being any digit; None: all
    made_up: "_MadeUp | None" = None


class Question:
    """A question as words and the gaps between them: gaps[i] precedes words[i], and gaps[-1] ends the question."""

    __slots__ = ("gaps", "lower", "text", "words")

    def __init__(self, text: str) -> None:
        parts = _WORD.split(text)
        self.text, self.gaps, self.words = text, parts[::2], parts[1::2]
        self.lower = [word.lower().replace("’", "'") for word in self.words]

    def put(self, start: int, end: int, new: str) -> str:
        """Return the text with words[start:end] replaced by `new`. Its first letter and the article before it fit."""
        words, gaps = self.words.copy(), self.gaps.copy()
        old = words[start]
        if len(old) > 1 and old.isupper() and new.islower() and self.text.isupper():
            new = new.upper()
        elif old[0].isupper() and (start == 0 or not old.isupper()):
            new = new[0].upper() + new[1:]
        words[start:end], gaps[start + 1 : end] = [new], []
        if start and self.lower[start - 1] in ("a", "an") and gaps[start] == " ":
            article = _article(new)
            words[start - 1] = article.capitalize() if words[start - 1][0].isupper() else article
        return _join(words, gaps)

    def drop(self, start: int, end: int) -> str:
        """Return the text without words[start:end]."""
        words, gaps = self.words.copy(), self.gaps.copy()
        del words[start:end], gaps[start + 1 : end + 1]
        if start == 0 and words:
            words[0] = words[0][0].upper() + words[0][1:] if self.words[0][0].isupper() else words[0]
        return _join(words, gaps)

    def swap(self, one: tuple[int, int], two: tuple[int, int]) -> str:
        """Return the text with two runs of words in each other's place; `one` stands before `two`."""
        (a, b), (c, d) = one, two
        first = _join(self.words[a:b], ["", *self.gaps[a + 1 : b], ""])
        second = _join(self.words[c:d], ["", *self.gaps[c + 1 : d], ""])
        if a == 0 and first[0].isupper():
            second = second[0].upper() + second[1:]
            first = _small(first)
        words = [*self.words[:a], second, *self.words[b:c], first, *self.words[d:]]
        gaps = [*self.gaps[: a + 1], *self.gaps[b : c + 1], *self.gaps[d:]]
        return _mend_articles(_join(words, gaps))


Rule = Callable[[Question, Random], str | None]


def _join(words: Sequence[str], gaps: Sequence[str]) -> str:
    return "".join(part for pair in zip(gaps, [*words, ""]) for part in pair)


# Grammar and lists

_HERE = Path(__file__).parent
_TOML = tomllib.loads((_HERE / "near_misses.toml").read_text("utf-8"))
_OPPOSITES = tomllib.loads((_HERE / "opposites.toml").read_text("utf-8"))
_SETS = {name: frozenset(text.split()) for name, text in _TOML["sets"].items()}
_VOWEL = re.compile(r"(?!u[nst]i|us[ea]|eu|one\b|once\b|ubuntu)[aeiou]|hour|hono|honest|heir|8|11\b|18\b", re.I)
_UBUNTU = re.compile(r"u(?:buntu|nin|nim|nid)", re.I)
_ACRONYM = re.compile(r"[AEFHILMNORSX](?:[A-Z0-9]|\b)(?![a-z])")
_ARTICLE = re.compile(r"\b([Aa]n?) (?=(\w+))")


def _list(text: str) -> list[str]:
    return [" ".join(entry.split()).replace("_", " ") for entry in text.split(",") if entry.strip()]


def _twos(text: str) -> list[tuple[str, str]]:
    """Return the entries of a list of two words each."""
    return [
        (a.replace("_", " "), b.replace("_", " "))
        for a, b in (entry.split() for entry in text.split(",") if entry.strip())
    ]


def _article(word: str) -> str:
    if len(word) > 1 and word.isupper() and not word.isdigit() and word[:2] not in ("SA", "RA", "NA", "LA", "MA", "HA"):
        return "an" if _ACRONYM.match(word) else "a"
    return "an" if _VOWEL.match(word) or _UBUNTU.match(word) else "a"


def _mend_articles(text: str) -> str:
    """Return the text with "a" or "an" as the next word demands; "A" as a name of something stays."""

    def mend(match: re.Match[str]) -> str:
        article = _article(match[2])
        return (article.capitalize() if match[1][0] == "A" else article) + " "

    return _ARTICLE.sub(mend, text)


def _small(text: str) -> str:
    """Return the text with a small first letter, unless its first word is a name or an abbreviation."""
    first = text.split(" ", 1)[0].strip(",")
    if first in _PROPER or first == "I" or first.startswith("I'") or (not first[1:].islower() and len(first) > 1):
        return text
    return text[:1].lower() + text[1:]


_DOUBLED = frozenset(_list(_OPPOSITES["inflection"]["doubled"]))
_IRREGULAR = {entry.split()[0]: entry.split() for entry in _list(_OPPOSITES["inflection"]["irregular"])}


def _forms(verb: str) -> tuple[str, str, str, str, str]:
    """Return a verb's base, third person, past, participle and -ing form. What follows its first word stays."""
    verb, _, rest = verb.partition(" ")
    rest = f" {rest}" if rest else ""
    if verb in _IRREGULAR:
        _, past, participle, ing = _IRREGULAR[verb]
    else:
        stem = verb + verb[-1] if verb in _DOUBLED else verb
        if verb.endswith("y") and verb[-2] not in "aeiou":
            past = participle = verb[:-1] + "ied"
        else:
            past = participle = stem + ("d" if verb.endswith("e") else "ed")
        ing = (verb[:-1] if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) else stem) + "ing"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        third = verb[:-1] + "ies"
    else:
        third = verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
    return verb + rest, third + rest, past + rest, participle + rest, ing + rest


def _plural(noun: str) -> str:
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


_IRREGULAR_PLURALS = {
    "wife": "wives",
    "takeoff": "takeoffs",
    "maximum": "maxima",
    "minimum": "minima",
    "thief": "thieves",
}


_AFTER_A_VERB = (" the", " my", " a", " it", " your", " this", " his", " her", " their", " an", " our")


class _Phrases:
    """Phrases that stand for others, found in a question from the longest to the shortest."""

    def __init__(self, fixed: str = "", any_case: bool = True) -> None:
        self.others: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}  # as written in the list
        self.longest: dict[str, int] = {}  # first word to words of the longest phrase
        self.fixed = frozenset(" ".join(entry.lower().split()) for entry in fixed.split(",") if entry.strip())
        self.any_case = any_case

    def add(self, phrase: str, others: Iterable[str]) -> None:
        words = [word.lower() for word in _WORD.split(phrase)[1::2]]
        small = " ".join(words)
        self.others.setdefault(small, []).extend(other for other in others if other not in self.others.get(small, ()))
        self.names.setdefault(small, phrase)
        self.longest[words[0]] = max(self.longest.get(words[0], 0), len(words))

    def found(self, q: Question) -> list[tuple[int, int, str]]:
        """Return start, end and the phrase of each one in a question that is not part of a fixed expression."""
        found, i, lower = [], 0, q.lower
        while i < len(lower):
            step = 1
            for size in range(min(self.longest.get(lower[i], 0), len(lower) - i), 0, -1):
                phrase = " ".join(lower[i : i + size]) if size > 1 else lower[i]
                if phrase in self.others and all(gap == " " for gap in q.gaps[i + 1 : i + size]):
                    if not self._is_fixed(q, i, i + size):
                        found.append((i, i + size, phrase))
                    step = size
                    break
            i += step
        return found

    def _is_fixed(self, q: Question, start: int, end: int) -> bool:
        before = f"{q.lower[start - 1]} {q.lower[start]}" if start else ""
        after = f"{q.lower[end - 1]} {q.lower[end]}" if end < len(q.lower) else ""
        if before in self.fixed or after in self.fixed:
            return True
        if q.lower[start] in ("lower", "clean", "correct", "dry") and after.endswith(_AFTER_A_VERB):
            return True
        joined = q.gaps[start][-1:] in tuple("_-/\\.@#$<'\"") or q.gaps[end][:1] in tuple("_-/\\@(<[{'\"+=")
        return bool(joined and (start or q.gaps[start])) or (q.gaps[end][:1] == "." and q.gaps[end][1:2].isalnum())

    def change(
        self, q: Question, random: Random, keep: Callable[[Question, int, int], bool] | None = None
    ) -> str | None:
        """Return the question with one phrase replaced by another, or None if there is none."""
        found = self.found(q)
        random.shuffle(found)
        for start, end, phrase in found:
            if keep is not None and not keep(q, start, end):
                continue
            shouted = q.words[start].isupper() and len(q.words[start]) > 1 and not q.text.isupper()
            if shouted and phrase.upper() not in self.names.values():  # HID is no form of hide
                continue
            new = [
                o
                for o in self.others[phrase]
                if o.lower() not in q.lower and f" {o.lower()} " not in f" {' '.join(q.lower)} "
            ]
            if new:
                return q.put(start, end, random.choice(new))
        return None


def _opposites(lists: Iterable[str], fixed: str) -> _Phrases:
    phrases = _Phrases(fixed)

    def both(a: str, b: str) -> None:
        phrases.add(a, [b])
        if b.lower() not in phrases.others:  # smaller is the opposite of larger alone, which stands first
            phrases.add(b, [a])

    for name in lists:
        for a, b in _twos(_OPPOSITES["opposites"][name]):
            if name == "verbs":
                for one, two in zip(_forms(a), _forms(b)):
                    both(one, two)
            else:
                both(a, b)
                if name == "nouns":
                    both(_plural(a), _plural(b))
    return phrases


_FIXED = _OPPOSITES["opposites"]["fixed"]
_ANTONYMS = _opposites(["verbs", "nouns", "other"], _FIXED)
_COMPARATIVES = _opposites(["comparatives"], _FIXED)
_SUPERLATIVES = _opposites(["superlatives"], _FIXED)


def _groups(text: str, fixed: str) -> _Phrases:
    """Return phrases from groups that are divided by commas, their members by |."""
    phrases = _Phrases(fixed)
    for entry in _list(text):
        members = [member.strip() for member in entry.split("|")]
        for member in members:
            phrases.add(member, [other for other in members if other != member])
    return phrases


_TIMES = _groups(_TOML["time"]["words"], _TOML["time"]["fixed"])
_QUANTIFIERS = _groups(_TOML["quantifiers"]["words"], _TOML["quantifiers"]["fixed"])
_UNITS = _groups(_TOML["units"]["words"], "")

_PLACES = ("countries", "cities", "states", "continents", "planets")
_TECHNOLOGIES = (
    "programming languages",
    "web frameworks",
    "databases",
    "operating systems",
    "linux distributions",
    "programs",
    "browsers",
    "file formats",
    "cloud services",
    "companies",
    "devices",
    "data structures",
)
_PEOPLE = ("men", "women", "surnames")
_KINSHIP = ("family", "professions", "professions, plural")
_ORIGINS = ("nationalities", "nationalities with a language", "languages", "religions", "believers")
_CALENDAR = ("months", "days")
_ANY_CASE = frozenset(
    {
        "programming languages",
        "databases",
        "linux distributions",
        "browsers",
        "file formats",
        "devices",
        "countries",
        "cities",
        "states",
        "nationalities",
        "nationalities with a language",
        "web frameworks",
        "days",
        "religions",
    }
)
_AMBIGUOUS = _SETS["ambiguous"]


def _names(groups: Iterable[str]) -> _Phrases:
    """Return phrases from lists of names; a name becomes another one of its list."""
    phrases = _Phrases(_TOML["names"]["fixed"])
    for group in groups:
        entries = [entry.split("|") for entry in _list(_TOML["names"][group])]
        for entry in entries:
            for name in entry:
                phrases.add(name, [other[0] for other in entries if other is not entry])
    return phrases


_PROPER = frozenset(
    name.split(" ")[0]
    for group, text in _TOML["names"].items()
    for entry in _list(text)
    for name in entry.split("|")
    if group != "fixed" and name[:1].isupper()
)
_FREE = frozenset(
    name.lower()
    for group in _ANY_CASE
    for entry in _list(_TOML["names"][group])
    for name in entry.split("|")
    if name.lower() not in _AMBIGUOUS
)


def _swap_names(groups: Sequence[str]) -> tuple[Rule, frozenset[str]]:
    """Return the rule that swaps a name of these lists for another of the same list, and the words it looks for."""
    phrases = _names(groups)
    proper = groups[0][0] not in "f" and any(_TOML["names"][group].strip()[0].isupper() for group in groups)

    def rule(q: Question, random: Random) -> str | None:
        found = phrases.found(q)
        random.shuffle(found)
        for start, end, phrase in found:
            name = phrases.names[phrase]
            as_written = q.words[start]
            if name.islower() and start and as_written[0].isupper() and not as_written.isupper():
                continue  # a part of a name or a title
            small = as_written[0].islower() and name[0].isupper()
            if small and phrase not in _FREE:
                continue
            if proper and name[0].isupper() and not small and _part_of_a_name(q, start, end, phrases):
                continue
            if (
                end < len(q.words)
                and q.gaps[end] == " "
                and (q.words[end][0].isdigit() or q.lower[end] in ("sdk", "api", "emulator"))
            ):
                continue  # Windows 10 is a version
            if start and q.lower[start - 1] == "the" and _WITH_THE.match(name):
                continue
            if name in _COLOURS and (
                not as_written.islower() or (q.lower[end : end + 1] != [] and q.lower[end] in _COLOURED)
            ):
                continue
            new = [o for o in phrases.others[phrase] if o.lower() not in q.text.lower() and not o.startswith("United")]
            if not new:
                continue
            choice = random.choice(new)
            if small and as_written.islower():
                choice = choice.lower()
            return q.put(start, end, choice)
        return None

    return rule, frozenset(phrases.longest)


_WITH_THE = re.compile(r"U\.?[SK]|United")
_COLOURS = frozenset(_list(_TOML["names"]["colours"]))
_COLOURED = _SETS["coloured"]


def _part_of_a_name(q: Question, start: int, end: int, phrases: _Phrases) -> bool:
    """Return whether the word after or before is a part of a longer name, as in Washington Post."""
    if q.words[start].isupper() and len(q.words[start]) > 1 and q.text.isupper():
        return False
    titled = sum(word[0].isupper() for word in q.words) > 0.6 * len(q.words) and len(q.words) > 4
    after = end < len(q.words) and q.gaps[end] == " " and q.words[end][0].isupper() and not q.words[end].isupper()
    before = (
        start > 1
        and q.gaps[start] == " "
        and q.words[start - 1][0].isupper()
        and q.lower[start - 1] not in phrases.longest
    )
    return (after or before) and not titled and phrases.names.get(q.lower[start], "") not in _FIRST_AND_LAST


_FIRST_AND_LAST = frozenset(name for group in ("men", "women", "surnames") for name in _list(_TOML["names"][group]))


# Near misses

_NUMBER_WORDS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ORDINALS = {
    "second": "third",
    "third": "fourth",
    "fourth": "fifth",
    "fifth": "sixth",
    "1st": "2nd",
    "2nd": "3rd",
    "3rd": "4th",
    "4th": "5th",
}
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_CODE = re.compile(r"(?=[\w-]*\d{3})(?=[\w-]*[A-Za-z])[\w-]{4,}")
_DATED = re.compile(r"(?:1[5-9]|20)\d\d(?:s|$|-)")
_PRODUCT_NUMBER = re.compile(
    r"\b(windows|python|ubuntu|java|php|angular|excel|office|ios|android|iphone|galaxy|firefox|ie|rails|version|v|centos|debian|fedora|"
    r"drupal|laravel|wordpress|django|html|css|sharepoint|qgis|arcgis|swift|bootstrap|joomla|magento|vue|xcode|typo3|symfony|unity|"
    r"civicrm|opencv|tensorflow|powershell|perl|ruby|node|exchange|outlook) (\d{1,2})(?![\w.,])",
    re.I,
)


def _other_digits(digits: str, random: Random) -> str:
    """Return a number of as many digits, another one; it never starts with 0 nor becomes 1."""
    while True:
        place = random.randrange(len(digits))
        low = 2 if len(digits) == 1 else 1 if place == 0 else 0
        new = digits[:place] + str(random.randint(low, 9)) + digits[place + 1 :]
        if new != digits:
            return new


def _number(q: Question, random: Random) -> str | None:
    found = []
    for i, word in enumerate(q.words):
        if word.isascii() and word.isdigit() and word not in ("0", "1", "00", "101", "404") and not _is_year(q, i):
            joined = (
                q.gaps[i][-1:] in tuple("-_/\\^.:;,")
                or q.gaps[i + 1][:1] in tuple("-_/\\^:;%")[:6]
                or (q.gaps[i + 1] == "," and q.words[i + 1 : i + 2] and q.words[i + 1][0].isdigit())
                or (q.gaps[i + 1][:1] == "." and q.gaps[i + 1][1:])
            )
            if not joined and not (i and _PRODUCT_NUMBER.match(f"{q.words[i - 1]} {word}")):
                found.append((i, _other_digits(word, random)))
        elif q.lower[i] in _NUMBER_WORDS and (
            i == 0 or q.lower[i - 1] not in ("these", "those", "between", "the", "of", "into", "for", "those")
        ):
            found.append((i, random.choice([w for w in _NUMBER_WORDS if w not in q.lower])))
        elif (
            q.lower[i] in _ORDINALS
            and q.words[i].islower()
            and not (
                q.lower[i] == "second"
                and q.lower[i + 1 : i + 2] != []
                and q.lower[i + 1] in ("per", "hand", "order", "law")
            )
            and q.lower[i - 1 : i] in (["the"], ["a"], ["my"], ["his"])
        ):
            found.append((i, _ORDINALS[q.lower[i]]))
    return q.put(*_at(*random.choice(found))) if found else None


def _at(i: int, new: str) -> tuple[int, int, str]:
    return i, i + 1, new


def _is_year(q: Question, i: int) -> bool:
    word = q.words[i]
    return len(word) == 4 and word[:2] in ("17", "18", "19", "20") and (i == 0 or q.gaps[i][-1:] not in tuple("$£€."))


def _year(q: Question, random: Random) -> str | None:
    found = [i for i, word in enumerate(q.words) if word.isdigit() and _is_year(q, i)]
    found = [
        i for i in found if q.gaps[i][-1:] in ("", " ", "(") and q.gaps[i + 1][:1] not in ("-", "–", "/", ".", "x")[:3]
    ]
    if not found:
        return None
    i = random.choice(found)
    year = int(q.words[i])
    new = year
    while new == year or str(new) in q.words:
        new = max(1700, min(2029, year + random.choice((-1, 1)) * random.randint(1, 12)))
    return q.put(i, i + 1, str(new))


def _version(q: Question, random: Random) -> str | None:
    found = [
        (i, word) for i, word in enumerate(q.words) if _VERSION.fullmatch(word) and q.gaps[i][-1:] not in tuple("$£€")
    ]
    if found:
        i, word = random.choice(found)
        parts = word.split(".")
        part = random.randrange(len(parts))
        parts[part] = _other_digits(parts[part], random)
        return q.put(i, i + 1, ".".join(parts))
    match = _PRODUCT_NUMBER.search(q.text)
    if match is None:
        return None
    near = [n for n in range(max(2, int(match[2]) - 3), int(match[2]) + 3) if str(n) not in q.words]
    return q.text[: match.start(2)] + str(random.choice(near)) + q.text[match.end(2) :] if near else None


def _code(q: Question, random: Random) -> str | None:
    found = [
        i
        for i, word in enumerate(q.words)
        if _CODE.fullmatch(word)
        and not _DATED.search(word)
        and not re.fullmatch(r"\d+(?:st|nd|rd|th|s|k|px|gb|mb|ms|am|pm)", q.lower[i])
    ]
    if not found:
        return None
    i = random.choice(found)
    word = q.words[i]
    runs = list(re.finditer(r"\d+", word))
    run = max(runs, key=lambda match: match.end() - match.start())
    return q.put(i, i + 1, word[: run.start()] + _other_digits(run[0], random) + word[run.end() :])


def _unit(q: Question, random: Random) -> str | None:
    return _UNITS.change(
        q,
        random,
        keep=lambda q, start, end: (
            q.words[start].islower()
            or q.words[start].isupper()
            or q.lower[start] in ("celsius", "fahrenheit", "kelvin")
        ),
    )


def _quantifier(q: Question, random: Random) -> str | None:
    return _QUANTIFIERS.change(q, random, keep=lambda q, start, end: start == 0 or q.words[start].islower())


def _comparative(q: Question, random: Random) -> str | None:
    return _COMPARATIVES.change(
        q, random, keep=lambda q, start, end: start == 0 or q.lower[start - 1] not in ("to", "some", "even")
    )


_BEFORE_FIRST = _SETS["before first"]


def _time(q: Question, random: Random) -> str | None:
    def keep(q: Question, start: int, end: int) -> bool:
        if q.lower[start] in ("first", "last") and end == start + 1:
            before = q.lower[start - 1] if start else ""
            ends = end == len(q.words) or q.gaps[end] != " "
            return (
                (before in _BEFORE_FIRST and q.words[start].islower())
                or before.endswith("'s")
                or (ends and (before.endswith("ed") or before in ("born", "came", "began")))
            )
        return True

    return _TIMES.change(q, random, keep)


_WITH_AFTER = _SETS["with after"]


def _without(q: Question, random: Random) -> str | None:
    """Write with as without, and the other way round."""
    for i, word in enumerate(q.lower):
        if 0 < i < len(q.lower) - 1 and q.words[i].islower() and q.gaps[i] == q.gaps[i + 1] == " ":
            follows = q.lower[i + 1]
            if word == "without" and not follows.endswith("ing") and follows not in ("any", "being", "losing"):
                return q.put(i, i + 1, "with")
            if (word == "with" and q.lower[i - 1] not in _WITH_AFTER and follows not in _SETS["not after with"]) and (
                follows not in ("two", "three", "multiple", "several")
                and "without" not in q.lower
                and not follows[0].isdigit()
            ):
                return q.put(i, i + 1, "without")
    return None


_NEGATIVE = {
    "can't": "can",
    "cannot": "can",
    "doesn't": "does",
    "don't": "do",
    "didn't": "did",
    "isn't": "is",
    "aren't": "are",
    "wasn't": "was",
    "weren't": "were",
    "won't": "will",
    "couldn't": "could",
    "shouldn't": "should",
    "wouldn't": "would",
    "hasn't": "has",
    "haven't": "have",
}
_POSITIVE = {positive: negative for negative, positive in _NEGATIVE.items() if negative != "cannot"}
_WH = frozenset(["why", "what", "which", "who", "when", "where", "how"])
_SUBJECTS = _SETS["subjects"]
_AFTER_NOT = frozenset(["only", "just", "even", "all", "to", "sure", "yet"])


def _negation(q: Question, random: Random) -> str | None:
    """Add or remove a "not" where a question does not mean the same without it; never at the start, as in Isn't."""
    lower, found = q.lower, []
    if " at all" in q.text or len(lower) < 4 or "still" in lower or "no" in lower:
        return None
    for i, word in enumerate(lower):
        if (
            i
            and word in _NEGATIVE
            and not (word in ("can't", "cannot") and lower[i - 1] == "why" and i == 1 and len(lower) < 4)
        ):
            inverted = lower[i - 1] in _WH and i == 1
            positive = _NEGATIVE[word]
            if inverted or word not in ("don't", "doesn't", "didn't"):
                if (
                    not (word == "haven't" and "yet" in lower)
                    and lower[i + 1 : i + 2] not in (["seem"], ["even"], ["help"], ["yet"])
                    and "anything" not in lower
                    and "any" not in lower
                ):
                    found.append(q.put(i, i + 1, positive))
            elif (
                word == "don't"
                and lower[i + 1 : i + 2]
                and lower[i - 1] in ("i", "they", "we", "you", "people", "women", "men", "who", "that")
            ):
                found.append(q.drop(i, i + 1))
            elif word == "doesn't" and i + 1 < len(lower) and lower[i + 1] in _BASE and lower[i + 1] != "have":
                found.append(q.put(i, i + 2, _forms(lower[i + 1])[1]))
        elif (
            i
            and word == "not"
            and lower[i - 1] in ("is", "are", "was", "were", "should", "could", "will", "did", "does", "do", "can")
            and i > 1
        ):
            if (
                lower[i + 1 : i + 2]
                and lower[i + 1] not in _AFTER_NOT
                and (lower[i - 1] not in ("did", "does", "do"))
                and "any" not in lower
            ):
                found.append(q.drop(i, i + 1))
        elif i == 1 and lower[0] == "why" and word in ("does", "do", "is", "are", "was", "were", "did"):
            if (
                lower[i + 1 : i + 2] not in (["there"], ["not"], ["so"])
                and "not" not in lower
                and "so" not in lower
                and not any(w in _NEGATIVE for w in lower)
            ):
                found.append(q.put(i, i + 1, _POSITIVE[word]))
        elif (
            word in ("should", "can", "must", "could")
            and (i == 1 or (i < 4 and lower[0] in ("what", "which")))
            and i < len(lower) - 2
            and lower[0] in ("what", "which", "when", "who", "where")
            and lower[i + 1] in _SUBJECTS
        ):
            if lower[i + 2] in _BASE and not (word == "can" and lower[0] in ("what", "where")):
                found.append(q.put(i + 1, i + 2, f"{q.words[i + 1]} not"))
        elif (
            word in ("should", "can", "will")
            and i > 1
            and i + 1 < len(lower)
            and lower[i + 1] in _BASE
            and lower[i - 1] not in ("and", "or")
            and lower[1] != word
        ):
            found.append(q.put(i, i + 1, _POSITIVE[word]))
    return random.choice(found) if found else None


_BASE = frozenset(_list(_TOML["words"]["base_verbs"]))
_STOPS = frozenset(_list(_TOML["words"]["stops"]))
_DETERMINERS = _SETS["determiners"]
_CONVERTERS = frozenset(
    form
    for verb in (
        "convert",
        "change",
        "translate",
        "transform",
        "migrate",
        "port",
        "cast",
        "export",
        "copy",
        "move",
        "switch",
        "transfer",
        "import",
        "sync",
        "drive",
        "travel",
        "fly",
    )
    for form in _forms(verb)
)
_NO_DIRECTION = _SETS["no direction"]


def _noun_phrase(q: Question, start: int, most: int = 3) -> int | None:
    """Return the end of a short noun phrase that ends at a stop word, at punctuation or with the question."""
    end = start
    while end < len(q.words) and q.lower[end] not in _STOPS and (end == start or q.gaps[end] == " "):
        end += 1
        if end - start > most + (q.lower[start] in _DETERMINERS):
            return None
    if end == start or (end - start == 1 and q.lower[start] in _DETERMINERS):
        return None
    if end < len(q.words) and q.gaps[end] == " " and q.lower[end] in _SETS["noun phrase goes on"]:
        return None
    return end


_ONE_OR_ANOTHER = re.compile(r"\bone\b|\banother\b|\bother\b|[#+/\\]|\b(?:applies|leaves)\b", re.I)


def _direction(q: Question, random: Random) -> str | None:
    """Swap A and B in "from A to B" and "convert A to B"."""
    if not _NO_DIRECTION.isdisjoint(q.lower) or _ONE_OR_ANOTHER.search(q.text):
        return None
    for i, word in enumerate(q.lower[:-3]):
        if not (
            word == "from"
            or (word in _CONVERTERS and word.startswith(("convert", "transl", "transf", "chang", "port")))
        ):
            continue
        for j in range(i + 2, min(i + 6, len(q.lower) - 1)):
            if q.lower[j] in ("to", "into"):
                one = _noun_phrase(q, i + 1)
                two = _noun_phrase(q, j + 1)
                if one == j and two is not None and q.gaps[j] == q.gaps[j + 1] == " " and q.gaps[i + 1] == " ":
                    first, second = q.lower[i + 1 : j], q.lower[j + 1 : two]
                    if (
                        first == second
                        or second[0] in _BASE
                        or (second[0] in ("it", "the", "be") and len(second) == 1)
                        or q.lower[i + 1] in ("it", "this", "them")
                    ):
                        return None
                    if any(w[0].isdigit() for w in first + second) or second[0].endswith("ing"):
                        return None
                    if word != "from" and (
                        first[0] in ("the", "my", "your", "all", "this", "these", "those")
                        and second[0] not in ("the", "my", "a", "an")
                    ):
                        return None
                    return q.swap((i + 1, j), (j + 1, two))
                break
            if q.lower[j] in _STOPS:
                break
    return None


_THAN = re.compile(
    r"^(?P<be>(?:(?:why|when) )?(?:is|are|was|were|isn't|do|does|did|will|can) )(?P<a>(?:[\w'.#+-]+ ){1,3}?)"
    r"(?P<comparative>(?:(?:much|far|significantly|generally|really) )?"
    r"(?:better|worse|more [a-z]+|less [a-z]+|[a-z]{3,}er)) "
    r"than (?P<b>[\w'.#+-]+(?: [\w'.#+-]+){0,2})(?P<end>[?.! ]*)$",
    re.I,
)
_NOT_COMPARED = _SETS["not compared"]


def _than(q: Question, random: Random) -> str | None:
    """Swap A and B in "Is A better than B?"."""
    match = _THAN.match(q.text)
    if match is None or not _NOT_COMPARED.isdisjoint(q.lower):
        return None
    a, b, comparative = match["a"].strip(), match["b"].strip(), match["comparative"]
    if match["be"].split()[-1].lower() in ("do", "does", "did", "will", "can"):  # Do cats live longer than dogs?
        *start, verb = a.split()
        a, comparative = " ".join(start), f"{verb} {comparative}"
    if not a or a.lower().split()[0] in ("there", "it", "this") or _clause(a) or _clause(b):
        return None
    if not (_ADVERBS | {"so", "much", "considered", "using", "live", "now"}).isdisjoint(f"{a} {b}".lower().split()):
        return None
    return f"{match['be']}{b} {comparative} than {a}{match['end']}"


_ACTING = {base: _forms(base) for base in _list(_TOML["words"]["acting_verbs"])}
_PARTICIPLES = {base: forms[3] for base, forms in _ACTING.items()}
_ACT = re.compile(
    r"^(?P<wh>(?:(?:how|why|when) )?)(?P<aux>does|do|did|can|could|will|would) "
    rf"(?P<a>(?:[\w'.-]+ ){{1,3}}?)(?P<verb>{'|'.join(_ACTING)}) "
    r"(?P<b>[\w'.-]+(?: [\w'.-]+){0,2})(?P<end>[?.! ]*)$",
    re.I,
)
_PRONOUNS = {"i": "me", "he": "him", "she": "her", "we": "us", "they": "them", "you": "you", "it": "it"}
_OBJECTS = {obj: subject for subject, obj in _PRONOUNS.items()}
_CLAUSE = _SETS["clause"]


def _clause(text: str) -> bool:
    return not _CLAUSE.isdisjoint(text.lower().split())


_NO_SUBJECT = _SETS["no subject"]
_ADVERBS = _SETS["adverbs"]
_NO_OBJECT = _SETS["no object"]


class _Act(NamedTuple):
    wh: str
    aux: str
    a: str
    verb: str
    b: str
    end: str


def _act(q: Question) -> _Act | None:
    """Return the parts of "(Why) does A like B?"; None if the question is anything else."""
    match = _ACT.match(q.text)
    if match is None:
        return None
    a, b, verb = match["a"].strip(), match["b"].strip(), match["verb"].lower()
    subject, obj = a.lower().split(), b.lower().split()
    if _clause(a) or _clause(b) or "n't" in a or subject[-1] in _DETERMINERS or subject[0] in ("it", "one", "someone"):
        return None
    if not (_ADVERBS | _BASE | _NO_SUBJECT).isdisjoint(subject) or not _NO_OBJECT.isdisjoint(obj) or b.lower() in _BASE:
        return None
    if obj[0] in _SETS["no object starts with"] or obj[-1] in _SETS["no object ends with"]:
        return None
    if verb == "like" and (match["wh"] or match["aux"].lower() not in ("do", "does")):
        return None
    return _Act(match["wh"], match["aux"], a, verb, b, match["end"])


def _plural_subject(text: str) -> bool | None:
    """Return whether a noun phrase is plural; None if that is hard to tell."""
    words = text.lower().split()
    last = words[-1]
    if last in _PEOPLE_WORDS or " and " in text:
        return True
    if words[0] in ("a", "an", "this", "every", "each"):
        return False
    if last in ("you", "they", "we", "them", "us"):
        return True
    if (
        last.endswith("s")
        and not last.endswith(("ss", "us", "is", "'s", "ics", "news", "as", "os"))
        and last not in ("windows", "rails", "diabetes", "series", "gyros", "headquarters", "athens", "paris")
    ):
        return None if text[:1].isupper() and len(words) < 3 else True
    return False


_PEOPLE_WORDS = _SETS["people words"]


def _aux_for(aux: str, subject: str) -> str | None:
    """Return the form of do that agrees with a subject."""
    if aux.lower() not in ("do", "does"):
        return aux
    if subject.lower() in ("i", "you", "we", "they"):
        new = "do"
    else:
        plural = _plural_subject(subject)
        if plural is None:
            return None
        new = "do" if plural else "does"
    return new.capitalize() if aux[0].isupper() else new


def _subject_object(q: Question, random: Random) -> str | None:
    """Swap subject and object: Does A like B? becomes Does B like A?"""
    act = _act(q)
    if act is None:
        return None
    subject, obj = _OBJECTS.get(act.b.lower(), act.b), _PRONOUNS.get(act.a.lower(), act.a)
    aux = _aux_for(act.aux, subject)
    return None if aux is None else f"{act.wh}{aux} {subject} {act.verb} {obj}{act.end}"


def _passive(q: Question, right: bool) -> str | None:
    act = _act(q)
    if act is None or (act.verb in ("cause", "contain", "need", "own") and not right):
        return None
    subject, agent = (act.b, act.a) if right else (act.a, act.b)
    subject, agent = _OBJECTS.get(subject.lower(), subject), _PRONOUNS.get(agent.lower(), agent)
    if act.aux.lower() in ("does", "do", "did"):
        plural = subject.lower() != "i" and _plural_subject(subject)
        if plural is None:
            return None
        be = (
            ("were" if plural else "was")
            if act.aux.lower() == "did"
            else "am"
            if subject.lower() == "i"
            else "are"
            if plural
            else "is"
        )
        be = be.capitalize() if act.aux[0].isupper() else be
        return f"{act.wh}{be} {subject} {_PARTICIPLES[act.verb]} by {agent}{act.end}"
    return f"{act.wh}{act.aux} {subject} be {_PARTICIPLES[act.verb]} by {agent}{act.end}"


def _wrong_passive(q: Question, random: Random) -> str | None:
    return _passive(q, right=False)


def _right_passive(q: Question, random: Random) -> str | None:
    return _passive(q, right=True)


_DONE_TO = {_forms(verb)[2]: _forms(verb)[0] for verb in _list(_TOML["words"]["people_verbs"])}
_MAKERS = {
    _forms(verb)[2]: _forms(verb)[3]
    for verb in _list(_TOML["words"]["works_verbs"]) + _list(_TOML["words"]["people_verbs"])
}
_WHO = re.compile(
    rf"^(?P<who>who) (?P<verb>{'|'.join({**_MAKERS, **_DONE_TO, 'owns': ''})}) (?P<what>[^?.!,]+?)(?P<end>[?.! ]*)$",
    re.I,
)
_WHO_DID = re.compile(r"^(?P<who>who) did (?P<what>[^?.!,]+?) (?P<verb>[a-z]+)(?P<end>[?.! ]*)$", re.I)


def _who_whom(q: Question, random: Random) -> str | None:
    """Ask for the object in place of the subject, or the other way round: Who hired Anna? and Who did Anna hire?"""
    match = _WHO.match(q.text)
    if (
        match is not None
        and match["verb"].lower() in _DONE_TO
        and len(match["what"].split()) <= 4
        and not _clause(match["what"])
    ):
        return f"{match['who']} did {match['what']} {_DONE_TO[match['verb'].lower()]}{match['end']}"
    match = _WHO_DID.match(q.text)
    if match is not None and match["verb"].lower() in _DONE_TO.values() and not _clause(match["what"]):
        return f"{match['who']} {_forms(match['verb'].lower())[2]} {match['what']}{match['end']}"
    return None


def _who_passive(q: Question, random: Random) -> str | None:
    """Reword Who wrote X? as By whom was X written? and the like."""
    match = _WHO.match(q.text)
    if (
        match is None
        or len(match["what"].split()) > 8
        or not _SETS["not in a title"].isdisjoint(match["what"].lower().split())
    ):
        return None
    what, verb = match["what"], match["verb"].lower()
    if verb == "owns":
        be, participle = "is", "owned"
    else:
        be, participle = "was", _MAKERS[verb]
    plural = (
        what[:4].lower() == "the " and len(what.split()) == 2 and _plural_subject(what) is not False
    )  # a title is singular
    be = {"is": "are", "was": "were"}[be] if plural else be
    return random.choice(
        (
            f"By whom {be} {what} {participle}?",
            f"Who {be} {what} {participle} by?",
            f"{_capital(what)} {be} {participle} by whom?",
        )
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_ROLES = frozenset(_list(_TOML["words"]["professions"]))
_ADJECTIVES = _list(_TOML["words"]["adjectives"])


_THINGS: dict[str, str] = _TOML["modifiers"]
_MODIFIED = {
    **dict.fromkeys(_ROLES, _ADJECTIVES),
    **{thing: text.split() for thing, text in _THINGS.items() if " " not in thing},
}


def _modifier(q: Question, random: Random) -> str | None:
    """Add an adjective, or a restriction after a how question, which then asks for something narrower."""
    lower = q.lower
    found = [
        i
        for i, word in enumerate(lower)
        if word in _MODIFIED
        and q.words[i].islower()
        and i
        and lower[i - 1] in ("a", "an")
        and (i + 1 == len(lower) or q.gaps[i + 1] != " " or lower[i + 1] in _STOPS)
    ]
    if not found:
        return None
    i = random.choice(found)
    return q.put(i, i + 1, f"{random.choice(_MODIFIED[lower[i]])} {q.words[i]}")


_QUALIFIERS = _list(_TOML["words"]["qualifiers"])


def _restriction(q: Question, random: Random) -> str | None:
    how = _how(q)
    if how is None or not _SETS["restricted"].isdisjoint(q.lower) or len(q.words) > 12:
        return None
    end = _END.search(q.text)
    place = end.start() if end else len(q.text)
    return f"{q.text[:place]} {random.choice(_QUALIFIERS)}{q.text[place:]}"


_LIFE = _SETS["life"]
_RELATIONS = (
    "my father",
    "my neighbor",
    "my boss",
    "my landlord",
    "my sister",
    "a tourist",
    "my employer",
    "my roommate",
)
_FIRST_PERSON = frozenset(["my", "me", "myself", "mine", "we", "our", "us"])


def _pronoun(q: Question, random: Random) -> str | None:
    """Change who is meant: he and she, his and her, my dog and my neighbor's dog, Can I and Can my landlord."""
    lower, found = q.lower, []
    if (
        len(lower) > 3
        and lower[0] in ("can", "should", "could")
        and lower[1] == "i"
        and lower[2] in _LIFE
        and _FIRST_PERSON.isdisjoint(lower[2:])
        and "i" not in lower[2:]
    ):
        found.append(q.put(1, 2, random.choice(_RELATIONS)))
    men, women = {"he", "his", "him", "himself"}, {"she", "her", "hers", "herself"}
    if not (men & set(lower) and women & set(lower)):
        for i, word in enumerate(lower):
            new = {
                "he": "she",
                "she": "he",
                "his": "her",
                "him": "her",
                "himself": "herself",
                "herself": "himself",
                "he's": "she's",
                "she's": "he's",
            }.get(word)
            if (
                word == "her"
                and i + 1 < len(lower)
                and q.gaps[i + 1] == " "
                and lower[i + 1] not in _STOPS
                and lower[i + 1] not in _DETERMINERS | {"too", "more", "so", "very"}
                and lower[i - 1] not in _BASE | {"meet", "made", "gave", "told", "saw", "married", "left"}
            ):
                new = "his"
            if new is not None:
                others = [w for w in lower if w in men | women]
                if len(others) == 1 or (word in ("he", "she") and len(set(others)) == 1):
                    found.append(q.put(i, i + 1, new))
    for i, word in enumerate(lower[:-1]):
        if (
            word == "my"
            and lower.count("my") == 1
            and lower[i + 1] in _OWNED
            and not {"i", "me", "i'm", "i've"} & set(lower)
        ):
            found.append(
                q.put(i, i + 1, random.choice(("my neighbor's", "my friend's", "my sister's", "someone else's")))
            )
    return random.choice(found) if found else None


_OWNED = _SETS["owned"]

_QUESTION_WORDS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"^how (?=(?:do|does|did|can|should) (?:i|we|you|they|people|he|she)\b)(?! (?:much|many))", re.I),
        ("When ", "Why ", "Where "),
    ),
    (
        re.compile(r"^why (?=(?:is|are|was|were|do|does|did) )(?!.* (?:so|not|n't) )", re.I),
        ("When ", "Since when ", "How often "),
    ),
    (re.compile(r"^when (?=(?:was|were|did|is|does|do|can|should|will) )", re.I), ("Where ", "Why ")),
    (re.compile(r"^where (?=(?:was|were|did|does|should) )", re.I), ("When ", "Why ")),
    (re.compile(r"^how to ", re.I), ("When to ", "Where to ", "Why ")),
    (re.compile(r"^how long (?=(?:does|do|did|can|should|will) )", re.I), ("How often ", "Why ")),
    (re.compile(r"^how often ", re.I), ("How long ", "Why ")),
    (re.compile(r"^how does ", re.I), ("Why does ", "When does ")),
    (re.compile(r"^who (?=(?:is|was) (?:the|a) )", re.I), ("Where ", "How old ")),
    (
        re.compile(r"^what (?=(?:does|do|did) \w+ (?:eat|read|write|sing|sell|drink|cook|teach|study)\b)", re.I),
        ("When ", "Where ", "Why "),
    ),
)


def _question_word(q: Question, random: Random) -> str | None:
    """Ask when, where or why instead of how, and the like."""
    if q.lower[-1] in ("for", "from", "like", "to", "at", "in", "do", "about", "on", "with") or "because" in q.lower:
        return None
    for pattern, others in _QUESTION_WORDS:
        match = pattern.match(q.text)
        if match is not None:
            if "born" in q.lower or "can" in q.lower[1:2]:
                others = tuple(other for other in others if other != "Why ")
            new = random.choice(others)
            if new.startswith("Why ") and "to " in match[0].lower():
                new = "Why should I "
                if _FIRST_PERSON - {"my", "me"} and {"your", "you", "yourself"} & set(q.lower):
                    return None
            if new == "How often " and q.lower[1] in ("is", "are", "was", "were") and q.lower[2:3] != ["there"]:
                new = "Since when "
            if new == "Since when " and q.lower[1] in ("did", "was", "were"):
                new = "When "
            new = new if q.text[0].isupper() else new.lower()
            return new + q.text[match.end() :]
    return None


_OFFICES = (
    "president|ceo|king|queen|minister|leader|head|coach|captain|mayor|governor|owner|champion|chief|manager|boss|"
    "chairman|pope|emperor|speaker|secretary|richest|tallest|youngest|ambassador|senator"
)
_TENSE = (
    (re.compile(rf"^(who) (is) (?=(?:the|a) (?:\w+ )?(?:{_OFFICES})\b)"), "was"),
    (re.compile(rf"^(who) (was) (?=(?:the|a) (?:\w+ )?(?:{_OFFICES})\b)"), "is"),
    (re.compile(r"^(how many \w+) (did) "), "will"),
    (
        re.compile(r"^(when|where|how|why|what) (did) (?!.*\b(?:1\d\d\d|20\d\d|born|ago|last|die|happen|yesterday)\b)"),
        "will",
    ),
    (re.compile(r"^(when|where|how|why) (will) "), "did"),
    (re.compile(r"^()(will) (?!smith|ferrell|i am)"), "did"),
    (re.compile(r"^(why) (do) (?=people |women |men )"), "did"),
    (
        re.compile(
            r"^()(is|are) (?=[A-Z][a-z]+ (?:still|alive|married|single|rich|poor|sick|popular|legal|open|free)\b)"
        ),
        "was",
    ),
)


def _tense(q: Question, random: Random) -> str | None:
    """Ask about the past in place of the present, or about the future in place of the past."""
    text = q.text[:1].lower() + q.text[1:]
    if not {"today", "now", "currently", "tomorrow", "yesterday", "anymore", "way", "ever"}.isdisjoint(q.lower):
        return None
    for pattern, new in _TENSE:
        match = pattern.match(text)
        if match is None:
            continue
        old = match[2]
        if new == "was" and old == "are":
            new = "were"
        if new == "will" and old in ("are", "were"):
            continue
        if new == "did" and match[2] == "will" and " be " in text:
            continue
        return text_case(q.text, text[: match.start(2)] + new + text[match.end(2) :])
    return None


def text_case(old: str, new: str) -> str:
    """Return the new text with a capital first letter if the old text has one."""
    return _capital(new) if old[:1].isupper() else new


# Rewordings

_HOW = re.compile(
    r"^(?:how (?:do i|can i|do you|can you|can one|does one|do we|can we|would i|could i|to|would you|should i)|"
    r"what(?: is|'s|’s) (?:the best|a good|the proper|the right|the correct) way to|is there (?:a|any) way to)"
    r" (?P<act>[a-z][\w'-]*(?: .*)?)$",
    re.I,
)
_NOT_ACTS = frozenset(
    ["not", "feel", "think", "like", "know", "do", "say", "tell", "call", "you", "about", "best", "it"]
)


class _How(NamedTuple):
    act: str
    how: bool  # "how do I", not "the best way"


def _how(q: Question) -> _How | None:
    """Return what is to be done of "How do I ...?" and its like; None if the question is anything else."""
    if q.lower[0] not in ("how", "what", "is", "what's"):
        return None
    text = _END.sub("", q.text)
    match = _HOW.match(text)
    if match is None:
        return None
    act = _small(match["act"])
    first = act.split(" ", 1)[0].lower()
    if first in _NOT_ACTS or len(act) < 6 or re.search(r"[?!:;]|\. | - |\)$|…", act) or " " not in act:
        return None
    lower = frozenset(q.lower[2:] if q.lower[0] == "how" else q.lower)
    if lower & {"we", "our", "us", "ourselves"} or (
        lower & {"you", "your", "yourself", "yours"}
        and not (
            lower & {"you"}
            and q.lower[2] == "you"
            and not {"your", "yourself", "yours"} & lower
            and q.lower.count("you") == 1
        )
    ):
        return None
    if (
        len(q.lower) > 2
        and q.lower[2] == "you"
        and len(q.lower) > 3
        and q.lower[3] in ("feel", "think", "like", "know", "see", "do", "spell", "call", "say")
    ):
        return None
    return _How(act, True)


_HOW_FRAMES: list[str] = _TOML["frames"]["how frames"]


def _how_frame(q: Question, random: Random) -> str | None:
    """Ask how to do something in another frame."""
    how = _how(q)
    if how is None:
        return None
    frame = random.choice(_HOW_FRAMES)
    if "want" in frame and "want" in q.lower:
        return None
    return frame.replace("{}", how.act).replace("{+}", _capital(how.act))


_WHAT_IS = re.compile(
    r"^(?P<wh>what|who|where) (?P<be>is|are|was|were) "
    r"(?P<np>(?:(?:the|a|an|my|his|her|their|your) )[^?.!,:;()]+?)[?.! ]*$",
    re.I,
)
_WHAT_FRAMES: list[str] = _TOML["frames"]["what frames"]
_LONG_NP = _SETS["long np"]


def _what_frame(q: Question, random: Random) -> str | None:
    """Ask what or who something is in a frame that turns the question round: Does anyone know what the time is?"""
    match = _WHAT_IS.match(q.text)
    if match is not None:
        np = match["np"]
        words = np.lower().split()
        if (
            len(words) > 7
            or not _LONG_NP.isdisjoint(words)
            or words[-1].endswith(("ed", "ing"))
            or words[-1] in ("like", "doing", "for", "known")
        ):
            return None
        be = match["be"].lower()
        frame = random.choice(_WHAT_FRAMES)
        if "it?" in frame and be in ("are", "were"):
            frame = _WHAT_FRAMES[0]
        if "it?" in frame and match["wh"].lower() == "who":
            frame = _WHAT_FRAMES[1]
        return (
            frame.format_map({"wh": match["wh"].lower(), "np": _small(np), "be": be, "+np": _capital(np)})
            if "{+np}" not in frame
            else frame.replace("{+np}", _capital(np)).replace("{wh}", match["wh"].lower()).replace("{be}", be)
        )
    return None


_WHY = re.compile(
    rf"^why (?P<do>do) (?P<who>{'|'.join(_list(_TOML['words']['plurals']))}) (?P<rest>(?!not\b)[^?!]+?)[?.! ]*$", re.I
)
_WHY_SO = re.compile(
    r"^why (?P<be>is|are) (?P<np>(?!it\b|there\b|that\b)[^?!,]+?) (?P<how>so|too) (?P<adj>[a-z-]+)[?.! ]*$", re.I
)


def _why_frame(q: Question, random: Random) -> str | None:
    """Ask why in another frame."""
    match = _WHY.match(q.text)
    if match is not None:
        who = "I" if match["who"] == "i" else match["who"]
        rest = match["rest"]
        return random.choice(
            (
                f"What is the reason {who} {rest}?",
                f"Does anyone know why {who} {rest}?",
                f"For what reason do {who} {rest}?",
                f"How come {who} {rest}?",
                f"Can somebody explain why {who} {rest}?",
            )
        )
    match = _WHY_SO.match(q.text)
    if (
        match is not None
        and not _clause(match["np"])
        and not match["adj"].endswith("ly")
        and not match["np"].endswith("ed")
        and match["adj"] not in ("many", "much", "few", "little", "often", "long")
    ):
        np, be, tail = match["np"], match["be"].lower(), f"{match['how']} {match['adj']}"
        return random.choice(
            (
                f"How come {np} {be} {tail}?",
                f"Does anyone know why {np} {be} {tail}?",
                f"What makes {np} {tail}?"
                if match["how"] == "so" and np.lower() not in ("i", "he", "she", "they", "we")
                else f"For what reason {be} {np} {tail}?",
            )
        )
    return None


_OTHER_FRAMES = [(re.compile(entry["asks"], re.I), entry["same"]) for entry in _TOML["frame"]]


def _other_frame(q: Question, random: Random) -> str | None:
    """Ask for a possibility, a place, a meaning, an age or a price in another frame."""
    if not {"we", "us", "you", "your"}.isdisjoint(q.lower[1:]) and q.lower[0] != "do":
        return None
    for pattern, frames in _OTHER_FRAMES:
        match = pattern.match(q.text)
        if match is None:
            continue
        groups = {name: value or "" for name, value in match.groupdict().items()}
        if "there" in q.lower[:2] and len(q.words) > 14:
            return None
        text = random.choice(frames)
        for name, value in groups.items():
            text = text.replace(f"{{{name}}}", value).replace(f"{{+{name}}}", _capital(value))
        return _capital(text)
    return None


_GROUP_OF: dict[str, set[str]] = {}
for _group, _text in _TOML["names"].items():
    if _group not in ("fixed",):
        for _entry in _list(_text):
            for _name in _entry.split("|"):
                _GROUP_OF.setdefault(_name.lower(), set()).add(_group)


def _ordered(q: Question) -> bool:
    """Return whether a comparison has a direction, as in "faster in A vs B"."""
    return any(
        word in _COMPARATIVES.others or word in ("than", "more", "less", "as", "over", "increase", "from", "faster")
        for word in q.lower
    )


def _symmetric(q: Question, random: Random) -> str | None:
    """Swap A and B where their order says nothing: between A and B, A vs B, Python or Java."""
    for i, word in enumerate(q.lower):
        swapped = None
        if word in ("vs", "versus"):
            swapped = _versus(q, i)
        elif word == "between":
            swapped = _between(q, i)
        elif word in ("and", "or"):
            swapped = _neighbors(q, i)
        if swapped is not None:
            return swapped
    return None


def _versus(q: Question, i: int) -> str | None:
    lower = q.lower
    if not 0 < i < len(lower) - 1 or _ordered(q) or q.gaps[i] != " " or q.gaps[i + 1] not in (" ", ". "):
        return None
    start = i - 1
    while start > 0 and q.gaps[start] == " " and lower[start - 1] not in _STOPS and i - start < 3:
        start -= 1
    end = _noun_phrase(q, i + 1)
    if end is None or end - i - 1 != i - start:  # "direct vs indirect speech" shares its last word
        return None
    if (lower[start] in _DETERMINERS) != (lower[i + 1] in _DETERMINERS):
        return None
    if lower[i + 1].endswith("ing") != lower[start].endswith("ing"):
        return None
    after_stop = start > 0 and lower[start - 1] in _STOPS and q.words[start - 1].islower() and q.gaps[start] == " "
    if not after_stop and q.gaps[start] not in (": ", " - ", ", ", "? ") and (start or q.gaps[0]):
        return None
    if q.lower[end : end + 1] == ["of"]:
        return None
    ends = q.gaps[end] in (("", "?", " ?", ".") if end == len(q.words) else (" ", ": ", ", ", " - ", "? "))
    return q.swap((start, i), (i + 1, end)) if ends else None


def _between(q: Question, i: int) -> str | None:
    lower = q.lower
    if i == 0 or lower[i - 1] not in _SETS["between"] or lower.count("and") != 1 or "and" not in lower[i + 2 : i + 6]:
        return None
    middle = lower.index("and", i + 2)
    end = _noun_phrase(q, middle + 1, 4)
    if end is None or any(gap != " " for gap in q.gaps[i + 1 : middle + 2]):
        return None
    one, two = lower[i + 1 : middle], lower[middle + 1 : end]
    if not _STOPS.isdisjoint(one) or len(one) != len(two):  # "between direct and indirect speech" shares its last word
        return None
    if (one[0] in _DETERMINERS) != (two[0] in _DETERMINERS) or "i" in one + two:
        return None
    if one[0] in ("two", "other", "these", "those", "one") or two[0] in ("its", "their", "it"):
        return None
    return q.swap((i + 1, middle), (middle + 1, end))


def _neighbors(q: Question, i: int) -> str | None:
    """Swap two words of one list, as Python or Java, or the last two words of "Which is better, A or B"."""
    lower = q.lower
    if not 0 < i < len(lower) - 1 or q.gaps[i] != " " or q.gaps[i + 1] != " ":
        return None
    if q.gaps[i + 2][:2] in (" [", "[]", " {", "(") or q.gaps[i - 1][-1:] in tuple("-_/@"):
        return None
    one, two = lower[i - 1], lower[i + 1]
    before = lower[i - 2] if i > 1 else ""
    listed = _GROUP_OF.get(one, set()) & _GROUP_OF.get(two, set()) and {one, two} != {"black", "white"}
    asked = (
        lower[i] == "or" and i + 2 == len(lower) and lower[0] in ("which", "what", "is", "should") and one not in _STOPS
    )
    alike = listed and q.words[i - 1][0].isupper() == q.words[i + 1][0].isupper()
    chosen = asked and before in ("better", "use", "learn", "choose", "buy", "prefer", "between") and two != "not"
    if not alike and not chosen:
        return None
    if before in ("from", "if", "more", "north", "south", "to") or (
        i > 2 and q.gaps[i - 1] == " " and q.words[i - 2][0].isupper()
    ):
        return None
    if i > 1 and q.gaps[i - 1] == " " and before not in _STOPS | _DETERMINERS | _BASE | _SETS["before a list"]:
        return None
    if i + 2 < len(lower) and q.gaps[i + 2] == " " and (lower[i + 2] not in _STOPS or q.words[i + 2][0].isupper()):
        return None
    return q.swap((i - 1, i), (i + 1, i + 2))


def _converse(q: Question, random: Random) -> str | None:
    """Reword Is A better than B? as Is B worse than A?"""
    match = _THAN.match(q.text)
    if (
        match is None
        or not _NOT_COMPARED.isdisjoint(q.lower)
        or q.lower[0] in ("do", "does", "did", "can", "will", "why")
    ):
        return None
    a, b, comparative = match["a"].strip(), match["b"].strip(), match["comparative"].lower()
    others = _COMPARATIVES.others.get(comparative)
    if others is None or _clause(a) or _clause(b) or a.lower().split()[0] in ("there", "it", "this"):
        return None
    be = match["be"].strip()
    plural_a, plural_b = _plural_subject(a), _plural_subject(b)
    if plural_a is None or plural_a != plural_b:
        return None
    if comparative in ("older", "younger", "higher", "lower") or len(others) == 1 or comparative == "larger":
        return f"{be} {b} {others[0]} than {a}{match['end']}"
    return None


def _phrase_rule(
    pairs: Sequence[tuple[str, str]], fixed: str, one_way: Collection[str] | None
) -> tuple[Rule, frozenset[str]]:
    """Return the rule that replaces a phrase by another that means the same, and the words it looks for.

    The second of a pair is replaced by the first, too, unless it is in `one_way` or that is None.
    """
    phrases = _Phrases(fixed)
    for a, b in pairs:
        phrases.add(a, [b])
        if one_way is not None and b not in one_way:
            phrases.add(b, [a])

    def rule(q: Question, random: Random) -> str | None:
        if q.text.isupper():
            return None
        return phrases.change(q, random, keep=keep)

    def keep(q: Question, start: int, end: int) -> bool:
        name = phrases.names[" ".join(q.lower[start:end])]
        return not _inside_name(q, start, end) and (not name.isupper() or q.words[start].isupper())

    return rule, frozenset(phrases.longest)


def _inside_name(q: Question, start: int, end: int) -> bool:
    """Return whether a capital word that is not the first one has a neighbour with a capital, as names do."""
    if start == 0 and end < len(q.words) and not q.words[end][0].isupper():
        return False
    around = [j for j in (start - 1, end) if 0 <= j < len(q.words)]
    return q.words[start][0].isupper() and any(q.words[j][0].isupper() for j in around) and not q.words[start].isupper()


def _contraction(q: Question, random: Random) -> str | None:
    """Write what is as what's, or don't as do not."""
    found = _CONTRACTIONS.found(q)
    random.shuffle(found)
    for start, end, phrase in found:
        new = random.choice(_CONTRACTIONS.others[phrase])
        last = end == len(q.words) or q.gaps[end] != " "
        if (
            "'" in new
            and (last or new.endswith(("'s", "'ve", "'re", "'m")))
            and (
                last
                or (
                    phrase.startswith(("who", "how", "where", "that", "there", "it"))
                    and q.lower[end] in ("a", "the")
                    and end + 1 == len(q.words)
                )
            )
        ):
            continue
        if phrase.endswith("n't") or phrase in ("do not", "does not", "is not", "are not"):
            inverted = start < 2 and (start == 0 or q.lower[start - 1] in _WH)
            inverted = inverted or (end < len(q.words) and q.lower[end] in _SUBJECTS)
            if inverted and phrase.endswith("n't"):  # Why isn't it: Why is it not
                if start and end < len(q.words) and q.lower[end] in _SUBJECTS:
                    expanded = new.split(" ")[0] if " " in new else "can"
                    return q.put(start, end + 1, f"{expanded} {q.words[end]} not")
                continue
        if (
            phrase in ("he's", "she's", "it's", "that's", "what's", "who's", "there's")
            and end < len(q.words)
            and q.lower[end].endswith(("ed", "en", "ne"))
        ) or (phrase in ("he's", "it's", "she's") and q.lower[end : end + 1] in (["got"], ["been"])):
            continue
        if new in ("gonna", "wanna", "gotta") and (
            start == 0
            or q.lower[start - 1] in ("he", "she", "it", "who")
            or random.random() < 0.5
            or q.lower[end : end + 1] in (["the"], ["a"], ["my"], ["college"], ["school"], ["jail"])
            or end == len(q.words)
            or (new == "gonna" and q.lower[end] not in _BASE)
        ):
            continue
        if new.startswith("I "):
            return q.put(start, end, new)
        return q.put(start, end, new)
    return None


_CONTRACTIONS = _Phrases()
for _long, _short in _twos(_TOML["same"]["contractions"]):
    _CONTRACTIONS.add(_long, [_short])
    if _short not in ("can't",) or _long == "can_not":
        _CONTRACTIONS.add(_short, [_long[:1].upper() + _long[1:] if _long.startswith("i ") else _long])
_CONTRACTIONS.add("can't", ["cannot"])


def _not_complement(q: Question, random: Random) -> str | None:
    """Write illegal as not legal, in questions that ask more than yes or no."""
    if q.lower[0] not in _WH:
        return None
    for i, word in enumerate(q.lower[:-1] if len(q.lower) > 2 else []):
        pair = _COMPLEMENTS.get(word)
        if pair is not None and _predicative(q, i):
            return q.put(i, i + 1, f"not {pair}")
    i = len(q.lower) - 1
    pair = _COMPLEMENTS.get(q.lower[i])
    return q.put(i, i + 1, f"not {pair}") if pair is not None and _predicative(q, i) else None


_COPULAS = frozenset(
    ["is", "are", "was", "were", "being", "become", "becomes", "became", "remain", "remains", "considered"]
)


def _predicative(q: Question, i: int) -> bool:
    """Return whether an adjective stands alone after its noun, as in "is it legal to"."""
    if not q.words[i].islower():
        return False
    after = (
        i + 1 == len(q.lower)
        or q.gaps[i + 1] != " "
        or q.lower[i + 1] in ("to", "for", "in", "when", "if", "on", "at", "with", "of")
    )
    asked = q.lower[1] in ("is", "are", "was", "were", "am") or q.lower[i - 1] in _COPULAS
    return (
        after
        and asked
        and i > 1
        and q.gaps[i] == " "
        and q.lower[i - 1] not in _DETERMINERS | _SETS["before an attribute"]
        and not q.lower[i - 1].endswith("ly")
    )


_COMPLEMENTS = {b: a for a, b in _twos(_OPPOSITES["opposites"]["complements"])}
_NEGATED = dict(_twos(_OPPOSITES["opposites"]["complements"]))


def _not_adjective(q: Question, random: Random) -> str | None:
    """Add a "not" before an adjective: why is it legal to, why is it not legal to."""
    if q.lower[0] not in _WH or "not" in q.lower or any(word in _NEGATIVE for word in q.lower):
        return None
    for i, word in enumerate(q.lower):
        if (word in _NEGATED or word in _COMPLEMENTS) and _predicative(q, i):
            return q.put(i, i + 1, f"not {q.words[i]}")
    return None


_DIGITS = {
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
    "12": "twelve",
}
_DIGITS_OF = {word: digit for digit, word in _DIGITS.items()}
_COUNTABLE = re.compile(r"[a-z]{3,}s")


def _number_writing(q: Question, random: Random) -> str | None:
    """Write two as 2, 10000 as 10,000 and 5% as 5 percent."""
    found = []
    if sum(word[0].isdigit() or word in _DIGITS_OF or word == "one" for word in q.lower) > 1:
        return None
    for i, word in enumerate(q.words):
        alone = (
            q.gaps[i][-1:] in ("", " ", "$", "€", "£")
            and q.gaps[i + 1][:1] in ("", " ", "?", ".")
            and not (q.gaps[i + 1][:1] == "." and q.gaps[i + 1][1:2].isalnum())
        )
        if not alone:
            continue
        counted = (
            i + 1 < len(q.words)
            and _COUNTABLE.fullmatch(q.words[i + 1]) is not None
            and not q.lower[i + 1].endswith(("ss", "us", "is"))
            and q.lower[i + 1] not in ("does", "has", "was")
        )
        if word in _DIGITS and counted and q.gaps[i] in ("", " ") and not (i and q.words[i - 1][0].isupper() and i > 1):
            found.append((i, _DIGITS[word]))
        elif word in _DIGITS_OF and counted:
            found.append((i, _DIGITS_OF[word]))
        elif (
            word.isascii()
            and word.isdigit()
            and len(word) in (5, 6, 7)
            and word[0] != "0"
            and (q.gaps[i].endswith(("$", "€", "£")) or word.endswith("000"))
        ):
            found.append((i, f"{int(word):,}"))
        elif word.isdigit() and word == "100":
            found.append((i, "one hundred"))
        elif word == "1000" and counted:
            found.append((i, random.choice(("1,000", "one thousand"))))
    percent = re.search(r"(\d) ?%(?=[\s?.]|$)", q.text)
    if percent is not None:
        return q.text[: percent.end(1)] + " percent" + q.text[percent.end() :]
    return q.put(*_at(*random.choice(found))) if found else None


_KEYS = {
    "a": "s",
    "s": "d",
    "d": "f",
    "e": "r",
    "r": "t",
    "t": "y",
    "i": "o",
    "o": "p",
    "n": "m",
    "m": "n",
    "l": "k",
    "c": "v",
    "u": "i",
    "g": "h",
    "b": "v",
    "h": "j",
    "p": "o",
}


def _typo(q: Question, random: Random) -> str | None:
    """Swap, drop, double or mistype a letter of a long word in small letters, never the first."""
    found = [
        i
        for i, word in enumerate(q.words)
        if len(word) > 5
        and word.isascii()
        and word.isalpha()
        and word.islower()
        and word not in _TYPO_FREE
        and q.gaps[i][-1:] in ("", " ")
    ]
    if not found:
        return None
    i = random.choice(found)
    word = q.words[i]
    for _ in range(4):
        at = random.randrange(1, len(word) - 2)
        how = random.randrange(4)
        if how == 0 and word[at] != word[at + 1]:
            return q.put(i, i + 1, word[:at] + word[at + 1] + word[at] + word[at + 2 :])
        if how == 1 and at > 1:
            return q.put(i, i + 1, word[:at] + word[at + 1 :])
        if how == 2:
            return q.put(i, i + 1, word[: at + 1] + word[at] + word[at + 1 :])
        if how == 3 and word[at] in _KEYS:
            return q.put(i, i + 1, word[:at] + _KEYS[word[at]] + word[at + 1 :])
    return None


_TYPO_FREE = frozenset(word for phrases in (_ANTONYMS, _COMPARATIVES, _SUPERLATIVES) for word in phrases.longest)


def _case(q: Question, random: Random) -> str | None:
    """Write in capitals or without any, and change the punctuation."""
    if re.search(r"[a-z][A-Z]|[_<>{}\\=]", q.text) or re.search(r"\bUS\b|\bIT\b|\bWHO\b", q.text):
        return None
    bare = _END.sub("", q.text)
    ended = bare != q.text.rstrip()
    style = random.randrange(5)
    if style == 0:
        return bare.upper() if ended else bare.upper() + "?"
    if style == 1:
        return bare.lower() if ended else bare.lower() + " ?"
    if style == 2:
        return bare.lower() + random.choice(("??", " ?", "???", "..."))
    if style == 3:
        text = bare.replace(",", "").replace('"', "").replace("'s ", "s ").lower()
        return text if ended else text + "?"
    return bare + ("" if ended else "?") if bare + ("" if ended else "?") != q.text else None


_OPENINGS: list[str] = _TOML["frames"]["openings"]
_CLOSINGS: list[str] = _TOML["frames"]["closings"]
_PREAMBLES: list[str] = _TOML["frames"]["preambles"]


_QUESTION_STARTS = _WH | frozenset(
    ["is", "are", "do", "does", "did", "can", "could", "should", "would", "will", "was", "were", "has", "have"]
)


def _with_end(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "?", "!")) else text + "?"


def _polite(q: Question, random: Random) -> str | None:
    """Add a greeting, an excuse or thanks."""
    if random.random() < 0.5:
        opening = random.choice(_OPENINGS)
        if opening.endswith("but ") and q.lower[0] not in _QUESTION_STARTS:
            opening = "Hello all. "
        return opening + (q.text if opening.endswith((": ", ". ")) else _small(q.text))
    return _with_end(q.text) + random.choice(_CLOSINGS)


def _preamble(q: Question, random: Random) -> str | None:
    """Add a sentence that has nothing to do with the question."""
    sentence = random.choice(_PREAMBLES)
    return f"{sentence} {_capital(q.text)}" if random.random() < 0.6 else f"{_with_end(q.text)} {sentence}"


# Made-up pairs

_SLOT = re.compile(r"\{([a-z]+)(?:\.(\d))?\}")
_MADE_UP_LISTS: Mapping[str, list[str]] = {
    "profession": _list(_TOML["names"]["professions"]),
    "professions": _list(_TOML["names"]["professions, plural"]),
    "nationality": _list(_TOML["names"]["nationalities"]) + _list(_TOML["names"]["nationalities with a language"]),
    "country": [n.split("|")[0] for n in _list(_TOML["names"]["countries"]) if not n.startswith("United")],
    "city": [n.split("|")[0] for n in _list(_TOML["names"]["cities"])],
    "family": _list(_TOML["names"]["family"]),
    "adjective": _ADJECTIVES,
}
_FIRST_NAMES = _list(_TOML["names"]["men"]) + _list(_TOML["names"]["women"])
_LAST_NAMES = _list(_TOML["names"]["surnames"])


class _MadeUp:
    """Draws two sentences of one meaning, or of two, and fills their slots."""

    def __init__(self, kind: str, meanings: list[list[str]], lists: Mapping[str, str] | None = None) -> None:
        self.kind, self.meanings = kind, meanings
        self.lists: dict[str, list[str]] = dict(_MADE_UP_LISTS)
        self.together: dict[str, list[tuple[str, ...]]] = {}  # slot to forms, of which `place` is its own
        self.place: dict[str, int] = {}
        for name, text in (lists or {}).items():
            slots = name.split("_")
            if len(slots) == 1:
                self.lists[name] = _list(text)
                continue
            forms = [tuple(form.replace("_", " ") for form in entry.split()) for entry in text.split(",")]
            for place, slot in enumerate(slots):
                self.together[slot], self.place[slot] = forms, place

    def pair(self, random: Random, same: bool) -> tuple[str, str]:
        if same:
            one, two = random.sample(random.choice([meaning for meaning in self.meanings if len(meaning) > 1]), 2)
        else:
            first, second = random.sample(self.meanings, 2)
            if random.random() < 0.7:  # mostly with the meaning that the others vary
                first, second = self.meanings[0], random.choice(self.meanings[1:])
            at = random.randrange(min(len(first), len(second)))
            one, two = (
                (first[at], second[at]) if random.random() < 0.7 else (random.choice(first), random.choice(second))
            )
        filled: dict[str, str | tuple[str, ...]] = {}
        return self._fill(one, filled, random), self._fill(two, filled, random)

    def _fill(self, sentence: str, filled: dict[str, str | tuple[str, ...]], random: Random) -> str:
        def word(match: re.Match[str]) -> str:
            name, number = match[1], match[2] or "1"
            if name in self.together:
                forms = self.together[name]
                slot = f"{id(forms)}.{number}"
                if slot not in filled:
                    filled[slot] = random.choice([form for form in forms if form not in filled.values()])
                return filled[slot][self.place[name]]
            slot = f"{name}.{number}"
            if slot not in filled:
                if name == "person":
                    taken = " ".join(value for value in filled.values() if isinstance(value, str)).split()
                    first = random.choice([name for name in _FIRST_NAMES if name not in taken])
                    filled[slot] = f"{first} {random.choice(_LAST_NAMES)}" if random.random() < 0.3 else first
                else:
                    filled[slot] = random.choice([value for value in self.lists[name] if value not in filled.values()])
            return str(filled[slot])

        return _capital(_mend_articles(_SLOT.sub(word, sentence)))


# The table

_CLOSED_VERBS = frozenset(_ACTING)


def _kinds() -> dict[str, Kind]:
    def phrases(found: _Phrases, is_duplicate: bool) -> Kind:
        return Kind(is_duplicate, found.change, frozenset(found.longest))

    def same(name: str, fixed: str = "", one_way: Collection[str] | None = None) -> Kind:
        rule, words = _phrase_rule(_twos(_TOML["same"][name]), fixed, one_way)
        return Kind(True, rule, words)

    def names(groups: Sequence[str]) -> Kind:
        rule, words = _swap_names(groups)
        return Kind(False, rule, words)

    kinds = {
        "antonym": phrases(_ANTONYMS, False),
        "comparative": Kind(False, _comparative, frozenset(_COMPARATIVES.longest)),
        "superlative": phrases(_SUPERLATIVES, False),
        "direction": Kind(False, _direction, {"from", *(w for w in _CONVERTERS)}),
        "than": Kind(False, _than, {"than"}),
        "subject and object": Kind(False, _subject_object, _CLOSED_VERBS),
        "wrong passive": Kind(False, _wrong_passive, _CLOSED_VERBS),
        "who or whom": Kind(False, _who_whom, {"who"}),
        "number": Kind(False, _number, {"#", *_NUMBER_WORDS, *_ORDINALS}),
        "version": Kind(False, _version, {"#"}),
        "year": Kind(False, _year, {"#"}),
        "code": Kind(False, _code, {"#"}),
        "unit": Kind(False, _unit, frozenset(_UNITS.longest)),
        "with or without": Kind(False, _without, {"with", "without"}),
        "negation": Kind(False, _negation, {"not", "why", "can", "should", "must", "could", "will", *_NEGATIVE}),
        "not an adjective": Kind(False, _not_adjective, {*_NEGATED, *_COMPLEMENTS}),
        "quantifier": Kind(False, _quantifier, frozenset(_QUANTIFIERS.longest)),
        "place": names(_PLACES),
        "technology": names(_TECHNOLOGIES),
        "person": names(_PEOPLE),
        "family or profession": names(_KINSHIP),
        "nationality or belief": names(_ORIGINS),
        "day or month": names(_CALENDAR),
        "animal": names(("animals", "animals, plural")),
        "food": names(("foods", "fruits")),
        "thing": names(("vehicles", "rooms", "instruments", "body", "metals", "colours")),
        "field": names(("illnesses", "sports", "subjects")),
        "tense": Kind(False, _tense, {"who", "where", "how", "when", "will", "why", "which", "what", "is", "are"}),
        "time": Kind(False, _time, frozenset(_TIMES.longest)),
        "modifier": Kind(False, _modifier, frozenset(_MODIFIED)),
        "restriction": Kind(False, _restriction, {"how", "way"}),
        "pronoun": Kind(False, _pronoun, {"i", "my", "he", "she", "his", "her", "him", "himself", "herself"}),
        "question word": Kind(False, _question_word, {"how", "why", "when", "where", "who", "what"}),
        "symmetric order": Kind(True, _symmetric, {"between", "vs", "versus", "and", "or"}),
        "how frame": Kind(True, _how_frame, {"how", "way"}),
        "what frame": Kind(True, _what_frame, {"what", "who", "where"}),
        "why frame": Kind(True, _why_frame, {"why"}),
        "other frame": Kind(
            True, _other_frame, {"is", "would", "should", "where", "what", "which", "when", "how", "can", "in", "do"}
        ),
        "right passive": Kind(True, _right_passive, _CLOSED_VERBS),
        "by whom": Kind(True, _who_passive, {"who"}),
        "converse": Kind(True, _converse, {"than"}),
        "not the opposite": Kind(True, _not_complement, frozenset(_COMPLEMENTS)),
        "synonym": same("synonyms", _TOML["same"]["synonyms_fixed"]),
        "abbreviation": same("abbreviations", _TOML["same"]["abbreviations_fixed"], _list(_TOML["same"]["short_only"])),
        "spelling": same(
            "spelling",
            "",
            [
                american
                for british, american in _twos(_TOML["same"]["spelling"])
                if british in _list(_TOML["same"]["british_only"])
            ],
        ),
        "contraction": Kind(True, _contraction, frozenset(_CONTRACTIONS.longest)),
        "number writing": Kind(True, _number_writing, {"#", *_DIGITS_OF}),
        "typo": Kind(True, _typo),
        "case": Kind(True, _case),
        "polite": Kind(True, _polite),
        "preamble": Kind(True, _preamble),
    }
    for entry in _TOML["made"]:
        made_up = _MadeUp(**entry)
        kinds[f"made-up {made_up.kind}"] = Kind(False, made_up=made_up)
        if any(len(meaning) > 1 for meaning in made_up.meanings):
            kinds[f"made-up {made_up.kind}, reworded"] = Kind(True, made_up=made_up)
    return kinds


KINDS: Mapping[str, Kind] = _kinds()
_SURFACE = ("case", "polite", "preamble", "typo", "contraction", "how frame")


def near_misses(questions: Sequence[str], seed: int, kinds: Collection[str] | None = None) -> Iterator[Made]:
    """Yield pairs made from questions, near misses and rewordings, in the order of the questions.

    Each question gives at most one near miss and one rewording. Of the kinds that apply to it, the one with the fewest
    pairs so far is taken, so that rare kinds are not drowned. Rewordings that apply to any question (case, typo and the
    like) are made only while there are at most as many rewordings as near misses. One near miss in five is reworded,
    too, and which question comes first is drawn. After every four pairs comes one whose questions are both made up,
    of the made-up kind with the fewest pairs. The same questions, seed and kinds give the same pairs.

    Args:
        questions: English questions, one sentence or title each; those above 40 words are passed over.
        seed: seed of the random choices.
        kinds: names from KINDS, the only ones to make; all if None.

    Raises:
        ValueError: a kind is not in KINDS.
    """
    unknown = sorted(set(kinds or ()) - set(KINDS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no kind of near miss; use some of {', '.join(KINDS)}")
    return _made(questions, Random(seed), [kind for kind in KINDS if kinds is None or kind in kinds])


def _made(questions: Sequence[str], random: Random, kinds: Sequence[str]) -> Iterator[Made]:
    counts = dict.fromkeys(kinds, 0)
    invented = [kind for kind in kinds if KINDS[kind].made_up is not None]
    anywhere = [kind for kind in kinds if KINDS[kind].made_up is None and KINDS[kind].words is None]
    by_word: dict[str, list[str]] = {}
    for kind in kinds:
        for word in KINDS[kind].words or ():
            by_word.setdefault(word, []).append(kind)
    totals = {True: 0, False: 0}
    one_sided = len({KINDS[kind].is_duplicate for kind in kinds if KINDS[kind].made_up is None}) < 2
    since = 0  # pairs since the last made-up one

    for text in questions:
        question = Question(text)
        if not 3 <= len(question.words) <= LONGEST:
            continue
        possible = set(anywhere)
        for word in question.lower:
            possible.update(by_word.get(word, ()))
        if "#" in by_word and any(character.isdigit() for character in text):
            possible.update(by_word["#"])
        ordered = sorted(possible, key=lambda kind: (counts[kind], kind))
        for label in (False, True):
            enough = label and totals[True] > totals[False] and not one_sided
            for kind in ordered:
                if KINDS[kind].is_duplicate is label and not (enough and KINDS[kind].words is None):
                    made = _apply(question, kind, random)
                    if made is not None:
                        counts[kind] += 1
                        totals[label] += 1
                        since += 1
                        yield made
                        break
        if invented and since >= MADE_UP_EVERY:
            since -= MADE_UP_EVERY
            kind = min(invented, key=lambda kind: counts[kind])
            counts[kind] += 1
            yield _invent(kind, random)


def _apply(question: Question, kind: str, random: Random) -> Made | None:
    rule, label = KINDS[kind].rule, KINDS[kind].is_duplicate
    other = rule(question, random) if rule is not None else None
    if other is None or other.lower() == question.text.lower():
        return None
    first = question.text
    if not label and random.random() < BOTH:
        surface = KINDS[random.choice(_SURFACE)].rule
        reworded = surface(Question(first), random) if surface is not None else None
        if reworded is not None and reworded.lower() not in (first.lower(), other.lower()):
            first = reworded
    return Made(first, other, label, kind) if random.random() < 0.5 else Made(other, first, label, kind)


def _invent(kind: str, random: Random) -> Made:
    made_up, label = KINDS[kind].made_up, KINDS[kind].is_duplicate
    assert made_up is not None
    while True:
        one, two = made_up.pair(random, label)
        if one.lower() != two.lower():
            return Made(one, two, label, kind)
