"""Questions as token ids: three rules for cutting a question into words, and the vocabulary."""

import itertools
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from siamese.config import Config
from siamese.errors import UserError
from siamese.system.optional import optional
from siamese.text.tokens import Tokens

MOST_WORDS = 100_000  # tokens of a question that are read; each costs a step of the LSTM, 25 microseconds

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_WORDS = re.compile(r"\w+|[^\w\s]")
_MANY_MARKS = re.compile(r"[^\w\s]{32}")  # all that `unicodedata.combining` knows are among these


def composed(text: str) -> str:
    """The normal form NFC, in which é is one letter; in linear time, whatever the text.

    `unicodedata.normalize` sorts the marks on a letter by inserting one after the
    other: alone it would take minutes for a million of them.
    """
    if not text.isascii() and _MANY_MARKS.search(text):
        apart = "".join(unicodedata.normalize("NFD", letter) for letter in text)
        runs = itertools.groupby(apart, lambda letter: unicodedata.combining(letter) > 0)
        text = "".join("".join(sorted(run, key=unicodedata.combining) if marks else run) for marks, run in runs)
    return unicodedata.normalize("NFC", text)


def words(question: str) -> list[str]:
    return _WORDS.findall(composed(question.lower()))


def _nltk() -> Callable[[str], list[str]]:
    # Without the sentence splitter that `nltk.word_tokenize` runs first: that
    # one needs a download, and only questions of several sentences differ.
    tokenize = optional("nltk.tokenize", "the rule 'nltk' for words").NLTKWordTokenizer().tokenize
    return lambda question: tokenize(composed(question))


# The signs that Keras's TextVectorization strips.
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")


def _spaces(question: str) -> list[str]:
    return _PUNCTUATION.sub("", composed(question)).split()


@dataclass(frozen=True)
class Rule:
    """How a question is cut and how its words are numbered."""

    split: Callable[[], Callable[[str], list[str]]]  # called once, so that NLTK loads when needed
    pad: int
    unknown: int
    first_word: int
    by_frequency: bool  # else by first sight
    everything: bool  # the vocabulary is learned from all training pairs, else from duplicates alone


RULES = {
    "words": Rule(lambda: words, pad=0, unknown=1, first_word=2, by_frequency=True, everything=True),
    "nltk": Rule(_nltk, pad=1, unknown=0, first_word=2, by_frequency=False, everything=False),
    "spaces": Rule(lambda: _spaces, pad=0, unknown=1, first_word=2, by_frequency=True, everything=False),
}


def count_words(questions: Iterable[str], rule: str) -> Counter[str]:
    """How often each word occurs, in the order of first sight."""
    return Counter(itertools.chain.from_iterable(map(RULES[rule].split(), questions)))


class Tokenizer:
    """Text to ids by a rule ("words", "nltk", "spaces") and a vocabulary.

    With buckets, the words that are not in the vocabulary share so many ids, by a
    hash of their spelling: so a name that was never seen is still the same in two
    questions, and another name most likely another. Without, they share one.

    Ids: padding and the unknown word, then the buckets, then the words.

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
        if len(self._ids) != len(self.words):
            raise UserError("a vocabulary with a word twice")

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[list[str], str, int]]:
        """Pickle the vocabulary alone: NLTK's function cannot be."""
        return Tokenizer, (self.words, self.rule, self.buckets)

    def __len__(self) -> int:
        """The number of ids: the padding, the unknown word, the buckets and the words."""
        return self.first_word + len(self.words)

    @classmethod
    def learn(cls, questions: Iterable[str], rule: str = "words", min_count: int = 1, buckets: int = 0) -> "Tokenizer":
        """Learn the vocabulary: the words that occur `min_count` times or more.

        Words are numbered as the rule says: by frequency (the first seen first
        among equals) or by first sight. One with a NUL or half a surrogate pair
        is left out: no file of a vocabulary may hold it.
        """
        return cls.of_counts(count_words(questions, rule), rule, min_count, buckets)

    @classmethod
    def of_counts(cls, counts: Counter[str], rule: str, min_count: int, buckets: int) -> "Tokenizer":
        """`learn` from how often each word occurs, in the order of first sight."""
        ranked = counts.most_common() if RULES[rule].by_frequency else counts.items()
        words = (word for word, count in ranked if count >= min_count)
        return cls([word for word in words if not _UNWRITABLE.search(word)], rule, buckets)

    def extended(self, words: Iterable[str]) -> "Tokenizer":
        """With new words after its own, which keep their ids."""
        return Tokenizer([*self.words, *(word for word in words if word not in self._ids)], self.rule, self.buckets)

    def encode(self, questions: Iterable[str]) -> Tokens:
        """Return the ids of each question's first MOST_WORDS words; an unknown one has its bucket's, or `unknown`."""
        get, unknown, split = self._ids.get, self.unknown, self.split
        if not self.buckets:
            return Tokens.of([get(word, unknown) for word in split(q)[:MOST_WORDS]] for q in questions)
        # No word's id is 0: that is the padding's or the unknown word's.
        return Tokens.of([get(word) or self.bucket(word) for word in split(q)[:MOST_WORDS]] for q in questions)

    def bucket(self, word: str) -> int:
        """The id that a word has while it is not in the vocabulary; there must be buckets."""
        return RULES[self.rule].first_word + zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.buckets

    def in_vocabulary(self, tokens: Tokens) -> np.ndarray:
        """(total,) bool: which of the tokens are words of the vocabulary."""
        return tokens.ids >= self.first_word

    def known_words(self, question: str) -> list[bool]:
        """Of each word of `split`, as far as they are read, whether it is in the vocabulary."""
        return self.in_vocabulary(self.encode([question])).tolist()

    def unknown_words(self, questions: Iterable[str]) -> np.ndarray:
        """(n,) int64: how many of a question's words the vocabulary lacks; one that stands twice counts twice."""
        tokens = self.encode(questions)
        before = np.concatenate(([0], np.cumsum(~self.in_vocabulary(tokens))))
        return before[tokens.starts[1:]] - before[tokens.starts[:-1]]

    def text(self) -> str:
        """The vocabulary, a word a line; with the rule and the buckets it decides the ids of any question."""
        return "\n".join(self.words)

    def knows(self, tokens: Tokens) -> np.ndarray:
        """(n,) bool: whether a question has at least one word of the vocabulary."""
        known = np.concatenate(([0], np.cumsum(self.in_vocabulary(tokens))))
        return known[tokens.starts[1:]] > known[tokens.starts[:-1]]


def first_word(config: Config) -> int:
    """The id of the vocabulary's first word: ids below it leave a question unknown."""
    return RULES[config.tokens].first_word + config.buckets
