"""Compare the words of thousands of pairs at once: what `siamese.model.differences` finds, to the bit.

Mining judges millions of pairs of the same questions. So each question is read once, into a table, and pairs of
questions of about the same length are compared together. The few that need more than sets of words, such as one whose
words may stand in another order, are compared one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from siamese.model.differences import (
    FEATURES,
    PLACE,
    SHOWN,
    differs,
    features_of,
    found_between,
    is_code,
    shown,
    variants,
)
from siamese.model.order import exchanges
from siamese.model.word_table import (
    APART,
    ASKED,
    BY,
    CAPITALS,
    CONTENT,
    EITHER_ORDER,
    MOST,
    NAME,
    NEGATED,
    NEGATIONS,
    NUMBER,
    ORDERED,
    PRONOUNS,
    RARE,
    STEM,
    TENSE,
    Side,
    WordTable,
)  # fmt: skip
from siamese.model.words import ENOUGH, words_of

PAIRS = 8_192  # that are compared together, so that their words fit a core's cache
REMEMBERED = 1 << 18  # pairs compared one by one whose differences are remembered, to be shown
WIDTHS = (6, 8, 10, 12, 16, 24, MOST)  # different words of the longer question of a pair

Numbers = list[list[int]]


@dataclass
class Compared:
    """What differs between the questions of m pairs."""

    pairs: np.ndarray  # (m,) their places among all pairs
    values: np.ndarray  # (m, FEATURES) float64
    slow: np.ndarray  # (m,) bool, whether they are to be compared one by one instead
    sides: tuple[Side, Side]
    pronouns: np.ndarray  # (m,) bool, whether these differ


def many_features(table: WordTable, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return what `differences.features` does of m pairs.

    Args:
        table: the questions.
        first, second: (m,) their numbers.

    Returns:
        (m, FEATURES) float32, 0 to 1.
    """
    values = np.zeros((len(first), len(FEATURES)), np.float32)
    for found in _compared(table, first, second):
        values[found.pairs] = found.values
        for place, a, b in _ends(first, second, found.pairs[found.slow]):
            differing = found_between(words_of(table.texts[a]), words_of(table.texts[b]))
            values[place] = features_of([differing])
            if len(table.shown) < REMEMBERED:
                table.shown[a, b] = "; ".join(map(str, shown(differing)))
    return values


def many_differs(table: WordTable, first: np.ndarray, second: np.ndarray) -> list[str]:
    """Return what `differences.differs` does of m pairs; arguments as in `many_features`."""
    texts = [""] * len(first)
    for found in _compared(table, first, second):
        apart = ((table.kind[first[found.pairs]] | table.kind[second[found.pairs]]) & APART) != 0
        apart |= found.values[:, [PLACE["numbers"], PLACE["codes"]]].any(axis=1)
        show = (np.delete(found.values, PLACE["rare words"], 1) >= SHOWN).any(axis=1)
        for place, a, b in _ends(first, second, found.pairs[found.slow | (show & apart)]):
            known = table.shown.get((a, b))
            texts[place] = differs(table.texts[a], table.texts[b]) if known is None else known
        columns = np.flatnonzero(show & ~apart & ~found.slow)
        for place, text in zip(found.pairs[columns].tolist(), _shown(table, found, columns)):
            texts[place] = text
    return texts


