"""The vocabulary, and the rules for splitting a question into words.

"words" and "pieces" clean a question first; "nltk" and "spaces" are those of the course's editions, which do not.
"""

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from siamese.config import Config
from siamese.errors import UserError
from siamese.system.optional import optional
from siamese.text.cleaning import clean, composed
from siamese.text.ragged import Tokens

MOST_WORDS = 100_000  # of a question; each costs the LSTM a step of 25 microseconds

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_WORDS = re.compile(r"\w+|[^\w\s]")


def words(question: str) -> list[str]:
    """Split a question by the rule "words": cleaned, lower case, every punctuation mark a word of its own."""
    return _WORDS.findall(composed(clean(question).lower()))


def _nltk() -> Callable[[str], list[str]]:
    # `nltk.word_tokenize` first splits sentences, which needs a download and matters for several sentences only.
    tokenize = optional("nltk.tokenize", "the rule 'nltk' for words").NLTKWordTokenizer().tokenize
    return lambda question: tokenize(composed(question))


# The punctuation that Keras's TextVectorization strips.
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")


def _spaces(question: str) -> list[str]:
    return _PUNCTUATION.sub("", composed(question)).split()


@dataclass(frozen=True)
class Rule:
    """A way to split questions and to number their words."""

    split: Callable[[], Callable[[str], list[str]]]  # called once, so that NLTK is loaded only if needed
    pad: int
    unknown: int
    first_word: int
    by_frequency: bool  # else by first occurrence
    everything: bool  # learn the vocabulary from all training pairs, else from duplicates alone


RULES = {
    "words": Rule(lambda: words, pad=0, unknown=1, first_word=2, by_frequency=True, everything=True),
    "nltk": Rule(_nltk, pad=1, unknown=0, first_word=2, by_frequency=False, everything=False),
    "spaces": Rule(lambda: _spaces, pad=0, unknown=1, first_word=2, by_frequency=True, everything=False),
    "pieces": Rule(lambda: words, pad=0, unknown=1, first_word=2, by_frequency=True, everything=True),
}
INSIDE = "##"  # begins a piece that continues a word
LONGEST_PIECE, LONGEST_CUT = 12, 64  # characters of a piece that is learned, and of a word; longer ones are unknown
CHARACTERS, PIECES = 300, 6_000  # pieces of one character and of more that are learned from rare words
REMEMBERED = 100_000  # rare words whose pieces are kept in memory


def count_words(questions: Iterable[str], rule: str) -> Counter[str]:
    """Count each word, in the order of first occurrence."""
    return Counter(itertools.chain.from_iterable(map(RULES[rule].split(), questions)))


