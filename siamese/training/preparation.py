"""Training pairs as token ids, with the vocabulary that they give: what a training needs before its first step."""

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
    """The vocabulary of the training questions, or of the duplicates alone, as the rule of the recipe says.

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
        for part in share.collected(np.frombuffer(own, np.uint8)):  # in order, so that the words keep theirs
            counts.update(json.loads(part.tobytes()))
    return Tokenizer.of_counts(counts, config.tokens, config.min_count, config.buckets)


def prepare(training: Pairs, tokenizer: AnyTokenizer) -> PairTokens:
    """Training pairs as token ids with the duplicate cluster of each; questions without a token are left out."""
    return _prepare(training, tokenizer, ALONE)[0]


def _prepare(training: Pairs, tokenizer: AnyTokenizer, share: Share) -> tuple[PairTokens, np.ndarray]:
    """`prepare`, and which pairs were not left out; each process cuts its part of the pairs into words."""
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
    def of(
        cls, config: Config, training: Pairs, start_from: SiameseModel | None = None, share: Share = ALONE
    ) -> "Prepared":
        """The training pairs as token ids; the words of a model to start from come first, and keep their ids.

        A transformer's tokenizer is its encoder's. Processes that share the work each do a part of it, and all get the
        whole.
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
        """The vectors that the recipe's teacher wants, (n, 2, hidden); None without a teacher."""
        if config.teacher is None:
            return None
        from siamese.training import teacher

        return teacher.targets(config, self.training.question1, self.training.question2, self.pairs, progress)
