"""Turn training pairs into token ids and learn their vocabulary, before the first step."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain

import numpy as np

from siamese.config import Config, encoder_of
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.text.keys import keys
from siamese.text.ragged import Tokens
from siamese.text.subwords import AnyTokenizer
from siamese.text.tokenizer import RULES, Tokenizer, count_words
from siamese.training.batches import PairTokens, Share

ALONE = Share()


def learn_tokenizer(config: Config, training: Pairs, share: Share = ALONE) -> Tokenizer:
    """Learn the vocabulary of the training questions, or of the duplicates alone, by the recipe's rule for tokens.

    Processes that share the work count the words of their part of the pairs.
    """
    pairs = _part(training if RULES[config.tokens].everything else training.take(training.labels == 1), share)
    in_turn = chain.from_iterable(zip(pairs.question1, pairs.question2))
    # In the order of the processes, which decides the order of the words.
    counts = sum(share.collected(count_words(in_turn, config.tokens)), Counter[str]())
    return Tokenizer.of_counts(counts, config.tokens, config.min_count, config.buckets)


def prepare(training: Pairs, tokenizer: AnyTokenizer, share: Share = ALONE) -> tuple[PairTokens, np.ndarray]:
    """Return training pairs as token ids, without those that have a question without a token, and their row numbers.

    Processes that share the work tokenize their part of the pairs.
    """
    part = _part(training, share)
    sides, found = [], []
    for questions in (part.question1, part.question2):
        own = tokenizer.encode(questions)
        lengths = np.concatenate(share.collected(own.lengths))
        sides.append(Tokens(np.concatenate(share.collected(own.ids)), np.concatenate(([0], np.cumsum(lengths)))))
        found.append(np.concatenate(share.collected(keys(questions))))
    first, second = sides
    which = np.flatnonzero((first.lengths > 0) & (second.lengths > 0))
    clusters = Clusters(training, (found[0], found[1])).of_keys(found[0])
    return PairTokens(first.take(which), second.take(which), training.labels[which], clusters[which]), which


def _part(pairs: Pairs, share: Share) -> Pairs:
    return pairs if share.count == 1 else pairs.take(np.arange(len(pairs))[share.of(len(pairs))])


def drawn(config: Config, training: Pairs) -> Pairs:
    """Return the pairs that the recipe trains on: all, or `training_pairs` of them, drawn by the seed."""
    if config.training_pairs is None:
        return training
    order = np.random.default_rng(config.seed).permutation(len(training))
    return training.take(np.sort(order[: config.training_pairs]))


@dataclass(frozen=True)
class Prepared:
    """Training pairs as token ids. Trainings with the same `key` can share it."""

    training: Pairs  # the pairs in use
    tokenizer: AnyTokenizer
    pairs: PairTokens  # the same pairs as token ids

    @staticmethod
    def key(config: Config) -> tuple[object, ...]:
        """Return the fields of a recipe that the result of `of` depends on."""
        part = config.training_pairs and (config.training_pairs, config.seed)
        return config.tower, config.encoder, config.tokens, config.min_count, config.buckets, config.start_from, part

    @classmethod
    def of(
        cls, config: Config, training: Pairs, start_from: SiameseModel | None = None, share: Share = ALONE
    ) -> "Prepared":
        """Tokenize the training pairs.

        The words of a model to start from keep their ids. A transformer has the tokenizer of its encoder. Processes
        that share the work each do a part and get the whole.
        """
        training = drawn(config, training)
        tokenizer: AnyTokenizer
        if config.tower == "transformer":
            from siamese.towers.encoders import load_parts

            tokenizer = load_parts(encoder_of(config)).tokenizer
        else:
            tokenizer = learn_tokenizer(config, training, share)
            if start_from and isinstance(start_from.tokenizer, Tokenizer):
                tokenizer = start_from.tokenizer.extended(tokenizer.words)
        pairs, which = prepare(training, tokenizer, share)
        return cls(training.take(which), tokenizer, pairs)