class Tokenizer:
    """Turns text into token ids by a rule ("words", "pieces", "nltk" or "spaces") and a vocabulary.

    By the rule "pieces", a word outside the vocabulary is cut into the longest pieces that are in it, from left to
    right, so that a rare word has a meaning (as WordPiece does: Schuster, Nakajima 2012). Other words outside the
    vocabulary get one of `buckets` ids, by a hash of their spelling, so that an unseen name has the same id in both
    questions, and most likely not that of another name. Without buckets they share one id.

    The ids are padding and the unknown word, then the buckets, then the words of the vocabulary.

    >>> tokenizer = Tokenizer.learn(["How old are you?"], "words")
    >>> tokenizer.encode(["how OLD?", "zzz"])[0]
    array([2, 3, 6], dtype=int32)
    """

    def __init__(self, words: Sequence[str], rule: str = "words", buckets: int = 0) -> None:
        if rule not in RULES:
            raise UserError(f"tokens: no rule {rule!r}; there are {', '.join(RULES)}")
        self.words = list(words)
        self.rule, self.buckets = rule, buckets
        self.pad, self.unknown = RULES[rule].pad, RULES[rule].unknown
        self.split = RULES[rule].split()
        self.first_word = RULES[rule].first_word + buckets  # the id of the first word of the vocabulary
        self._ids = dict(zip(self.words, range(self.first_word, self.first_word + len(self.words))))
        self._pieces: dict[str, list[int]] = {}  # of words outside the vocabulary, as far as remembered
        if len(self._ids) != len(self.words):
            raise UserError("a vocabulary with a word twice")

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[list[str], str, int]]:
        """Pickle the vocabulary alone, since NLTK's function cannot be pickled."""
        return Tokenizer, (self.words, self.rule, self.buckets)

    def __len__(self) -> int:
        """Return the number of ids: padding, unknown word, buckets and words."""
        return self.first_word + len(self.words)

    @classmethod
    def learn(cls, questions: Iterable[str], rule: str = "words", min_count: int = 1, buckets: int = 0) -> "Tokenizer":
        """Learn the vocabulary from questions.

        Words with a NUL or half a surrogate pair are left out, because no vocabulary file may hold them.

        Args:
            questions: the training questions.
            rule: "words", "pieces", "nltk" or "spaces". It numbers words by frequency (ties by first occurrence), or
                by first occurrence.
            min_count: how often a word must occur, 1 or more.
            buckets: ids for the words outside the vocabulary, 0 or more.
        """
        return cls.of_counts(count_words(questions, rule), rule, min_count, buckets)

    @classmethod
    def of_counts(
        cls, counts: Counter[str], rule: str, min_count: int, buckets: int, most: int | None = None
    ) -> "Tokenizer":
        """Learn the vocabulary from the counts of `count_words`, of at most so many words; see `learn`."""
        ranked = counts.most_common() if RULES[rule].by_frequency else counts.items()
        kept = [word for word, count in ranked if count >= min_count and not _UNWRITABLE.search(word)][:most]
        if rule == "pieces":
            kept = [word for word in kept if len(word) <= LONGEST_CUT]
            kept += _learned_pieces(counts, set(kept))
        return cls(kept, rule, buckets)

    def extended(self, words: Iterable[str]) -> "Tokenizer":
        """Return a tokenizer with new words after the present ones, which keep their ids."""
        return Tokenizer([*self.words, *(word for word in words if word not in self._ids)], self.rule, self.buckets)

    def encode(self, questions: Iterable[str]) -> Tokens:
        """Return the ids of each question's first MOST_WORDS words; an unknown one has its bucket's, or `unknown`."""
        get, unknown, split = self._ids.get, self.unknown, self.split
        if self.rule == "pieces":
            cut = self.pieces
            return Tokens.of([id for word in split(q)[:MOST_WORDS] for id in cut(word)] for q in questions)
        if not self.buckets:
            return Tokens.of([get(word, unknown) for word in split(q)[:MOST_WORDS]] for q in questions)
        # `or`: 0 is no word's id, but the padding's or the unknown word's.
        return Tokens.of([get(word) or self.bucket(word) for word in split(q)[:MOST_WORDS]] for q in questions)

    def pieces(self, word: str) -> Sequence[int]:
        """Return the ids of a word by the rule "pieces": its own, those of its pieces, or that of an unknown word."""
        get, found = self._ids.get, []
        if (id := get(word)) is not None and len(word) <= LONGEST_CUT:
            return (id,)
        if (known := self._pieces.get(word)) is not None:
            return known
        start, end = 0, len(word) if len(word) <= LONGEST_CUT else 0
        while start < end:
            if (id := get(INSIDE * (start > 0) + word[start:end])) is not None:
                found.append(id)
                start, end = end, len(word)
            else:
                end -= 1
        if not found or start < len(word):  # a character that no piece has
            found = [self.bucket(word) if self.buckets else self.unknown]
        if len(self._pieces) < REMEMBERED:
            self._pieces[word] = found
        return found

    def bucket(self, word: str) -> int:
        """Return the id of a word outside the vocabulary. There must be buckets."""
        return RULES[self.rule].first_word + zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.buckets

    def in_vocabulary(self, tokens: Tokens) -> np.ndarray:
        """Return which of the tokens are in the vocabulary, (total,) bool."""
        return tokens.ids >= self.first_word

    def known_words(self, question: str) -> list[bool]:
        """Return whether each of the first MOST_WORDS words of a question is in the vocabulary, whole or in pieces."""
        if self.rule == "pieces":
            return [self.pieces(word)[0] >= self.first_word for word in self.split(question)[:MOST_WORDS]]
        return self.in_vocabulary(self.encode([question])).tolist()

    def unknown_words(self, questions: Iterable[str]) -> np.ndarray:
        """Return the number of words in each question that are not in the vocabulary, (n,) int64."""
        tokens = self.encode(questions)
        before = np.concatenate(([0], np.cumsum(~self.in_vocabulary(tokens))))
        return before[tokens.starts[1:]] - before[tokens.starts[:-1]]

    def text(self) -> str:
        """Return the vocabulary, one word per line. With the rule and the buckets it determines all ids."""
        return "\n".join(self.words)

    def knows(self, tokens: Tokens) -> np.ndarray:
        """Return whether each question has a word of the vocabulary, (n,) bool."""
        known = np.concatenate(([0], np.cumsum(self.in_vocabulary(tokens))))
        return known[tokens.starts[1:]] > known[tokens.starts[:-1]]


def _learned_pieces(counts: Counter[str], known: set[str]) -> list[str]:
    """Return beginnings and continuations of the words outside a vocabulary: each character, and what saves most.

    A piece of n characters saves n − 1 tokens wherever it occurs. At most 8 occurrences of a word count, so that one
    frequent name does not fill the list.
    """
    saved, single = Counter[str](), Counter[str]()
    for word, count in counts.items():
        if word in known or len(word) > LONGEST_CUT or _UNWRITABLE.search(word):
            continue
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST_PIECE, len(word)) + 1):
                piece = INSIDE * (start > 0) + word[start:end]
                if end == start + 1:
                    single[piece] += min(count, 8)
                else:
                    saved[piece] += min(count, 8) * (end - start - 1)
    ranked = ((piece for piece, _ in found.most_common() if piece not in known) for found in (single, saved))
    return [piece for found, most in zip(ranked, (CHARACTERS, PIECES)) for piece in itertools.islice(found, most)]


def first_word(config: Config) -> int:
    """Return the id of the first word of the vocabulary. Lower ids are padding and unknown words."""
    return RULES[config.tokens].first_word + config.buckets
