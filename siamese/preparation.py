"""Training pairs as token ids, with the vocabulary that they give: what a training needs before its first step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from siamese.batches import PairTokens
from siamese.config import Config, encoder_of
from siamese.model import SiameseModel
from siamese.pairs import Clusters, Pairs
from siamese.subwords import AnyTokenizer
from siamese.text import RULES, Tokenizer


def learn_tokenizer(config: Config, training: Pairs) -> Tokenizer:
    """The vocabulary of the training questions, or of the duplicates alone, as the rule of the recipe says."""
    rule = RULES[config.tokens]
    pairs = training if rule.everything else training.take(training.labels == 1)

    def in_turn() -> Iterator[str]:
        for question1, question2 in zip(pairs.question1, pairs.question2):
            yield question1
            yield question2

    return Tokenizer.learn(in_turn(), config.tokens, config.min_count, config.buckets)


def prepare(training: Pairs, tokenizer: AnyTokenizer) -> PairTokens:
    """Training pairs as token ids with the duplicate cluster of each; questions without a token are left out."""
    return _prepare(training, tokenizer)[0]


def _prepare(training: Pairs, tokenizer: AnyTokenizer) -> tuple[PairTokens, np.ndarray]:
    """`prepare`, and which pairs were not left out."""
    first, second = tokenizer.encode(training.question1), tokenizer.encode(training.question2)
    which = np.flatnonzero((first.lengths > 0) & (second.lengths > 0))
    clusters = Clusters(training).of(training.question1)
    return PairTokens(first.take(which), second.take(which), training.labels[which], clusters[which]), which


@dataclass(frozen=True)
class Prepared:
    """Training pairs as token ids; trainings with the same `key` can share it."""

    training: Pairs  # those that are used
    tokenizer: AnyTokenizer
    pairs: PairTokens  # the same as token ids

    @staticmethod
    def key(config: Config) -> tuple[object, ...]:
        """All of a recipe that it depends on."""
        part = config.training_pairs and (config.training_pairs, config.seed)
        return config.tower, config.encoder, config.tokens, config.min_count, config.buckets, config.start_from, part

    @classmethod
    def of(cls, config: Config, training: Pairs, start_from: SiameseModel | None = None) -> "Prepared":
        """The training pairs as token ids; the words of a model to start from come first, and keep their ids.

        A transformer's tokenizer is its encoder's.
        """
        if config.training_pairs:
            order = np.random.default_rng(config.seed).permutation(len(training))
            training = training.take(np.sort(order[: config.training_pairs]))
        tokenizer: AnyTokenizer
        if config.tower == "transformer":
            from siamese.transformer import load_encoder

            tokenizer = load_encoder(encoder_of(config)).tokenizer
        else:
            tokenizer = learn_tokenizer(config, training)
            if start_from and isinstance(start_from.tokenizer, Tokenizer):
                tokenizer = start_from.tokenizer.extended(tokenizer.words)
        pairs, which = _prepare(training, tokenizer)
        return cls(training.take(which), tokenizer, pairs)

    def targets(self, config: Config, progress: Callable[[int, int], None]) -> np.ndarray | None:
        """The vectors that the recipe's teacher wants, (n, 2, hidden); None without a teacher."""
        if config.teacher is None:
            return None
        from siamese import teacher

        return teacher.targets(config, self.training.question1, self.training.question2, self.pairs, progress)
