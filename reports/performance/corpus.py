"""The pairs that the benchmark trains on and the questions that it encodes. It needs no torch."""

import random
from dataclasses import dataclass

from siamese.config import Config
from siamese.errors import DataError
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.text.tokenizer import Tokenizer
from siamese.training.batches import PairTokens, learn_tokenizer, prepare

BATCH = 512
TRIPLET = Config(batch_size=BATCH, skip=False, labelled="none")


@dataclass(frozen=True)
class Corpus:
    """A file of pairs, ready for training."""

    pairs: Pairs
    tokenizer: Tokenizer
    tokens: PairTokens

    @classmethod
    def read(cls, path: str) -> "Corpus":
        """Read a file of labelled pairs.

        Raises:
            DataError: the file has fewer than two duplicates, which make the smallest batch.
        """
        pairs = read_pairs(path)
        tokenizer = learn_tokenizer(TRIPLET, pairs)
        if pairs.duplicates < 2:
            raise DataError(f"{path}: fewer than two duplicates; give a file with at least two")
        return cls(pairs, tokenizer, prepare(pairs, tokenizer)[0])

    @property
    def duplicates(self) -> Pairs:
        return self.pairs.take(self.pairs.labels == 1)

    def questions(self) -> list[str]:
        """Return the distinct questions in a fixed random order."""
        distinct = sorted({*self.pairs.question1, *self.pairs.question2})
        return random.Random(1).sample(distinct, len(distinct))
