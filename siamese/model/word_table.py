"""Compare the words of many pairs at a time: what `siamese.model.differences` finds, as arrays.

Mining judges millions of pairs of the same questions. So each question is read once, as the numbers of its words and
what they are, and thousands of pairs are compared together. The few that need more than sets of words, such as one with
numbers on both sides or with its words in another order, are compared one by one. The result is the same to the bit.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from siamese.model.differences import FEATURES, PLACE, SHOWN, differs, features, is_code, variants
from siamese.model.order import EITHER, PARTS, exchanges
from siamese.model.words import ENOUGH, Words, words_of

PAIRS = 8_192  # that are compared together, so that their words fit a core's cache
WIDTHS = (6, 8, 10, 12, 16, 24, 36)  # different words of a question; pairs are compared with those of their own width
A_QUESTION = 150  # bytes that the table takes

# What a word of a question is. A word that counts as a number may not be in the order, such as the 3 of python3.
STEM, CONTENT, NAME, ASKED, RARE, NUMBER, ORDERED, CAPITALS = (1 << bit for bit in range(8))
# What a question has.
NEGATED, BY, EITHER_ORDER, OPPOSITES, APART = (1 << bit for bit in range(5))
LONG = 255  # in place of the number of words: more than fit
NONE = 255  # in place of a word beside a name


class Sides(NamedTuple):
    """One side of m pairs: a row for each word of the questions, up to k."""

    questions: np.ndarray  # (m,)
    at: np.ndarray  # (k, m) int64, the places of the words in the table
    roots: np.ndarray  # (k, m) int32
    kinds: np.ndarray  # (k, m) uint8, 0 if a question has fewer words
    others: np.ndarray  # (k, m) uint8, what the same word is in the other question, 0 if it is not there

    def has(self, kind: int) -> np.ndarray:
        """Return which words are of a kind, (k, m) bool."""
        return (self.kinds & kind) != 0

    def alone(self, kind: int, other: int) -> np.ndarray:
        """Return which words of a kind are not of another kind in the other question, (k, m) bool."""
        return ((self.kinds & kind) != 0) & ((self.others & other) == 0)

    def both(self, kind: int) -> np.ndarray:
        """Return which words are of a kind in both questions, (k, m) bool."""
        return (self.kinds & self.others & kind) != 0


@dataclass
class Found:
    """What differs between the questions of m pairs; only `slow` ones are to be compared one by one."""

    pairs: np.ndarray  # (m,) their places among all pairs
    values: np.ndarray  # (m, FEATURES) float64
    slow: np.ndarray  # (m,) bool
    sides: tuple[Sides, Sides]
    pronouns: np.ndarray  # (m,) bool, whether these differ


class WordTable:
    """The words of questions, read when a pair needs them.

    Args:
        texts: n questions, which do not change.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        count = len(texts)
        self._start = np.full(count, -1, np.int64)  # of its words; -1: not read yet
        self._length = np.zeros(count, np.uint8)  # different words
        self._order_length = np.zeros(count, np.int32)  # words and signs
        self._kind = np.zeros(count, np.uint8)
        self._phrases = np.zeros((3, count), np.int32)  # pronouns, tense, negations
        self._initials_at = np.zeros((2, count), np.int64)  # where they begin and end
        # Of all words: numbers of their stems and of the words as written, what they are, the places in their question
        # of the names before and after a name, and the preposition that they follow.
        self._roots, self._written, self._kinds = array("i", [-1]), array("i", [0]), bytearray(1)
        self._before, self._after, self._parts = bytearray(1), bytearray(1), bytearray(1)
        self._initials = bytearray()
        self._number: dict[str, int] = {"": 0}  # of each stem, word and phrase
        self._strings = [""]  # in the order of these numbers
        self._against: dict[int, set[int]] = {}  # stems of the opposites of a stem
        self._opposable = np.zeros(1, bool)  # of each number, whether it has opposites
        self._variants: dict[tuple[int, int], bool] = {}

    def features(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the features of m pairs of questions, (m,) each by number, as `differences.features` does."""
        values = np.zeros((len(first), len(FEATURES)), np.float32)
        for found in self._compare(first, second):
            values[found.pairs] = found.values
            slow = found.pairs[found.slow]
            values[slow] = features(
                (words_of(self.texts[a]), words_of(self.texts[b]))
                for a, b in zip(first[slow].tolist(), second[slow].tolist())
            )
        return values

    def differs(self, first: np.ndarray, second: np.ndarray) -> list[str]:
        """Return what differs between the questions of m pairs, as `differences.differs` does."""
        texts = [""] * len(first)
        for found in self._compare(first, second):
            odd = ((self._kind[first[found.pairs]] | self._kind[second[found.pairs]]) & APART) != 0
            odd |= found.values[:, PLACE["numbers"] : PLACE["codes"] + 1].any(axis=1)
            shown = (np.delete(found.values, PLACE["rare words"], 1) >= SHOWN).any(axis=1)
            for place in found.pairs[found.slow | (shown & odd)].tolist():
                texts[place] = differs(self.texts[first[place]], self.texts[second[place]])
            plain = np.flatnonzero(shown & ~odd & ~found.slow)
            for place, text in zip(found.pairs[plain].tolist(), self._shown(found, plain)):
                texts[place] = text
        return texts

    def _intern(self, text: str) -> int:
        return self._number.setdefault(text, len(self._number))

    def _read(self, questions: np.ndarray) -> None:
        """Read questions that are not in the table yet."""
        number, against = self._number, self._against
        for question in questions[self._start[questions] < 0].tolist():
            words = Words(self.texts[question])
            written = words.written
            self._start[question] = len(self._roots)
            if len(written) > WIDTHS[-1]:
                self._length[question] = LONG
                continue
            content, names, asked, rare, numbers = words.content, words.names, words.asked, words.rare, words.numbers
            order = words.order
            roots = [root for root in dict.fromkeys(order) if root in written]
            ordered = len(roots)
            if ordered < len(written):
                seen = set(roots)
                roots += [root for root in written if root not in seen]
            kind = part = 0
            parts = dict[str, int]()  # the preposition that each word follows, as `order._part`
            for root in order:
                parts.setdefault(root, part)
                if root in PARTS:
                    part = _PART[root]
                elif root in content or root in numbers:
                    part = 0
            for place, root in enumerate(roots):
                is_name = root in names
                text = names[root] if is_name else written[root]
                self._roots.append(number.setdefault(root, len(number)))
                self._written.append(number.setdefault(text, len(number)))
                self._kinds.append(
                    STEM
                    | (CONTENT if root in content else 0)
                    | (NAME if is_name else 0)
                    | (ASKED if root in asked else 0)
                    | (RARE if root in rare else 0)
                    | (NUMBER if root in numbers else 0)
                    | (ORDERED if place < ordered else 0)
                    | (CAPITALS if is_name and len(text) > 1 and text.isupper() else 0)
                )
                before = after = NONE
                if is_name:
                    if text != written[root]:
                        kind |= APART
                    if root in asked:
                        middle = order.index(root)
                        if middle and order[middle - 1] in names:
                            before = roots.index(order[middle - 1])
                        if middle + 1 < len(order) and order[middle + 1] in names:
                            after = roots.index(order[middle + 1])
                self._before.append(before)
                self._after.append(after)
                self._parts.append(parts.get(root, 0))
            if names and [root for root in roots if root in names] != list(names):
                kind |= APART
            if words.against:
                kind |= OPPOSITES
                for root, others in words.against.items():
                    against.setdefault(self._intern(root), set()).update(map(self._intern, others))
            kind |= (NEGATED if len(words.negations) % 2 else 0) | (BY if words.by is not None else 0)
            kind |= 0 if EITHER.isdisjoint(order) else EITHER_ORDER
            self._kind[question], self._length[question] = kind, len(roots)
            self._order_length[question] = len(order)
            self._phrases[:, question] = [
                self._intern(" ".join(phrase)) for phrase in (words.pronouns, (words.tense,), words.negations)
            ]
            start = len(self._initials)
            self._initials += "".join([root[0] for root in order if root[0].isalpha()]).encode("ascii", "replace")
            self._initials_at[:, question] = start, len(self._initials)
        if len(self._strings) < len(number):
            self._strings = list(number)
            self._opposable = np.zeros(len(number), bool)
            self._opposable[list(against.keys() | set().union(*against.values()))] = True

    def _compare(self, first: np.ndarray, second: np.ndarray) -> Iterator[Found]:
        """Compare pairs, those with about as many words together."""
        for question in (first, second):
            self._read(np.unique(question))
        longest = np.maximum(self._length[first], self._length[second])
        width = np.searchsorted(WIDTHS, longest)
        order = np.argsort(width, kind="stable")
        ends = np.searchsorted(width[order], np.arange(len(WIDTHS) + 2))
        for k, start, stop in zip(WIDTHS, ends, ends[1:]):
            for begin in range(start, stop, PAIRS):
                pairs = order[begin : min(begin + PAIRS, stop)]
                yield self._together(k, pairs, first[pairs], second[pairs])
        if len(pairs := order[ends[-2] :]):
            nothing = self._sides(0, first[pairs]), self._sides(0, second[pairs])
            values = np.zeros((len(pairs), len(FEATURES)))
            yield Found(pairs, values, np.ones(len(pairs), bool), nothing, np.zeros(len(pairs), bool))

    def _sides(self, k: int, questions: np.ndarray, padding: int = -1) -> Sides:
        places = np.arange(k)[:, None]
        at = self._start[questions] + places
        inside = places < self._length[questions]
        roots = np.frombuffer(self._roots, np.int32).take(at, mode="clip")
        kinds = np.frombuffer(self._kinds, np.uint8).take(at, mode="clip")
        return Sides(questions, at, np.where(inside, roots, padding), kinds * inside, np.zeros(at.shape, np.uint8))

    def _together(self, k: int, pairs: np.ndarray, first: np.ndarray, second: np.ndarray) -> Found:
        """Compare pairs of questions of at most k different words."""
        one, two = self._sides(k, first, -1), self._sides(k, second, -2)
        place = _match(one, two)
        alone = one.alone(CONTENT, CONTENT), two.alone(CONTENT, CONTENT)
        counts = [_count(each) for each in alone]
        same = _count(one.both(CONTENT))
        rest = np.maximum(*(_count(each & ~side.has(NAME)) for each, side in zip(alone, (one, two))))
        alike = _ALIKE[same, rest]
        kinds = self._kind[first], self._kind[second]
        (pronoun1, tense1), (pronoun2, tense2) = self._phrases[:2, first], self._phrases[:2, second]
        values = np.zeros((len(pairs), len(FEATURES)))
        slow = ((kinds[0] ^ kinds[1]) & BY) != 0
        shared, shared2 = ((side.both(CONTENT) | side.both(NUMBER)) & side.has(ORDERED) for side in (one, two))
        turned = _turned(shared, place)
        ordered, ordered1, ordered2 = (_count(each) for each in (one.both(ORDERED), one.has(ORDERED), two.has(ORDERED)))
        slow |= (
            (ordered == ordered1)
            & (ordered == ordered2)
            & (~turned & (self._order_length[first] == self._order_length[second]))
        )  # the same words in the same order have no features, whatever else they are
        turned &= ((kinds[0] | kinds[1]) & EITHER_ORDER) == 0
        slow |= self._opposed(one, two) | self._exchanged(one, two, shared, shared2, turned)

        numbers = one.alone(NUMBER, STEM), two.alone(NUMBER, STEM)
        columns = np.flatnonzero(numbers[0].any(axis=0) & numbers[1].any(axis=0))
        values[columns, PLACE["numbers"]] = alike[columns]
        values[columns, PLACE["codes"]] = [
            all(any(is_code(self._strings[root]) for root in roots) for roots in sides)
            for sides in zip(
                *(_rows(np.where(each, side.roots, -1)[:, columns]) for each, side in zip(numbers, (one, two)))
            )
        ]
        names = one.alone(NAME, STEM), two.alone(NAME, STEM)
        slow |= self._capitals(one, names[0], second) | self._capitals(two, names[1], first)
        has = names[0].any(axis=0), names[1].any(axis=0)
        differing_pronouns = (pronoun1 > 0) & (pronoun2 > 0) & (pronoun1 != pronoun2)
        values[:, PLACE["names"]] = alike * ((has[0] & has[1]) | differing_pronouns)
        for side, lone, which in ((one, names[0], has[0] & ~has[1]), (two, names[1], has[1] & ~has[0])):
            columns = np.flatnonzero(which)
            adds = self._adds(side, lone, columns)
            values[columns[adds], PLACE["added name"]] = alike[columns[adds]]
        values[:, PLACE["negation"]] = alike * (((kinds[0] ^ kinds[1]) & NEGATED) != 0)
        values[:, PLACE["tense"]] = alike * ((tense1 > 0) & (tense2 > 0) & (tense1 != tense2))
        rare, rare1, rare2 = (_count(each) for each in (one.both(RARE), one.has(RARE), two.has(RARE)))
        together = rare1 + rare2 - rare
        values[:, PLACE["rare words"]] = np.where(together > rare, 1 - rare / np.maximum(together, 1), 0)
        asked, asked1, asked2 = (_count(each) for each in (one.both(ASKED), one.has(ASKED), two.has(ASKED)))
        understood = (asked == asked1) & (asked == asked2) & (asked >= ENOUGH)
        columns = np.flatnonzero((counts[0] == 1) & (counts[1] == 1) & (same > 0) & ~understood)
        columns = columns[~self._are_variants(one, two, alone, columns)]
        values[columns, PLACE["replaced word"]] = same[columns] / (same[columns] + 1)
        return Found(pairs, values, slow, (one, two), differing_pronouns)

    def _opposed(self, one: Sides, two: Sides) -> np.ndarray:
        """Return which pairs may have opposites, (m,) bool."""
        found = np.zeros(len(one.questions), bool)
        lone = [side.alone(STEM, STEM) & self._opposable[side.roots] for side in (one, two)]
        columns = np.flatnonzero(lone[0].any(axis=0) & lone[1].any(axis=0))
        sides = (_rows(np.where(each[:, columns], side.roots[:, columns], -1)) for each, side in zip(lone, (one, two)))
        against, none = self._against, frozenset[int]()
        for column, roots1, roots2 in zip(columns.tolist(), *sides):
            found[column] = any(b in against.get(a, none) or a in against.get(b, none) for a in roots1 for b in roots2)
        return found

    def _exchanged(
        self, one: Sides, two: Sides, shared1: np.ndarray, shared2: np.ndarray, turned: np.ndarray
    ) -> np.ndarray:
        """Return which pairs may have their words turned, as by `order.turned`, (m,) bool."""
        found = np.zeros(len(turned), bool)
        columns = np.flatnonzero(turned)
        roots1, roots2, parts1, parts2, names1, names2 = (
            _rows(np.where(shared[:, columns], of(side), -1))
            for of in (
                lambda side: side.roots[:, columns],
                lambda side: np.frombuffer(self._parts, np.uint8).take(side.at[:, columns], mode="clip").astype(int),
                lambda side: side.has(NAME)[:, columns].astype(int),
            )
            for side, shared in ((one, shared1), (two, shared2))
        )
        for place, column in enumerate(columns.tolist()):
            part1, part2 = (
                dict(zip(roots[place], parts[place])) for roots, parts in ((roots1, parts1), (roots2, parts2))
            )
            for a, middle, b in exchanges(roots1[place], roots2[place]):
                before, after = part1[a[0]], part1[b[0]]
                parts = (before, after) == (part2[b[0]], part2[a[0]]) and before != after and after
                name1, name2 = (
                    dict(zip(roots[place], names[place])) for roots, names in ((roots1, names1), (roots2, names2))
                )
                named = all(name1[root] and name2[root] for root in (*a, *b))
                if parts or len(middle) == 1 or named:
                    found[column] = True
        return found

    def _capitals(self, side: Sides, names: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return which pairs may have a name that is the initials of words of the other question, (m,) bool."""
        found = np.zeros(len(others), bool)
        rows, columns = np.nonzero(names & side.has(CAPITALS))
        written = np.frombuffer(self._written, np.int32)[side.at[rows, columns]]
        strings, initials = self._strings, self._initials
        starts, stops = self._initials_at[:, others[columns]].tolist()
        for column, text, start, stop in zip(columns.tolist(), written.tolist(), starts, stops):
            name = strings[text].lower()
            found[column] |= not name.isascii() or initials.find(name.encode(), start, stop) >= 0
        return found

    def _adds(self, side: Sides, names: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return which pairs have a lone name that is asked about, beside none that both questions have, (c,) bool."""
        kept = np.zeros((len(names) + 1, len(columns)), bool)  # names of both, and a row for no name
        kept[:-1] = (side.has(NAME) & ~names)[:, columns]
        at, last = side.at[:, columns], len(names)
        beside = np.zeros(at.shape, bool)
        for places in (self._before, self._after):
            near = np.frombuffer(places, np.uint8).take(at, mode="clip").astype(np.int64)
            beside |= np.take_along_axis(kept, np.minimum(near, last), axis=0)
        return (names[:, columns] & side.has(ASKED)[:, columns] & ~beside).any(axis=0)

    def _are_variants(
        self, one: Sides, two: Sides, alone: tuple[np.ndarray, np.ndarray], columns: np.ndarray
    ) -> np.ndarray:
        """Return whether the single other words of pairs are forms of one word, (c,) bool."""
        roots = [
            side.roots[each[:, columns].argmax(axis=0), columns] if len(each) else np.zeros(0, np.int32)
            for side, each in zip((one, two), alone)
        ]
        known, strings = self._variants, self._strings
        found = np.zeros(len(columns), bool)
        for place, ends in enumerate(zip(*(each.tolist() for each in roots))):
            if (value := known.get(ends)) is None:
                value = known[ends] = variants(strings[ends[0]], strings[ends[1]])
            found[place] = value
        return found

    def _shown(self, found: Found, columns: np.ndarray) -> Iterator[str]:
        """Yield the texts of the differences of some pairs."""
        strings, written = self._strings, np.frombuffer(self._written, np.int32)
        one, two = found.sides
        values = found.values[columns] >= SHOWN
        names = [
            _rows(np.where(side.alone(NAME, STEM)[:, columns], written[side.at[:, columns]], -1)) for side in (one, two)
        ]
        replaced = [
            written[side.at[side.alone(CONTENT, CONTENT)[:, columns].argmax(axis=0), columns]].tolist()
            for side in (one, two)
        ]
        phrases = [self._phrases[:, side.questions[columns]].T.tolist() for side in (one, two)]
        kinds = [
            values[:, PLACE[kind]].tolist() for kind in ("names", "added name", "negation", "tense", "replaced word")
        ]
        for names1, names2, word1, word2, phrases1, phrases2, pronouns, name, added, negation, tense, replaces in zip(
            *names, *replaced, *phrases, found.pronouns[columns].tolist(), *kinds
        ):
            shown = dict[tuple[str, str], None]()
            if added or (name and names1 and names2):
                shown[" ".join([strings[i] for i in names1]), " ".join([strings[i] for i in names2])] = None
            for here, place in ((pronouns and name, 0), (negation, 2), (tense, 1)):
                if here:
                    shown[strings[phrases1[place]], strings[phrases2[place]]] = None
            if replaces:
                shown[strings[word1], strings[word2]] = None
            yield "; ".join([f"{first or '–'} / {second or '–'}" for first, second in shown])


_PART = {root: number for number, root in enumerate(sorted(PARTS), 1)}
_ALIKE = np.array(
    [[(same / (same + rest)) ** 2 if rest else 1.0 for rest in range(WIDTHS[-1] + 1)] for same in range(WIDTHS[-1] + 1)]
)  # a float's square and numpy's may differ in the last bit


def _match(one: Sides, two: Sides) -> np.ndarray:
    """Fill in what each word is in the other question. Return its place there from 1, (k, m) uint8, 0 if none."""
    place = np.zeros(one.kinds.shape, np.uint8)
    equal, product = np.empty(place.shape[1:], bool), np.empty(place.shape[1:], np.uint8)
    for i in range(len(place)):
        for j in range(len(place)):
            np.equal(one.roots[i], two.roots[j], out=equal)
            for total, kind in (
                (one.others[i], two.kinds[j]),
                (two.others[j], one.kinds[i]),
                (place[i], np.uint8(j + 1)),
            ):
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


def _count(words: np.ndarray) -> np.ndarray:
    return words.sum(axis=0, dtype=np.uint8)


def _rows(numbers: np.ndarray) -> list[list[int]]:
    """Return the numbers of each column that are 0 or more."""
    return [[number for number in row if number >= 0] for row in numbers.T.tolist()]
