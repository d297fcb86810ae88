"""Numbers, years, versions and codes, and the ways to write them."""

import re
from random import Random

from siamese.pairs.rules.question import Question
from siamese.pairs.rules.words import SETS

_DIGITS = {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine",
           "10": "ten", "11": "eleven", "12": "twelve"}  # fmt: skip
_DIGITS_OF = {word: digits for digits, word in _DIGITS.items()}
_ORDINALS = {"second": "third", "third": "fourth", "fourth": "fifth", "fifth": "sixth",
             "1st": "2nd", "2nd": "3rd", "3rd": "4th", "4th": "5th"}  # fmt: skip
NUMBER_WORDS = frozenset([*_DIGITS_OF, *_ORDINALS, "#"])
_NO_NUMBER = frozenset(["0", "1", "00", "101", "404"])
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_CODE = re.compile(r"(?=[\w-]*\d{3})(?=[\w-]*[A-Za-z])[\w-]{4,}")
_NO_CODE = re.compile(r".*(?:1[5-9]|20)\d\d(?:s|$|-)|\d+(?:st|nd|rd|th|s|k|px|gb|mb|ms|am|pm)$", re.I)
_NUMBERED = re.compile(rf"\b(?:{'|'.join(SETS['numbered products'])}) (\d{{1,2}})(?![\w.,])", re.I)


def _other_digits(digits: str, random: Random) -> str:
    """Return another number of as many digits, neither 1 nor one that starts with 0."""
    while True:
        place = random.randrange(len(digits))
        low = 2 if len(digits) == 1 else 1 if place == 0 else 0
        new = digits[:place] + str(random.randint(low, 9)) + digits[place + 1 :]
        if new != digits:
            return new


def _one(q: Question, random: Random, found: list[tuple[int, str]]) -> str | None:
    """Return the question with one of these words changed."""
    if not found:
        return None
    i, new = random.choice(found)
    return q.put(i, i + 1, new)


def _alone(q: Question, i: int) -> bool:
    """Return whether a number is no part of a date, a time, a ratio, a decimal or a path."""
    after = q.gaps[i + 1]
    joined = after[:1] in set("-/\\^:–") and after[1:2] != " "
    return not joined and after != "," and q.gaps[i][-1:] not in set("-_/\\^.:;,–+=[")


def _is_year(q: Question, i: int) -> bool:
    return re.fullmatch(r"(?:1[789]\d|20[0-2])\d", q.words[i]) is not None and q.gaps[i][-1:] not in set("$£€.")


def number(q: Question, random: Random) -> str | None:
    """Write another number; no year, version or code."""
    found = []
    for i, word in enumerate(q.lower):
        before = q.lower[i - 1] if i else ""
        if word.isascii() and word.isdigit() and word not in _NO_NUMBER:
            if _alone(q, i) and not _is_year(q, i) and before not in SETS["numbered products"]:
                found.append((i, _other_digits(word, random)))
        elif word in _DIGITS_OF and before not in ("these", "those", "between", "the", "of", "into", "for"):
            found.append((i, random.choice([other for other in _DIGITS_OF if other not in q.lower])))
        elif (
            word in _ORDINALS
            and q.words[i].islower()
            and before in ("the", "a", "my", "his")
            and q.after(i) not in SETS["after second"]
        ):
            found.append((i, _ORDINALS[word]))
    return _one(q, random, found)


def year(q: Question, random: Random) -> str | None:
    """Write a year at most twelve years away."""
    found = []
    for i in range(len(q.words)):
        if _is_year(q, i) and _alone(q, i):
            now = int(q.words[i])
            new = random.choice([other for other in range(now - 12, now + 13) if 1700 <= other < 2030 and other != now])
            found.append((i, str(new)))
    return _one(q, random, [(i, new) for i, new in found if new not in q.words])


def version(q: Question, random: Random) -> str | None:
    """Write another version: 3.9 as 3.7, Windows 10 as Windows 8."""
    for i, word in enumerate(q.words):
        if _VERSION.fullmatch(word) and q.gaps[i][-1:] not in set("$£€"):
            parts = word.split(".")
            part = random.randrange(len(parts))
            parts[part] = _other_digits(parts[part], random)
            return q.put(i, i + 1, ".".join(parts))
    match = _NUMBERED.search(q.text)
    if match is None:
        return None
    old = int(match[1])
    new = random.choice([n for n in range(max(2, old - 3), old + 3) if n != old])
    return f"{q.text[: match.start(1)]}{new}{q.text[match.end(1) :]}" if str(new) not in q.words else None


def code(q: Question, random: Random) -> str | None:
    """Write a code, a word of letters and at least three digits, with another number."""
    found = []
    for i, word in enumerate(q.words):
        if _CODE.fullmatch(word) and not _NO_CODE.match(word):
            run = max(re.finditer(r"\d+", word), key=lambda match: len(match[0]))
            found.append((i, word[: run.start()] + _other_digits(run[0], random) + word[run.end() :]))
    return _one(q, random, found)


def number_writing(q: Question, random: Random) -> str | None:
    """Write the only number in another way: two cats as 2 cats, 10000 as 10,000, 5% as 5 percent."""
    numbers = [i for i, word in enumerate(q.lower) if word[0].isdigit() or word in _DIGITS_OF or word == "one"]
    if len(numbers) != 1:
        return None
    i = numbers[0]
    word = q.lower[i]
    percent = re.match(r" ?%(?=[\s?.]|$)", q.gaps[i + 1])
    if percent is not None:
        gaps = [*q.gaps[: i + 1], " percent" + q.gaps[i + 1][percent.end() :], *q.gaps[i + 2 :]]
        return "".join(part for pair in zip(gaps, [*q.words, ""]) for part in pair)
    counted = re.fullmatch(r"(?!does|has|was)[a-z]{2,}[^sui ]s", q.after(i)) and q.gaps[i] in ("", " ")
    counted = counted and q.words[i + 1].islower() and (i == 0 or not q.words[i].istitle())
    if counted and (word in _DIGITS_OF or (word in _DIGITS and (i < 2 or q.words[i - 1][0].islower()))):
        return q.put(i, i + 1, _DIGITS.get(word) or _DIGITS_OF[word])
    if re.fullmatch(r"[1-9]\d{1,3}000", word) and _alone(q, i):
        return q.put(i, i + 1, f"{int(word):,}")
    return None
