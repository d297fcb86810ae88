"""Keep the words of many questions as arrays, of which `siamese.model.many_pairs` compares thousands at once."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from siamese.model.order import EITHER, PARTS
from siamese.model.words import TITLE, asked_of, place_of_by, tense_of, token_of, words_in

MOST = 36  # different words of a question in the table; longer ones are compared one by one
A_QUESTION = 150  # bytes that the table takes

# What a word of a question is. A number may have no place in the order, such as the 3 of python3.
STEM, CONTENT, NAME, ASKED, RARE, NUMBER, ORDERED, CAPITALS = (1 << bit for bit in range(8))
# What a question has: an odd number of negations; "by"; a word of `order.EITHER`; names that cannot be shown from here.
NEGATED, BY, EITHER_ORDER, APART = (1 << bit for bit in range(4))
PRONOUNS, TENSE, NEGATIONS = range(3)  # phrases of a question
# What a word is by itself, beside CONTENT, ASKED, RARE, NUMBER and CAPITALS.
WORD, UPPER, NAMED, BEGINS, STOPS, SPECIAL, EITHERS = (1 << bit for bit in range(8, 15))
_STOPS = (".", "?", "!")
AT_A_TIME = 16_384  # questions
LOW = (1 << 32) - 1  # bits of a stem's number, below those of its question
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

    def _add(self, questions: np.ndarray) -> None:
        """Read questions: what `words.Words` finds in each, of which `special` ones need more than their words."""
        known, lengths, flat = self._token_number, array("i"), array("i")
        for question in questions.tolist():
            words = words_in(self.texts[question])
            flat.extend([known[word] if word in known else self._token(word) for word in words])
            lengths.append(len(words))
        count, total = len(questions), len(flat)
        length = np.array(lengths)
        stops = np.cumsum(length)
        starts = stops - length
        token = np.frombuffer(self._tokens, np.int32).reshape(-1, 7)[np.frombuffer(flat, np.int32)]
        root, word, number, bits, part, tense, initial = token.T
        of = np.repeat(np.arange(count), length)  # the question of each word
        at = np.arange(total)
        first, last = at == starts[of], at == stops[of] - 1

        def having(which: np.ndarray) -> np.ndarray:
            return np.bincount(of[which], minlength=count)

        is_word, is_content = bits & WORD != 0, bits & CONTENT != 0
        special = having((bits & SPECIAL != 0) | ((bits & STOPS != 0) & ~last)) > 0
        later = having(is_content & ~first)
        plain = (later < TITLE) | (having((bits & UPPER != 0) & ~first) < later)
        begins = first | (np.append(0, bits)[:-1] & BEGINS != 0)
        name = plain[of] & ((bits & NAMED != 0) | ((bits & UPPER != 0) & ~begins))

        # The different words of each question in their order, then numbers that have no place in it.
        apart = np.flatnonzero(number)
        where = np.concatenate((np.flatnonzero(is_word), apart))
        stem = np.concatenate((root[is_word], number[apart])).astype(np.int64)
        ordered = np.count_nonzero(is_word)
        code, begin, entry = np.unique(
            (of[where].astype(np.int64) << 32) + stem, return_index=True, return_inverse=True
        )
        entry = entry.reshape(-1)
        order = np.lexsort((begin, code >> 32))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        entry, begin, code = rank[entry], begin[order], code[order]
        whose = code >> 32
        different = np.bincount(whose, minlength=count)
        begins_at = np.cumsum(different) - different
        kinds = np.zeros(len(code), np.int32)
        given = np.where(is_word, STEM | (bits & (CONTENT | RARE | NUMBER)) | np.where(special[of], 0, bits & ASKED), 0)
        given |= name * NAME
        np.bitwise_or.at(kinds, entry, np.concatenate((given[is_word], np.full(len(apart), STEM | NUMBER))))
        kinds |= (begin < ordered) * ORDERED

        of_word = np.full(total + 1, -1)
        of_word[where[:ordered]] = entry[:ordered]
        names = np.flatnonzero(name)
        first_name, last_name = np.full(len(code), total), np.full(len(code), -1)
        np.minimum.at(first_name, of_word[names], names)
        np.maximum.at(last_name, of_word[names], names)
        is_name = np.flatnonzero(last_name >= 0)
        written = word[where[begin]]
        shown = written.copy()
        shown[is_name] = word[last_name[is_name]]
        kinds[is_name] |= bits[last_name[is_name]] & CAPITALS
        two = (whose[is_name][1:] == whose[is_name][:-1]) & (first_name[is_name][1:] < first_name[is_name][:-1])
        unlike = np.concatenate((whose[is_name][1:][two], whose[shown != written]))

        beside = np.full((2, len(code)), NONE)
        middle = where[begin[is_name]]
        for places, near, edge in ((beside[0], -1, first), (beside[1], 1, last)):
            neighbour = np.where(edge[middle], -1, of_word[np.where(edge[middle], -1, middle + near)])
            has = (neighbour >= 0) & (last_name[neighbour] >= 0)
            places[is_name[has]] = (neighbour - begins_at[whose[is_name]])[has]
        # The word before which a preposition stands, up to the next word with a meaning.
        weighty = np.append(kinds, 0)[of_word[:-1]] & (CONTENT | NUMBER) != 0
        before = np.maximum.accumulate(np.append(-1, np.where((part > 0) | weighty, at, -1)))[:-1]
        follows = np.where(before >= starts[of], part[before], 0)[where[begin]] * (begin < ordered)

        kind = np.where(having(bits & EITHERS != 0) > 0, EITHER_ORDER, 0)
        kind[unlike] |= APART
        phrases = np.zeros((3, count), np.int32)
        with_tense = np.flatnonzero(tense)[::-1]
        phrases[TENSE, of[with_tense]] = tense[with_tense]  # the first one stays
        for place in np.flatnonzero(special).tolist():
            entries = slice(begins_at[place], begins_at[place] + different[place])
            tokens = [token_of(self.strings[i]) for i in word[starts[place] : stops[place]].tolist()]
            asked = asked_of(tokens)
            roots = {self._number[token.root] for token in asked if token.kind in ("content", "number")}
            kinds[entries] |= np.array([ASKED * (stem & LOW in roots) for stem in code[entries].tolist()], np.int32)
            pronouns = sorted({token.text.lower() for token in tokens if token.kind == "pronoun"})
            negations = [token.text for token in asked if token.kind == "negation"]
            phrases[:, place] = [self._intern(" ".join(each)) for each in (pronouns, (tense_of(asked),), negations)]
            kind[place] |= NEGATED * (len(negations) % 2) | BY * (place_of_by(tokens) is not None)

        self.kind[questions], self.order_length[questions] = kind, length
        self.length[questions] = np.where(different > MOST, LONG, different)
        self._start[questions] = len(self._roots) + begins_at
        self.phrases[:, questions] = phrases
        initials = np.cumsum(np.append(0, initial > 0))
        self.initials_at[:, questions] = len(self.initials) + initials[np.stack((starts, stops))]
        self.initials += initial[initial > 0].astype(np.uint8).tobytes()
        self._roots.frombytes((code & LOW).astype(np.int32).tobytes())
        self._written.frombytes(shown.astype(np.int32).tobytes())
        for flat_bytes, values in (
            (self._kinds, kinds), (self._before, beside[0]), (self._after, beside[1]), (self._parts, follows)
        ):  # fmt: skip
            flat_bytes += values.astype(np.uint8).tobytes()
        self.opposable = np.zeros(len(self.strings), bool)
        self.opposable[list(self.against.keys() | set().union(*self.against.values()))] = True
