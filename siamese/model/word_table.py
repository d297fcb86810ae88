"""Keep the words of many questions as arrays, of which `siamese.model.many_pairs` compares thousands at once."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from siamese.model.order import EITHER, PARTS
from siamese.model.words import Words

MOST = 36  # different words of a question in the table; longer ones are compared one by one
A_QUESTION = 150  # bytes that the table takes

# What a word of a question is. A number may have no place in the order, such as the 3 of python3.
STEM, CONTENT, NAME, ASKED, RARE, NUMBER, ORDERED, CAPITALS = (1 << bit for bit in range(8))
# What a question has: an odd number of negations; "by"; a word of `order.EITHER`; names that cannot be shown from here.
NEGATED, BY, EITHER_ORDER, APART = (1 << bit for bit in range(4))
PRONOUNS, TENSE, NEGATIONS = range(3)  # phrases of a question
LONG = 255  # in place of the number of words: more than MOST
NONE = 255  # in place of a name beside a name

_PART = {root: number for number, root in enumerate(sorted(PARTS), 1)}


class Side(NamedTuple):
    """One side of m pairs: a row for each word of the questions, up to k."""

    questions: np.ndarray  # (m,)
    at: np.ndarray  # (k, m) int64, the places of the words in the table
    roots: np.ndarray  # (k, m) int32, their stems; below 0 if a question has fewer words
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


class WordTable:
    """The words of questions, read when a pair needs them.

    Args:
        texts: n questions, which do not change.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        count = len(texts)
        self.length = np.zeros(count, np.uint8)  # different words of each question, or LONG
        self.order_length = np.zeros(count, np.int32)  # words and signs
        self.kind = np.zeros(count, np.uint8)
        self.phrases = np.zeros((3, count), np.int32)
        self.initials_at = np.zeros((2, count), np.int64)  # where they begin and end
        self.initials = bytearray()
        self.strings = [""]  # all stems, words and phrases, in the order of their numbers
        self.against: dict[int, set[int]] = {}  # stems of the opposites of a stem
        self.opposable = np.zeros(2, bool)  # of each number, whether it has opposites
        self._number = {"": 0}
        self._start = np.full(count, -1, np.int64)  # of a question's words; -1: not read yet
        # Of all words: the numbers of the stem and of the word as written, what it is, the places in the question of
        # the names before and after a name, and the preposition that it follows.
        self._roots, self._written, self._kinds = array("i", [0]), array("i", [0]), bytearray(1)
        self._before, self._after, self._parts = bytearray(1), bytearray(1), bytearray(1)

    def read(self, questions: np.ndarray) -> None:
        """Read the questions that are not in the table yet."""
        known = len(self._number)
        for question in np.unique(questions[self._start[questions] < 0]).tolist():
            self._start[question] = len(self._roots)
            words = Words(self.texts[question])
            if len(words.written) > MOST:
                self.length[question] = LONG
            else:
                self._add(question, words)
        if len(self._number) > known:
            self.strings = list(self._number)
            self.opposable = np.zeros(len(self.strings), bool)
            self.opposable[list(self.against.keys() | set().union(*self.against.values()))] = True

    def side(self, k: int, questions: np.ndarray, padding: int) -> Side:
        """Return the first k words of questions, (m,), with a number below 0 as the stems that are missing."""
        places = np.arange(k)[:, None]
        at = self._start[questions] + places
        inside = places < self.length[questions]
        roots, kinds = self._take(self._roots, np.int32, at), self._take(self._kinds, np.uint8, at)
        return Side(questions, at, np.where(inside, roots, padding), kinds * inside, np.zeros(at.shape, np.uint8))

    def written(self, at: np.ndarray) -> np.ndarray:
        """Return the numbers of the words at some places, as they are written."""
        return self._take(self._written, np.int32, at)

    def parts(self, at: np.ndarray) -> np.ndarray:
        """Return the prepositions that the words at some places follow, as `order.part` does; 0 if none."""
        return self._take(self._parts, np.uint8, at).astype(np.int32)

    def beside(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places in their question of the names before and after the names at some places, or NONE."""
        return self._take(self._before, np.uint8, at), self._take(self._after, np.uint8, at)

    def _take(self, values: "array[int] | bytearray", dtype: type, at: np.ndarray) -> np.ndarray:
        # The view is gone before the array grows again.
        return np.frombuffer(values, dtype).take(at, mode="clip")  # what a shorter question lacks is not looked at

    def _intern(self, text: str) -> int:
        return self._number.setdefault(text, len(self._number))

    def _add(self, question: int, words: Words) -> None:
        number, order, written, names = self._number, words.order, words.written, words.names
        content, asked, rare, numbers = words.content, words.asked, words.rare, words.numbers
        roots = [root for root in dict.fromkeys(order) if root in written]
        ordered = len(roots)
        if ordered < len(written):
            roots += [root for root in written if root not in set(roots)]
        parts = dict[str, int]()
        part = kind = 0
        for root in order:
            parts.setdefault(root, part)
            if root in PARTS:
                part = _PART[root]
            elif root in content or root in numbers:
                part = 0
        for place, root in enumerate(roots):
            is_name, before, after = root in names, NONE, NONE
            text = names[root] if is_name else written[root]
            self._roots.append(number.setdefault(root, len(number)))
            self._written.append(number.setdefault(text, len(number)))
            self._parts.append(parts.get(root, 0))
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
            if is_name:
                kind |= APART if text != written[root] else 0
                middle = order.index(root)
                before = roots.index(order[middle - 1]) if middle and order[middle - 1] in names else NONE
                after = (
                    roots.index(order[middle + 1])
                    if order[middle + 1 : middle + 2] and order[middle + 1] in names
                    else NONE
                )
            self._before.append(before)
            self._after.append(after)
        if names and [root for root in roots if root in names] != list(names):
            kind |= APART
        for root, others in words.against.items():
            self.against.setdefault(self._intern(root), set()).update(map(self._intern, others))
        kind |= (NEGATED if len(words.negations) % 2 else 0) | (BY if words.by is not None else 0)
        kind |= 0 if EITHER.isdisjoint(order) else EITHER_ORDER
        self.kind[question], self.length[question], self.order_length[question] = kind, len(roots), len(order)
        phrases = words.pronouns, (words.tense,), words.negations
        self.phrases[:, question] = [self._intern(" ".join(phrase)) for phrase in phrases]
        start = len(self.initials)
        self.initials += "".join([root[0] for root in order if root[0].isalpha()]).encode("ascii", "replace")
        self.initials_at[:, question] = start, len(self.initials)
