"""Keep the words of many questions as arrays, of which `siamese.model.many_pairs` compares thousands at once."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from siamese.model.order import EITHER, PARTS
from siamese.model.words import TITLE, asked_of, place_of_by, tense_of, token_of, words_in

MOST = 36  # different words of a question in the table; longer ones are compared one by one
A_QUESTION = 200  # bytes that the table takes, about 170 and the words themselves

# What a word of a question is. A number may have no place in the order, such as the 3 of python3.
STEM, CONTENT, NAME, ASKED, RARE, NUMBER, ORDERED, CAPITALS = (1 << bit for bit in range(8))
# What a question has: an odd number of negations; "by"; a word of `order.EITHER`; names that cannot be shown from here.
NEGATED, BY, EITHER_ORDER, APART = (1 << bit for bit in range(4))
PRONOUNS, TENSE, NEGATIONS = range(3)  # phrases of a question
# What a word is by itself, beside CONTENT, ASKED, RARE, NUMBER and CAPITALS.
WORD, UPPER, NAMED, BEGINS, STOPS, SPECIAL, EITHERS = (1 << bit for bit in range(8, 15))
_STOPS = (".", "?", "!")
AT_A_TIME = 16_384  # questions
TOKEN = 7  # numbers that say what a word or sign is
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
        self.shown: dict[tuple[int, int], str] = {}  # differences of pairs that were compared one by one
        self.strings = [""]  # all stems, words and phrases, in the order of their numbers
        self.against: dict[int, set[int]] = {}  # stems of the opposites of a stem
        self.opposable = np.zeros(2, bool)  # of each number, whether it has opposites
        self._number = {"": 0}
        self._token_number: dict[str, int] = {}
        # Of each word and sign: the numbers of its stem, of itself, and of the number that it holds if that is not its
        # stem; what it is; the preposition, its tense and its initial.
        self._tokens = array("i")
        self._start = np.full(count, -1, np.int64)  # of a question's words; -1: not read yet
        # Of all words: the numbers of the stem and of the word as written, what it is, the places in the question of
        # the names before and after a name, and the preposition that it follows.
        self._roots, self._written, self._kinds = array("i", [0]), array("i", [0]), bytearray(1)
        self._before, self._after, self._parts = bytearray(1), bytearray(1), bytearray(1)

    def read(self, questions: np.ndarray) -> None:
        """Read the questions that are not in the table yet."""
        unread = np.unique(questions[self._start[questions] < 0])
        for start in range(0, len(unread), AT_A_TIME):
            self._add(unread[start : start + AT_A_TIME])

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
        if text not in self._number:
            self._number[text] = len(self.strings)
            self.strings.append(text)
        return self._number[text]

    def _token(self, text: str) -> int:
        """Return the number of a word or sign, and note what it is."""
        token = token_of(text)
        root, word = self._intern(token.root), self._intern(text)
        number = self._intern(token.number) if token.number else 0
        lower = text.lower()
        special = token.kind in ("negation", "pronoun") or lower == "by" or lower in ("use", "used")
        bits = (
            (token.kind != "sign", WORD), (token.kind == "content", CONTENT), (token.rare, RARE),
            (token.kind in ("content", "number"), ASKED), (number == root, NUMBER),
            (token.kind == "content" and text[0].isupper(), UPPER), (token.kind == "content" and token.named, NAMED),
            (token.kind == "sign" and text in ".?!:", BEGINS), (text in _STOPS, STOPS), (special, SPECIAL),
            (token.root in EITHER, EITHERS), (len(text) > 1 and text.isupper(), CAPITALS),
        )  # fmt: skip
        letter = token.root[0] if token.root[0].isalpha() else "\0"
        initial = ord(letter if letter.isascii() else "?")
        what = sum(bit for holds, bit in bits if holds)
        tense, other = self._intern(token.tense), number if number != root else 0
        self._tokens.extend((root, word, other, what, _PART.get(token.root, 0), tense, initial))
        if token.against:
            self.against.setdefault(root, set()).update(map(self._intern, token.against))
        self._token_number[text] = len(self._token_number)
        return len(self._token_number) - 1

    def _cut(self, questions: np.ndarray) -> "Cut":
        """Cut questions into words and signs."""
        known, lengths, flat = self._token_number, array("i"), array("i")
        for question in questions.tolist():
            words = words_in(self.texts[question])
            flat.extend([known[word] if word in known else self._token(word) for word in words])
            lengths.append(len(words))
        length = np.array(lengths)
        stops = np.cumsum(length)
        tokens = np.frombuffer(self._tokens, np.int32).reshape(-1, TOKEN)[np.frombuffer(flat, np.int32)]
        return Cut(np.repeat(np.arange(len(length)), length), stops - length, stops, *tokens.T)

    def _add(self, questions: np.ndarray) -> None:
        """Add questions, with what `words.Words` finds in each."""
        cut = self._cut(questions)
        special, is_name, words = cut.special(), cut.names(), Different.of(cut)
        is_word = words.of_token >= 0
        bits = STEM | (cut.bits & (CONTENT | RARE | NUMBER)) | np.where(special[cut.of], 0, cut.bits & ASKED)
        kinds = np.where(words.ordered, ORDERED, STEM | NUMBER).astype(np.int32)
        np.bitwise_or.at(kinds, words.of_token[is_word], (bits | is_name * NAME)[is_word])
        np.bitwise_or.at(kinds, words.apart, STEM | NUMBER)

        # A name is shown as it is written last, and names in the order in which they first occur as such.
        names = np.flatnonzero(is_name)
        first, last = np.full(len(kinds), len(is_name)), np.full(len(kinds), -1)
        np.minimum.at(first, words.of_token[names], names)
        np.maximum.at(last, words.of_token[names], names)
        named = np.flatnonzero(last >= 0)
        written = cut.word[words.token]
        shown = written.copy()
        shown[named] = cut.word[last[named]]
        kinds[named] |= cut.bits[last[named]] & CAPITALS
        whose = words.question[named]
        later = (whose[1:] == whose[:-1]) & (first[named][1:] < first[named][:-1])
        kind = np.where(cut.having(cut.bits & EITHERS != 0) > 0, EITHER_ORDER, 0)
        kind[whose[1:][later]] |= APART
        kind[words.question[shown != written]] |= APART

        phrases = np.zeros((3, len(questions)), np.int32)
        tense = np.flatnonzero(cut.tense)[::-1]
        phrases[TENSE, cut.of[tense]] = cut.tense[tense]  # the first one stays
        for place in np.flatnonzero(special).tolist():
            texts = cut.word[cut.starts[place] : cut.stops[place]].tolist()
            tokens = [token_of(self.strings[number]) for number in texts]
            asked = asked_of(tokens)
            roots = {self._number[token.root] for token in asked if token.kind in ("content", "number")}
            of_it = slice(words.starts[place], words.starts[place] + words.counts[place])
            kinds[of_it] |= np.array([ASKED * (stem in roots) for stem in words.stem[of_it].tolist()], np.int32)
            pronouns = sorted({token.text.lower() for token in tokens if token.kind == "pronoun"})
            negations = [token.text for token in asked if token.kind == "negation"]
            phrases[:, place] = [self._intern(" ".join(each)) for each in (pronouns, (tense_of(asked),), negations)]
            kind[place] |= NEGATED * (len(negations) % 2) | BY * (place_of_by(tokens) is not None)

        self.kind[questions], self.phrases[:, questions] = kind, phrases
        self.order_length[questions] = cut.stops - cut.starts
        self.length[questions] = np.where(words.counts > MOST, LONG, words.counts)
        self._start[questions] = len(self._roots) + words.starts
        initials = np.cumsum(np.append(0, cut.initial > 0))
        self.initials_at[:, questions] = len(self.initials) + initials[np.stack((cut.starts, cut.stops))]
        self.initials += cut.initial[cut.initial > 0].astype(np.uint8).tobytes()
        self._roots.frombytes(words.stem.astype(np.int32).tobytes())
        self._written.frombytes(shown.astype(np.int32).tobytes())
        self._kinds += kinds.astype(np.uint8).tobytes()
        self._parts += words.prepositions(cut, kinds).astype(np.uint8).tobytes()
        for beside, near in ((self._before, -1), (self._after, 1)):
            beside += words.names_beside(cut, named, near).astype(np.uint8).tobytes()
        self.opposable = np.zeros(len(self.strings), bool)
        self.opposable[list(self.against.keys() | set().union(*self.against.values()))] = True


class Cut(NamedTuple):
    """The words and signs of several questions, one after the other, as `WordTable._tokens` has them."""

    of: np.ndarray  # (t,) the question of each, from 0
    starts: np.ndarray  # (n,) where each question starts
    stops: np.ndarray
    root: np.ndarray
    word: np.ndarray
    number: np.ndarray
    bits: np.ndarray
    part: np.ndarray
    tense: np.ndarray
    initial: np.ndarray

    def having(self, which: np.ndarray) -> np.ndarray:
        """Return the number of some of the words in each question, (n,)."""
        return np.bincount(self.of[which], minlength=len(self.starts))

    def at(self, edge: np.ndarray) -> np.ndarray:
        """Return which words stand at these places, one of each question, (t,) bool."""
        return np.arange(len(self.of)) == edge[self.of]

    def special(self) -> np.ndarray:
        """Return which questions need more than their words, such as several sentences or a negation, (n,) bool."""
        inside = (self.bits & STOPS != 0) & ~self.at(self.stops - 1)
        return self.having(inside | (self.bits & SPECIAL != 0)) > 0

    def names(self) -> np.ndarray:
        """Return which words are names, (t,) bool. In a Title Like This, capitals name nothing."""
        first, upper = self.at(self.starts), self.bits & UPPER != 0
        weighty = self.having((self.bits & CONTENT != 0) & ~first)
        plain = (weighty < TITLE) | (self.having(upper & ~first) < weighty)
        begins = first | (np.append(0, self.bits)[:-1] & BEGINS != 0)
        return plain[self.of] & ((self.bits & NAMED != 0) | (upper & ~begins))


class Different(NamedTuple):
    """The different words of several questions in their order, each question's followed by numbers without a place."""

    question: np.ndarray  # (w,)
    stem: np.ndarray  # (w,)
    token: np.ndarray  # (w,) where it first occurs
    ordered: np.ndarray  # (w,) bool
    of_token: np.ndarray  # (t,) the place of each word in these arrays, -1 for signs
    apart: np.ndarray  # the places of the numbers that other words hold
    counts: np.ndarray  # (n,)
    starts: np.ndarray  # (n,)

    @classmethod
    def of(cls, cut: Cut) -> "Different":
        """Return the different words of questions."""
        is_word, apart = np.flatnonzero(cut.bits & WORD), np.flatnonzero(cut.number)
        where = np.concatenate((is_word, apart))
        stems = np.concatenate((cut.root[is_word], cut.number[apart])).astype(np.int64)
        key, begin, which = np.unique((cut.of[where] << 32) + stems, return_index=True, return_inverse=True)
        order = np.lexsort((begin, key >> 32))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        which, begin, key = place[which.reshape(-1)], begin[order], key[order]
        of_token = np.full(len(cut.of), -1)
        of_token[is_word] = which[: len(is_word)]
        counts = np.bincount(key >> 32, minlength=len(cut.starts))
        return cls(
            key >> 32, key & 0xFFFFFFFF, where[begin], begin < len(is_word), of_token, which[len(is_word) :],
            counts, np.cumsum(counts) - counts,
        )  # fmt: skip

    def names_beside(self, cut: Cut, named: np.ndarray, near: int) -> np.ndarray:
        """Return the place in its question of the name before (-1) or after (1) each of some names; NONE elsewhere."""
        found = np.full(len(self.stem), NONE)
        at_edge = cut.at(cut.starts if near < 0 else cut.stops - 1)[self.token[named]]
        beside = np.where(at_edge, -1, np.append(self.of_token, -1)[self.token[named] + near])
        is_name = np.zeros(len(found) + 1, bool)
        is_name[named] = True
        has = is_name[beside]
        found[named[has]] = (beside - self.starts[self.question[named]])[has]
        return found

    def prepositions(self, cut: Cut, kinds: np.ndarray) -> np.ndarray:
        """Return the preposition that each word follows, with no word that has a meaning between; (w,), 0 if none."""
        weighty = np.append(kinds, 0)[self.of_token] & (CONTENT | NUMBER) != 0
        places = np.where((cut.part > 0) | weighty, np.arange(len(weighty)), -1)
        before = np.maximum.accumulate(np.append(-1, places))[:-1]
        return (cut.part[before] * (before >= cut.starts[cut.of]))[self.token] * self.ordered
