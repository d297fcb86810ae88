"""Split questions into subword ids by the tokenizer of a transformer, from a tokenizer.json that is not trusted.

It accepts the tokenizers of BERT, DistilBERT, MPNet and RoBERTa: WordPiece over BERT's words, and byte-level BPE. None
of these has a regular expression of its own, and their time is linear in the length of a question.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from siamese.errors import ModelError
from siamese.system.optional import optional
from siamese.system.strict_json import strict_json
from siamese.text.cleaning import clean
from siamese.text.ragged import Tokens
from siamese.text.tokenizer import Tokenizer

ACCEPTED: dict[str, tuple[str | None, ...]] = {
    "normalizer": (None, "BertNormalizer"),
    "pre_tokenizer": ("BertPreTokenizer", "ByteLevel"),
    "post_processor": ("BertProcessing", "RobertaProcessing", "TemplateProcessing"),
    "model": ("WordPiece", "BPE"),
}
FIELDS = {*ACCEPTED, "version", "added_tokens", "truncation", "padding", "decoder"}
MOST_TOKENS = 8_192  # of a question
TRUNCATION = {"direction": "Right", "max_length": MOST_TOKENS, "strategy": "LongestFirst", "stride": 0}  # or less
SUBWORD_TABLE = "model.embeddings.word_embeddings.weight"  # in which a transformer looks up the ids
MOST_CHARACTERS = 1_000  # of a word that WordPiece splits, in quadratic time
QUESTIONS_AT_A_TIME = 4_096  # questions that the library encodes together


class SubwordTokenizer:
    """Turns text into the token ids of a transformer, special tokens included.

    A question without a known word has no tokens, so that it is a duplicate of nothing.

    Args:
        text: a tokenizer.json; its truncation gives the most tokens of a question.
        strict: whether kinds of tokenizers that are not accepted in a stranger's model are refused.

    Raises:
        ModelError: the text is not such a file, or not accepted.
        UserError: the library `tokenizers` is not installed.
    """

    pad = 0  # unused: the tower pads

    def __init__(self, text: str, strict: bool = True) -> None:
        tokenizers = optional("tokenizers", "a model with a transformer")
        self._text = text
        settings = strict_json(text)
        if strict:
            _check(settings)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(text)
            special = self._tokenizer.encode("").ids
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library's panics are not Exceptions
            raise ModelError(f"not a tokenizer: {error}") from error
        unknown = settings["model"].get("unk_token")
        self._unknown = settings["model"].get("unk_id") if unknown is None else self._tokenizer.token_to_id(unknown)
        self._special = {*special, self._unknown}
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self._length = 1 + max([*ids, *special], default=0)
        self.longest: int = settings["truncation"]["max_length"]  # tokens of a question
        if not len(special) < self.longest <= MOST_TOKENS:
            raise ModelError(f"truncation: {self.longest} tokens, expected {MOST_TOKENS:,} at most, and more than the "
                             f"{len(special)} special ones")  # fmt: skip

    @classmethod
    def of(cls, tokenizer: Any, longest: int, strict: bool = True) -> "SubwordTokenizer":
        """Return a tokenizer of the library `tokenizers` as one of ours; a question has at most `longest` tokens."""
        settings = json.loads(tokenizer.to_str())
        settings |= {"truncation": TRUNCATION | {"max_length": longest}, "padding": None, "decoder": None}
        return cls(json.dumps(settings, ensure_ascii=False), strict)

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._length

    def text(self) -> str:
        """Return the tokenizer.json, which determines all ids."""
        return self._text

    def encode(self, questions: Iterable[str], special: bool = True) -> Tokens:
        """Return the ids of each question, truncated, with or without the special tokens."""
        lists = self._ids(questions, special)
        return Tokens.of(() if self._special.issuperset(ids) else ids for ids in lists)

    def knows(self, tokens: Tokens) -> np.ndarray:
        """Return whether each question has a known word, (n,) bool."""
        return tokens.lengths > 0

    def split(self, question: str) -> list[str]:
        """Return the words of a question, before they are split into subwords."""
        question = writable(question)
        if self._tokenizer.normalizer is not None:
            question = self._tokenizer.normalizer.normalize_str(question)
        pieces = self._tokenizer.pre_tokenizer.pre_tokenize_str(question)
        words = (question[begin:end].strip() for _, (begin, end) in pieces)
        return [word for word in words if word]

    def known_words(self, question: str) -> list[bool]:
        """Return whether each word of `split` is known, whole or in pieces."""
        return [self._unknown not in ids for ids in self._ids(self.split(question), special=False)]

    def unknown_words(self, questions: Iterable[str]) -> np.ndarray:
        """Return the number of unknown words in each question, (n,) int64."""
        counts = (sum(id == self._unknown for id in ids) for ids in self._ids(questions, special=False))
        return np.fromiter(counts, np.int64)

    def _ids(self, questions: Iterable[str], special: bool) -> Iterator[list[int]]:
        left = map(writable, questions)
        while block := list(islice(left, QUESTIONS_AT_A_TIME)):
            for encoding in self._tokenizer.encode_batch_fast(block, add_special_tokens=special):
                yield encoding.ids


AnyTokenizer = Tokenizer | SubwordTokenizer


def writable(question: str) -> str:
    """Return the question, cleaned, with lone surrogates replaced, which the library refuses."""
    return clean(question).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _check(settings: Any) -> None:
    """Raise ModelError if a tokenizer.json holds something that is not accepted."""
    if not isinstance(settings, dict) or settings.keys() != FIELDS:
        raise ModelError(f"not a tokenizer: expected an object with {', '.join(sorted(FIELDS))}")
    for name, accepted in ACCEPTED.items():
        part = settings[name]
        found = part if part is None else part["type"]
        if found not in accepted:
            shown = ", ".join("none" if kind is None else kind for kind in accepted)
            raise ModelError(f"a tokenizer with the {name} {found!r}; accepted are {shown}")
    if settings["padding"] is not None or settings["decoder"] is not None:
        raise ModelError("a tokenizer with padding or a decoder; expected null")
    truncation = settings["truncation"]
    longest = truncation["max_length"]
    if type(longest) is not int or truncation != TRUNCATION | {"max_length": longest}:
        raise ModelError(f"a tokenizer with the truncation {truncation!r}; expected such as {TRUNCATION}")
    model = settings["model"]
    if model["type"] == "BPE" and model.get("dropout") is not None:
        raise ModelError("a tokenizer with dropout, which splits words at random; expected none")
    limit = model.get("max_input_chars_per_word", 0)
    if type(limit) is not int or not 0 <= limit <= MOST_CHARACTERS:
        raise ModelError(f"max_input_chars_per_word {limit!r}: expected an integer up to {MOST_CHARACTERS:,}")
