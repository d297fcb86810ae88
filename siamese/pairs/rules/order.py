"""Rules on order: directions, comparisons, and symmetric things, whose order says nothing."""

import re
from random import Random

from siamese.pairs.rules.phrases import COMPARATIVES
from siamese.pairs.rules.question import Question
from siamese.pairs.rules.words import GROUPS_OF, SETS

DIRECTIONS = SETS["converts"] | {"from"}
_STOPS, _DETERMINERS = SETS["stops"], SETS["determiners"]
_ENDS = re.compile(r"[\s?.!]*$|[:,?] | - ")


def _noun_phrase(q: Question, start: int, most: int = 3) -> int | None:
    """Return the end of a short noun phrase that ends at a stop word, at punctuation or with the question."""
    end = start
    while end < len(q.words) and q.lower[end] not in _STOPS and (end == start or q.gaps[end] == " "):
        end += 1
    size = end - start
    if not 0 < size - (q.lower[start] in _DETERMINERS) <= most:
        return None
    return None if q.after(end - 1) in SETS["noun phrase goes on"] else end


def direction(q: Question, random: Random) -> str | None:
    """Swap A and B in "from A to B" and "convert A to B"."""
    lower = q.lower
    if not SETS["no direction"].isdisjoint(lower) or re.search(r"[#+/\\\[]", q.text):
        return None
    for i, word in enumerate(lower[:-3]):
        if word not in DIRECTIONS:
            continue
        middle = _noun_phrase(q, i + 1)
        if middle is None or middle > len(lower) - 2 or lower[middle] not in ("to", "into") or q.gaps[middle] != " ":
            continue
        end = _noun_phrase(q, middle + 1)
        if end is None or {q.gaps[i + 1], q.gaps[middle + 1]} != {" "}:
            continue
        one, two = lower[i + 1 : middle], lower[middle + 1 : end]
        named = word == "from" or (one[0] in _DETERMINERS) == (two[0] in _DETERMINERS)
        an_act = two[0] in SETS["base verbs"] or re.fullmatch(r"(?!string|spring|thing)\w+ing", two[0]) is not None
        an_act = an_act or one[-1].endswith("ly") or two[-1].endswith("ly")
        if named and not an_act and one != two and not any(w[0].isdigit() for w in one + two):
            return q.swap((i + 1, middle), (middle + 1, end))
    return None


def symmetric(q: Question, random: Random) -> str | None:
    """Swap A and B in "between A and B", "A vs B", and in "A or B" if they are of one list."""
    lower = q.lower
    if not SETS["ordered"].isdisjoint(lower) or not COMPARATIVES.others.keys().isdisjoint(lower):
        return None
    for i, word in enumerate(lower[1:-1], 1):
        if word in ("vs", "versus"):
            start = i - 1
            while start > 0 and q.gaps[start] == " " and lower[start - 1] not in _STOPS and i - start < 4:
                start -= 1
        elif word == "and" and "between" in lower[max(0, i - 4) : i - 1]:
            start = lower.index("between") + 1
            if lower[start - 2] not in SETS["between"] or lower.count("and") > 1:
                continue
        elif word in ("and", "or") and _chosen(q, i):
            start = i - 1
        else:
            continue
        end = _noun_phrase(q, i + 1)
        if end is not None and _alike(q, start, i, end):
            return q.swap((start, i), (i + 1, end))
    return None


def _alike(q: Question, start: int, i: int, end: int) -> bool:
    """Return whether words[start:i] and words[i + 1:end] can change places; some share a last or a first word."""
    one, two = q.lower[start:i], q.lower[i + 1 : end]
    return (
        len(one) == len(two)
        and (one[0] in _DETERMINERS) == (two[0] in _DETERMINERS)
        and one[0].endswith("ing") == two[0].endswith("ing")
        and SETS["not alike"].isdisjoint([*one, *two])
        and q.gaps[i] == " "
        and all(gap in (" ", ". ") for gap in q.gaps[start + 1 : i + 2])
        and (start == 0 or q.gaps[start] != " " or q.lower[start - 1] in _STOPS | SETS["base verbs"] | {"between"})
        and (q.gaps[end] == " " or _ENDS.match(q.gaps[end]) is not None)
    )


def _chosen(q: Question, i: int) -> bool:
    """Return whether the words beside "and" or "or" are names of one list."""
    one, two, before = q.lower[i - 1], q.lower[i + 1], q.lower[i - 2] if i > 1 else ""
    listed = GROUPS_OF.get(one, set()) & GROUPS_OF.get(two, set())
    alike = listed and q.words[i - 1][0].isupper() == q.words[i + 1][0].isupper()
    return bool(alike) and before not in ("from", "if", "more", "north", "south", "to")
