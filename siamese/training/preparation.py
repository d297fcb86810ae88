"""Turn training pairs into token ids and learn their vocabulary, before the first step."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from siamese.config import Config, encoder_of
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.text.keys import keys
from siamese.text.subwords import AnyTokenizer
from siamese.text.tokenizer import RULES, Tokenizer, count_words
from siamese.text.tokens import Tokens
from siamese.training.batches import PairTokens, Share

ALONE = Share()


def learn_tokenizer(config: Config, training: Pairs, share: Share = ALONE) -> Tokenizer:
    """Learn the vocabulary of the training questions, or of the duplicates alone, by the recipe's rule for tokens.

    Processes that share the work count the words of their part of the pairs.
    """
    rule = RULES[config.tokens]
    pairs = training if rule.everything else training.take(training.labels == 1)
    pairs = _part(pairs, share)

    def in_turn() -> Iterator[str]:
        for question1, question2 in zip(pairs.question1, pairs.question2):
            yield question1
            yield question2

    counts = count_words(in_turn(), config.tokens)
    if share.count > 1:
        own, counts = json.dumps(counts).encode(), Counter()
        for part in share.collected(np.frombuffer(own, np.uint8)):  # in order, which decides the order of the words
            counts.update(json.loads(part.tobytes()))
    return Tokenizer.of_counts(counts, config.tokens, config.min_count, config.buckets)


def prepare(training: Pairs, tokenizer: AnyTokenizer) -> PairTokens:
    """Return training pairs as token ids, without those of which a question has no token."""
    return _prepare(training, tokenizer, ALONE)[0]


def _prepare(training: Pairs, tokenizer: AnyTokenizer, share: Share) -> tuple[PairTokens, np.ndarray]:
    """Return the result of `prepare` and the numbers of its pairs; each process tokenizes its part of them."""
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
    """Return the pairs that the recipe trains on: all, or as many as it says, drawn by the seed."""
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
        """Return the values of a recipe that it depends on."""
        part = config.training_pairs and (config.training_pairs, config.seed)
        return config.tower, config.encoder, config.tokens, config.min_count, config.buckets, config.start_from, part

    @classmethod
    def of(
        cls, config: Config, training: Pairs, start_from: SiameseModel | None = None, share: Share = ALONE
    ) -> "Prepared":
        """Tokenize the training pairs.

        The words of a model to start from keep their ids. A transformer has the tokenizer of its encoder. If processes
        share the work, each does a part and gets the whole.
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
        pairs, which = _prepare(training, tokenizer, share)
        return cls(training.take(which), tokenizer, pairs)

    def targets(self, config: Config, progress: Callable[[int, int], None]) -> np.ndarray | None:
        """Return the teacher's target vectors, (n, 2, hidden); None without a teacher."""
        if config.teacher is None:
            return None
        from siamese.training import teacher

        return teacher.targets(config, self.training.question1, self.training.question2, self.pairs, progress)
