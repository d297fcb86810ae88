"""Compare the order of the words that two questions share: from A to B or from B to A, who does what to whom."""

from collections.abc import Collection, Iterator

from siamese.model.words import FUNCTION, Words, word_set
from siamese.pairs.opposites import stem

# Words between two things that one may name in either order; prepositions that give each its part, without and with
# something before it that has none.
EITHER = word_set(
    "and or vs versus between similar same equal equivalent married related different difference compare compared "
    "comparison relationship connection compatible dating friends siblings & / ,"
)
PARTS = word_set("to into than from over under before after of for on in against without instead as")
TOWARDS = word_set("to into than from over before after")
PREPOSITIONS = PARTS | word_set("by with at about")
AUXILIARIES = frozenset(map(stem, word_set("do does did can could will would shall should may might must")))

Exchange = tuple[list[str], list[str], list[str]]  # A, what is between and B, which the other question has as B ... A


def turned(one: Words, two: Words) -> tuple[list[str], list[str]] | None:
    """Return the words in which one goes from A to B and two from B to A, in both orders; None if it does not.

    The words that both questions have are compared in their order. They are turned if exchanging two stretches gives
    the other question, and if these exchange their parts: the prepositions before them stay where they are, or both
    are names, with another word between, or they stand before and after the same verb. A passive with its agent
    exchanges them once more.
    """
    first, second = _shared(one, two)
    if (one.by is None) == (two.by is None):
        if first == second:
            return None
        found = next((each for each in exchanges(first, second) if _parts(one, two, *each)), None)
        if found is None:
            return None
        a, middle, b = found
        return a + middle + b, b + middle + a
    if first != second or len(first) < 2:
        return None
    named = [root in one.names and root in two.names for root in first]
    if (named[0] and named[-1] and not all(named)) or _passive(one, two, first):
        return first, second
    return None


def exchanged(one: Words, two: Words) -> bool:
    """Return whether exchanging two stretches of the words that both questions have gives their order in the other."""
    return next(exchanges(*_shared(one, two)), None) is not None


def _shared(one: Words, two: Words) -> tuple[list[str], list[str]]:
    """Return the words that both questions have, in the order of each."""
    shared = one.content & two.content
    if one.numbers and two.numbers:
        shared |= one.numbers.keys() & two.numbers.keys()
    return (_order(one, shared), _order(two, shared)) if len(shared) > 1 else ([], [])


def _order(words: Words, shared: Collection[str]) -> list[str]:
    return list(dict.fromkeys([root for root in words.order if root in shared]))


def exchanges(first: list[str], second: list[str]) -> Iterator[Exchange]:
    if first == second or len(first) != len(second):
        return
    start = next(i for i, (a, b) in enumerate(zip(first, second)) if a != b)
    end = next(i for i, (a, b) in enumerate(zip(first[::-1], second[::-1])) if a != b)
    inner1, inner2 = first[start : len(first) - end], second[start : len(second) - end]
    for before in range(1, len(inner1)):
        for after in range(1, len(inner1) - before + 1):
            a, middle, b = inner1[:before], inner1[before : len(inner1) - after], inner1[len(inner1) - after :]
            if b + middle + a == inner2:
                yield a, middle, b


def _passive(one: Words, two: Words, shared: list[str]) -> bool:
    """Return whether a does something to b in one question and is done it by b in the other."""
    by = one.by if two.by is None else two.by
    verb = (one if two.by is None else two).order[by - 1] if by else ""
    if verb not in shared[1:-1]:
        return False
    place = shared.index(verb)
    a, b = shared[place - 1], shared[place + 1]
    return _acts(one, a, verb, b) and _acts(two, a, verb, b)


def _acts(words: Words, a: str, verb: str, b: str) -> bool:
    """Return whether a question asks whether a does something to b, or whether it is done to a by b."""
    start, place, end = map(words.order.index, (a, verb, b))
    between = {*words.order[start + 1 : place], *words.order[place + 1 : end]}
    if not start < place < end or not between <= FUNCTION:
        return False
    if words.by is not None:
        return words.by == place + 1
    if not between.isdisjoint(PREPOSITIONS):
        return False
    for root in words.order[:start][::-1]:
        if root in AUXILIARIES:
            return True
        if root in PREPOSITIONS or not root[0].isalnum():
            break
    return False


def _part(words: Words, stretch: list[str]) -> str:
    """Return the preposition of a stretch of words, which follows the word with a meaning before it; "" if none."""
    for root in words.order[: words.order.index(stretch[0])][::-1]:
        if root in PARTS:
            return root
        if root in words.content or root in words.numbers:
            break
    return ""


def _parts(one: Words, two: Words, a: list[str], middle: list[str], b: list[str]) -> bool:
    """Return whether two stretches, which one has in this order and two in the other, play different parts."""
    if EITHER.intersection(one.order) or EITHER.intersection(two.order):
        return False
    parts1, parts2 = (_part(one, a), _part(one, b)), (_part(two, b), _part(two, a))
    if parts1 == parts2 and parts1[0] != parts1[1] and (parts1[0] or parts1[1] in TOWARDS):
        return bool(parts1[1])
    if len(middle) == 1 and _acts(one, a[-1], middle[0], b[0]) and _acts(two, b[-1], middle[0], a[0]):
        return True
    between1 = one.order[one.order.index(a[-1]) + 1 : one.order.index(b[0])]
    between2 = two.order[two.order.index(b[-1]) + 1 : two.order.index(a[0])]
    named = all(root in one.names and root in two.names for root in (*a, *b))
    return named and bool(set(between1) - FUNCTION) and bool(set(between2) - FUNCTION)
