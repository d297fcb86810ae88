"""Training pairs as token ids with their vocabulary, and batches (b1, b2) of duplicates with non-duplicates beside."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from siamese.config import Config, encoder_of
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.text.keys import identity, keys
from siamese.text.ragged import Tokens
from siamese.text.subwords import AnyTokenizer
from siamese.text.tokenizer import RULES, Tokenizer, count_words


@dataclass(frozen=True)
class PairTokens:
    """n labelled pairs as token ids."""

    first: Tokens  # n questions
    second: Tokens  # n questions
    labels: np.ndarray  # (n,) int8, 1 for duplicates
    clusters: np.ndarray  # (n,) int64: duplicate cluster of the pair's first question
    targets: np.ndarray | None = None  # (n, 2, d): a teacher's vectors of the two questions


@dataclass(frozen=True)
class Share:
    """The share that process `rank` of `count` processes has of everything they divide."""

    rank: int = 0
    count: int = 1

    def of(self, n: int) -> slice:
        """Return the part of n things that belongs to this process; all parts in order make up the whole."""
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def collected(self, own: Any) -> list[Any]:
        """Gather an object from each process, in the order of their ranks. Here there is one process."""
        return [own]


def learn_tokenizer(config: Config, training: Pairs, share: Share = Share()) -> Tokenizer:
    """Learn the vocabulary of the training questions, or of the duplicates alone, by the recipe's rule for tokens.

    Processes that share the work count the words of their part of the pairs.
    """
    pairs = _part(training if RULES[config.tokens].everything else training.take(training.labels == 1), share)
    in_turn = chain.from_iterable(zip(pairs.question1, pairs.question2))
    # In the order of the processes, which decides the order of the words.
    counts = sum(share.collected(count_words(in_turn, config.tokens)), Counter[str]())
    return Tokenizer.of_counts(counts, config.tokens, config.min_count, config.buckets)


def prepare(training: Pairs, tokenizer: AnyTokenizer, share: Share = Share()) -> tuple[PairTokens, np.ndarray]:
    """Return training pairs as token ids, without those that have a question without a token, and their row numbers.

    Processes that share the work tokenize their part of the pairs.
    """
    part = _part(training, share)
    sides, found = [], []
    for questions in (part.question1, part.question2):
        own = tokenizer.encode(questions)
        lengths = np.concatenate(share.collected(own.lengths))
        sides.append(Tokens(np.concatenate(share.collected(own.ids)), np.concatenate(([0], np.cumsum(lengths)))))
        found.append(np.concatenate(share.collected(keys(questions, identity))))
    first, second = sides
    which = np.flatnonzero((first.lengths > 0) & (second.lengths > 0))
    # Questions that the leak key takes for one, such as C and C++, are negatives of each other.
    clusters = Clusters(training, (found[0], found[1]), identity).of_keys(found[0])
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
        cls, config: Config, training: Pairs, start_from: SiameseModel | None = None, share: Share = Share(),
        tokenizer: AnyTokenizer | None = None,
    ) -> "Prepared":  # fmt: skip
        """Tokenize the training pairs, with the given tokenizer or one that is made from them.

        The words of a model to start from keep their ids. A transformer has the tokenizer of its encoder. Processes
        that share the work each do a part and get the whole.
        """
        training = drawn(config, training)
        if tokenizer is None and config.tower == "transformer":
            from siamese.towers.encoders import load_parts

            tokenizer = load_parts(encoder_of(config)).tokenizer
        elif tokenizer is None:
            tokenizer = learn_tokenizer(config, training, share)
            if start_from and isinstance(start_from.tokenizer, Tokenizer):
                tokenizer = start_from.tokenizer.extended(tokenizer.words)
        pairs, which = prepare(training, tokenizer, share)
        return cls(training.take(which), tokenizer, pairs)


@dataclass(frozen=True)
class Batch:
    """B pairs of duplicates (b1[i], b2[i]) and M labelled non-duplicates (n1[i], n2[i]), or a process's share of both.

    `b1, b2 = batch` unpacks the duplicates.
    """

    b1: Tokens  # B questions, or a share of them
    b2: Tokens
    clusters: np.ndarray  # (B,) int64, of the whole batch; equal numbers mean the same question
    n1: Tokens  # M questions, or a share of them
    n2: Tokens
    targets: np.ndarray | None = None  # (2B + 2M, d): a teacher's vectors of b1, b2, n1 and n2, stacked
    share: Share = Share()
    others: int | None = None  # M of the whole batch; None: len(n1)
    unlabelled: Tokens | None = None  # P further questions, without labels
    wanted: np.ndarray | None = None  # (P, d): a teacher's vectors of these

    def __iter__(self) -> Iterator[Tokens]:
        return iter((self.b1, self.b2))

    @property
    def sizes(self) -> tuple[int, int]:
        """B and M of the whole batch."""
        return len(self.clusters), len(self.n1) if self.others is None else self.others

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of b1, b2, n1 and n2, stacked, among those of the whole batch."""
        b, m = self.sizes
        i, j = np.arange(b)[self.share.of(b)], np.arange(m)[self.share.of(m)]
        return np.concatenate((i, b + i, 2 * b + j, 2 * b + m + j))

    def same(self, rows: slice = slice(None)) -> np.ndarray:
        """Return (B, B) bool, or some rows of it: True for known duplicates off the diagonal."""
        same = self.clusters[rows, None] == self.clusters[None, :]
        i = np.arange(len(same))
        same[i, np.arange(len(self.clusters))[rows]] = False
        return same