def _ends(first: np.ndarray, second: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield some of the pairs, after their places."""
    yield from zip(places.tolist(), first[places].tolist(), second[places].tolist())


def _compared(table: WordTable, first: np.ndarray, second: np.ndarray) -> Iterator[Compared]:
    """Compare pairs, those with about as many words together."""
    table.read(np.concatenate((first, second)))
    width = np.searchsorted(WIDTHS, np.maximum(table.length[first], table.length[second]))
    order = np.argsort(width, kind="stable")
    ends = np.searchsorted(width[order], np.arange(len(WIDTHS) + 1))
    for k, start, stop in zip(WIDTHS, ends, ends[1:]):
        for begin in range(start, stop, PAIRS):
            pairs = order[begin : min(begin + PAIRS, stop)]
            yield _together(table, k, pairs, first[pairs], second[pairs])
    if len(pairs := order[ends[-1] :]):  # with longer questions
        nothing, slow = np.zeros((len(pairs), len(FEATURES))), np.ones(len(pairs), bool)
        yield Compared(pairs, nothing, slow, (table.side(0, first[pairs], -1), table.side(0, second[pairs], -1)), ~slow)


def _together(table: WordTable, k: int, pairs: np.ndarray, first: np.ndarray, second: np.ndarray) -> Compared:
    """Compare pairs of questions of at most k different words, as `differences._found` does one pair."""
    sides = one, two = table.side(k, first, -1), table.side(k, second, -2)
    place = _match(one, two)
    values = np.zeros((len(pairs), len(FEATURES)))
    kind1, kind2 = table.kind[first], table.kind[second]
    shared1, shared2 = ((side.both(CONTENT) | side.both(NUMBER)) & side.has(ORDERED) for side in sides)
    turned = _turned(shared1, place)
    ordered, ordered1, ordered2 = _count(one.both(ORDERED)), _count(one.has(ORDERED)), _count(two.has(ORDERED))
    # The same words in the same order have no features, whatever else they are.
    slow = ~turned & (ordered == ordered1) & (ordered == ordered2)
    slow &= table.order_length[first] == table.order_length[second]
    slow |= (kind1 ^ kind2) & BY != 0
    slow |= _opposed(table, one, two)
    slow |= _exchanged(table, sides, (shared1, shared2), turned & ((kind1 | kind2) & EITHER_ORDER == 0))

    alone = one.alone(CONTENT, CONTENT), two.alone(CONTENT, CONTENT)
    same = _count(one.both(CONTENT))
    alike = _ALIKE[same, np.maximum(*(_count(each & ~side.has(NAME)) for each, side in zip(alone, sides)))]

    numbers = one.alone(NUMBER, STEM), two.alone(NUMBER, STEM)
    columns = np.flatnonzero(numbers[0].any(axis=0) & numbers[1].any(axis=0))
    values[columns, PLACE["numbers"]] = alike[columns]
    roots = (_rows(each[:, columns], side.roots[:, columns]) for each, side in zip(numbers, sides))
    strings = table.strings
    values[columns, PLACE["codes"]] = [
        all(any(is_code(strings[root]) for root in row) for row in rows) for rows in zip(*roots)
    ]
    names1, names2 = one.alone(NAME, STEM), two.alone(NAME, STEM)
    slow |= _capitals(table, one, names1, second) | _capitals(table, two, names2, first)
    has1, has2 = names1.any(axis=0), names2.any(axis=0)
    pronouns = _differ(table.phrases[PRONOUNS, first], table.phrases[PRONOUNS, second])
    values[:, PLACE["names"]] = alike * ((has1 & has2) | pronouns)
    for side, names, only in ((one, names1, has1 & ~has2), (two, names2, has2 & ~has1)):
        columns = np.flatnonzero(only)
        columns = columns[_adds(table, side, names, columns)]
        values[columns, PLACE["added name"]] = alike[columns]

    values[:, PLACE["negation"]] = alike * ((kind1 ^ kind2) & NEGATED != 0)
    values[:, PLACE["tense"]] = alike * _differ(table.phrases[TENSE, first], table.phrases[TENSE, second])
    rare = _count(one.both(RARE)).astype(int)
    either = _count(one.has(RARE)) + _count(two.has(RARE)) - rare
    values[:, PLACE["rare words"]] = np.where(either > rare, 1 - rare / np.maximum(either, 1), 0)

    asked, asked1, asked2 = _count(one.both(ASKED)), _count(one.has(ASKED)), _count(two.has(ASKED))
    understood = (asked == asked1) & (asked == asked2) & (asked >= ENOUGH)
    columns = np.flatnonzero((_count(alone[0]) == 1) & (_count(alone[1]) == 1) & (same > 0) & ~understood)
    columns = columns[~_are_variants(table, sides, alone, columns)]
    values[columns, PLACE["replaced word"]] = same[columns] / (same[columns] + 1)
    return Compared(pairs, values, slow, sides, pronouns)


def _match(one: Side, two: Side) -> np.ndarray:
    """Fill in what each word is in the other question. Return its place there from 1, (k, m) uint8, 0 if none."""
    place = np.zeros(one.kinds.shape, np.uint8)
    equal, product = np.empty(place.shape[1:], bool), np.empty(place.shape[1:], np.uint8)
    for i in range(len(place)):
        for j in range(len(place)):
            np.equal(one.roots[i], two.roots[j], out=equal)
            for total, kind in (
                (one.others[i], two.kinds[j]), (two.others[j], one.kinds[i]), (place[i], np.uint8(j + 1))
            ):  # fmt: skip
                np.multiply(equal.view(np.uint8), kind, out=product)
                total |= product
    return place


def _turned(shared: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return which pairs have shared words in another order, (m,) bool, by their places in the other question."""
    last, found = np.zeros(shared.shape[1], np.uint8), np.zeros(shared.shape[1], bool)
    for here, there in zip(shared, place):
        found |= here & (there < last)
        last = np.where(here, there, last)
    return found


def _opposed(table: WordTable, one: Side, two: Side) -> np.ndarray:
    """Return which pairs may have opposites, (m,) bool."""
    found = np.zeros(len(one.questions), bool)
    alone = [side.alone(STEM, STEM) & table.opposable[side.roots] for side in (one, two)]
    columns = np.flatnonzero(alone[0].any(axis=0) & alone[1].any(axis=0))
    sides = (_rows(each[:, columns], side.roots[:, columns]) for each, side in zip(alone, (one, two)))
    against, none = table.against, set[int]()
    for column, roots1, roots2 in zip(columns.tolist(), *sides):
        found[column] = any(b in against.get(a, none) or a in against.get(b, none) for a in roots1 for b in roots2)
    return found


def _exchanged(
    table: WordTable, sides: tuple[Side, Side], shared: tuple[np.ndarray, np.ndarray], turned: np.ndarray
) -> np.ndarray:
    """Return which of the pairs with shared words in another order `order.turned` may find, (m,) bool."""
    found, columns = np.zeros(len(turned), bool), np.flatnonzero(turned)
    words = []  # of both sides: the shared words, their prepositions, and whether they are names
    for side, which in zip(sides, shared):
        these = which[:, columns]
        numbers = side.roots[:, columns], table.parts(side.at[:, columns]), side.has(NAME)[:, columns].astype(int)
        words += [_rows(these, each) for each in numbers]
    for column, roots1, parts1, names1, roots2, parts2, names2 in zip(columns.tolist(), *words):
        for a, middle, b in exchanges(roots1, roots2):
            part1, part2 = dict(zip(roots1, parts1)), dict(zip(roots2, parts2))
            name1, name2 = dict(zip(roots1, names1)), dict(zip(roots2, names2))
            before, after = part1[a[0]], part1[b[0]]
            parts = before != after and after and (before, after) == (part2[b[0]], part2[a[0]])
            if parts or len(middle) == 1 or all(name1[root] and name2[root] for root in (*a, *b)):
                found[column] = True
    return found


def _capitals(table: WordTable, side: Side, names: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which pairs may have a name that is the initials of words of the other question, (m,) bool."""
    found = np.zeros(len(others), bool)
    rows, columns = np.nonzero(names & side.has(CAPITALS))
    written = table.written(side.at[rows, columns]).tolist()
    starts, stops = table.initials_at[:, others[columns]].tolist()
    for column, text, start, stop in zip(columns.tolist(), written, starts, stops):
        name = table.strings[text].lower()
        found[column] |= not name.isascii() or table.initials.find(name.encode(), start, stop) >= 0
    return found


def _adds(table: WordTable, side: Side, names: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return which of some pairs have a lone name that is asked about, beside none that both have, (c,) bool."""
    kept = np.zeros((len(names) + 1, len(columns)), bool)  # names that both have, and a row for no name
    kept[:-1] = (side.has(NAME) & ~names)[:, columns]
    near = [np.minimum(places, len(names)) for places in table.beside(side.at[:, columns])]
    beside = np.take_along_axis(kept, near[0], axis=0) | np.take_along_axis(kept, near[1], axis=0)
    return (names[:, columns] & side.has(ASKED)[:, columns] & ~beside).any(axis=0)


def _are_variants(
    table: WordTable, sides: tuple[Side, Side], alone: tuple[np.ndarray, np.ndarray], columns: np.ndarray
) -> np.ndarray:
    """Return whether the single other words of some pairs are forms of one word, (c,) bool."""
    ends = np.stack([side.roots[each[:, columns].argmax(axis=0), columns] for side, each in zip(sides, alone)])
    distinct, which = np.unique(ends, axis=1, return_inverse=True)
    strings = table.strings
    return np.array([variants(strings[a], strings[b]) for a, b in distinct.T.tolist()], bool)[which.reshape(-1)]


def _shown(table: WordTable, found: Compared, columns: np.ndarray) -> Iterator[str]:
    """Yield the differences of some pairs as text."""
    strings, pronouns = table.strings, found.pronouns[columns].tolist()
    names, replaced, phrases = [], [], []
    for side in found.sides:
        at = side.at[:, columns]
        names.append(_rows(side.alone(NAME, STEM)[:, columns], table.written(at)))
        place = side.alone(CONTENT, CONTENT)[:, columns].argmax(axis=0)
        replaced.append(table.written(at[place, np.arange(len(columns))]).tolist())
        phrases.append(table.phrases[:, side.questions[columns]].T.tolist())
    kinds = found.values[columns][:, [PLACE[kind] for kind in _KINDS]] >= SHOWN
    for (name, added, negation, tense, replaces), names1, names2, word1, word2, phrases1, phrases2, pronoun in zip(
        kinds.tolist(), *names, *replaced, *phrases, pronouns
    ):
        given = dict[tuple[str, str], None]()
        if added or (name and names1 and names2):
            given[" ".join([strings[i] for i in names1]), " ".join([strings[i] for i in names2])] = None
        for here, phrase in ((name and pronoun, PRONOUNS), (negation, NEGATIONS), (tense, TENSE)):
            if here:
                given[strings[phrases1[phrase]], strings[phrases2[phrase]]] = None
        if replaces:
            given[strings[word1], strings[word2]] = None
        yield "; ".join([f"{first or '–'} / {second or '–'}" for first, second in given])


def _differ(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pairs of phrases differ, if both questions have one, (m,) bool."""
    return (first > 0) & (second > 0) & (first != second)


def _count(words: np.ndarray) -> np.ndarray:
    return words.sum(axis=0, dtype=np.uint8)


def _rows(which: np.ndarray, numbers: np.ndarray) -> Numbers:
    """Return the numbers of some of the words of each question."""
    chosen, ends = numbers.T[which.T].tolist(), np.cumsum(which.sum(axis=0)).tolist()
    return [chosen[start:stop] for start, stop in pairwise([0, *ends])]


_KINDS = ("names", "added name", "negation", "tense", "replaced word")
_ALIKE = np.array(
    [[(same / (same + rest)) ** 2 if rest else 1.0 for rest in range(MOST + 1)] for same in range(MOST + 1)]
)  # as `differences` computes it: a float's square and an array's may differ in the last bit