def number_of_batches(duplicates: int, batch_size: int, drop_last: bool, wrap: bool = False) -> int:
    """Return the number of batches of an epoch."""
    if wrap:  # an epoch of Trax ends with the batch that reaches past the end
        return -(-duplicates // batch_size)
    whole, rest = divmod(duplicates, batch_size)
    # A single pair has no negatives, so a rest of one is dropped, too.
    return whole + (rest >= 2 and not drop_last)


def data_generator(
    pairs: PairTokens, batch_size: int, *, seed: int, epoch: int = 0, shuffle: bool = True, swap: bool = True,
    drop_last: bool = False, wrap: bool = False, negatives: bool = False, start: int = 0, share: Share = Share(),
) -> Iterator[Batch]:  # fmt: skip
    """Yield the batches of one epoch.

    Args:
        pairs: duplicates and non-duplicates.
        batch_size: duplicates per batch, 2 or more.
        seed, epoch: determine the order and the swapping, so an epoch can be repeated.
        shuffle: use a new order for each epoch.
        swap: exchange the two sides of each pair with probability ½.
        drop_last: drop the last batch if it is smaller than the others.
        wrap: fill the last batch from the next shuffle instead, as the published Trax generator does; such a batch can
            hold a pair twice.
        negatives: spread the labelled non-duplicates evenly over the batches.
        start: skip the first `start` batches.
        share: yield only a process's part of each batch.
    """
    random = np.random.default_rng((seed, epoch))
    duplicates, others = np.flatnonzero(pairs.labels == 1), np.flatnonzero(pairs.labels == 0)
    n, count = len(duplicates), number_of_batches(len(duplicates), batch_size, drop_last, wrap)
    if count == 0:
        return
    if wrap:
        # One endless stream of shuffles; each epoch begins at the end of the last one.
        begin, end = epoch * count * batch_size, (epoch + 1) * count * batch_size
        shuffles = [np.random.default_rng((seed, k)) for k in range(begin // n, -(-end // n))]
        stream = np.concatenate([k.permutation(duplicates) if shuffle else duplicates for k in shuffles])
        duplicates = stream[begin % n :]
    elif shuffle:
        duplicates = random.permutation(duplicates)
    others = random.permutation(others) if negatives else others[:0]
    shares = np.array_split(others, count)
    if swap and start:  # draw what the skipped batches would have drawn
        random.random(len(duplicates[: start * batch_size]) + sum(map(len, shares[:start])))
    for i in range(start, count):
        chosen = duplicates[i * batch_size : (i + 1) * batch_size]
        # Draw for the whole batch, so that it is the same for any number of processes.
        swapped = [random.random(len(part)) < 0.5 if swap else False for part in (chosen, shares[i])]
        b1, b2, b_targets = _sides(pairs, chosen, swapped[0], share)
        n1, n2, n_targets = _sides(pairs, shares[i], swapped[1], share)
        targets = None if b_targets is None or n_targets is None else np.concatenate((b_targets, n_targets))
        yield Batch(b1, b2, pairs.clusters[chosen], n1, n2, targets, share, len(shares[i]))


def _sides(
    pairs: PairTokens, which: np.ndarray, swapped: np.ndarray | bool, share: Share
) -> tuple[Tokens, Tokens, np.ndarray | None]:
    """Return the first and second questions of a share of the pairs, and their targets, stacked, if there are any.

    `swapped` (n,) marks the pairs to exchange.
    """
    part = share.of(len(which))
    which, swapped = which[part], np.broadcast_to(swapped, len(which))[part]
    both, i, n = pairs.first.take(which).join(pairs.second.take(which)), np.arange(len(which)), len(which)
    b1, b2 = both.take(np.where(swapped, n + i, i)), both.take(np.where(swapped, i, n + i))
    if pairs.targets is None:
        return b1, b2, None
    i, side = np.tile(which, 2), np.concatenate((swapped, ~swapped)).astype(int)
    return b1, b2, pairs.targets[i, side]
