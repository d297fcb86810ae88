"""Learning from questions without labels: their tokens, the vectors that a teacher wants there, and the batches.

A teacher's vectors are projected to the tower's dimension by the principal directions of the pile, those of several
teachers together. A batch is made of runs of neighbours, so that the loss on neighbourhoods has some to look at.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.config import Config
from siamese.errors import DataError, UserError
from siamese.model.model import SiameseModel
from siamese.pairs.near_misses import near_misses
from siamese.pairs.pairs import Pairs
from siamese.text.ragged import Texts, Tokens
from siamese.text.tokenizer import INSIDE, Tokenizer, count_words
from siamese.towers.lstm_tower import Tower
from siamese.training.batches import Batch, PairTokens, data_generator, number_of_batches
from siamese.training.cache import Report, Vectors, stored
from siamese.training.step import tensors

WORDS = 50_000  # most of a vocabulary, beside pieces
LONGEST = 64  # tokens of a question that are learned from
RUN = 128  # neighbours in a row
LABELLED_RATE = 5.0  # factor of the learning rate of scale and threshold, two numbers that have far to go
EPOCHS = 10  # into which a run is divided for its records, however often it sees the pile
HELD, LEAST = 10_000, 20  # questions held out at most, a tenth of fewer than ten times as many; and at least in all
SAMPLE = 300_000  # questions that the principal directions and the clusters are computed from
QUESTIONS_PER_CLUSTER, MOST_CLUSTERS, ROUNDS = 200, 8_192, 6  # of k-means
MOST_MADE_OF = 250_000  # questions that pairs are made of
EVEN = 0.4  # 1 draws the kinds of near misses as often as they are found, 0 all equally often
AT_A_TIME = 4_096  # rows of a product, to bound its memory


@dataclass(frozen=True)
class Pile:
    """n questions as token ids, and what the tower is to make of them."""

    tokens: Tokens  # n questions
    targets: np.ndarray  # (n, d) float16, rows of length 1
    held: np.ndarray  # numbers of those that are held out
    learned: np.ndarray  # numbers of the others
    clusters: np.ndarray  # (len(learned),) int64; questions of the same number are neighbours
    examples: Texts  # those that are held out
    checksum: str  # of all texts

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the questions that a model keeps, as JSON."""
        return {"questions": len(self.tokens), "sha256": self.checksum}

    def cosine(self, tower: nn.Module, device: torch.device) -> float:
        """Return the mean cosine of the tower's vectors to the targets over the questions that are held out."""
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(self.held), AT_A_TIME):
                part = self.held[start : start + AT_A_TIME]
                found = tower(*tensors(self.tokens.take(part), device))
                total += float((found * torch.from_numpy(self.targets[part]).to(found)).sum())
        return total / len(self.held)


def vocabulary(config: Config, questions: Texts) -> Tokenizer:
    """Learn the tokenizer of a pile: the frequent words, and pieces for the others if the recipe has them."""
    counts = count_words(questions, config.tokens)
    return Tokenizer.of_counts(counts, config.tokens, config.min_count, config.buckets, WORDS)


def fingerprint(questions: Texts) -> str:
    """Return the SHA-256 of questions, in their order."""
    digest = hashlib.sha256(questions.starts.tobytes())
    digest.update(questions.values.data)
    return digest.hexdigest()


def prepare(
    config: Config, questions: Texts, tokenizer: Tokenizer, start_from: SiameseModel | None, progress: Report
) -> tuple[Pile, Tensor | None]:  # fmt: skip
    """Return a pile that is ready for training, and first rows for the words of the vocabulary.

    Args:
        config: the recipe.
        questions: n texts, LEAST or more.
        tokenizer: of the tower.
        start_from: the model to start from. Without a teacher its own vectors are the targets. With one, the targets
            are turned so that they point, as far as a rotation can, where its vectors point.
        progress: called with the number of questions that are encoded, and the number to encode.

    Returns:
        The pile, and (words, config.hidden) float32, the teacher's vectors of the words of the vocabulary, or None if
        the tower starts from a model.

    Raises:
        UserError: a teacher cannot be loaded, or has fewer dimensions than the tower.
    """
    order = _drawn(config, len(questions))
    held = np.sort(order[: held_out(len(questions))])
    learned = np.sort(order[len(held) :])
    sample = np.sort(order[len(held) : len(held) + SAMPLE])
    rows = None
    if config.teacher is None:
        assert start_from is not None
        targets = _own(start_from, questions, progress)
    else:
        teacher = stored(config.teacher, questions, progress)
        towards = None if start_from is None else start_from.encode(questions[int(i)] for i in sample)
        directions = _directions(config, teacher, sample, towards)
        targets = _projected(teacher, directions)
        if start_from is None:
            bare = [word.removeprefix(INSIDE) or word for word in tokenizer.words]
            rows = torch.from_numpy(_projected(stored(config.teacher, bare, progress), directions)).float()
    tokens = _shortened(tokenizer.encode(questions))
    clusters = _clusters(targets, learned, np.random.default_rng(config.seed))
    return Pile(tokens, targets, held, learned, clusters, questions.take(held), fingerprint(questions)), rows


def batches(
    config: Config, pile: Pile, pairs: PairTokens, steps: int, epoch: int, skipped: int
) -> Iterator[Batch]:  # fmt: skip
    """Yield the batches of one of the equal parts of a run, each with labelled pairs beside if there are any.

    Args:
        config: the recipe.
        pile: the questions.
        pairs: n labelled pairs, of which there may be none.
        steps: of the whole run.
        epoch: number of the part.
        skipped: the number of its first batches to leave out.
    """
    start, end = ((epoch + i) * steps // planned_epochs(steps) for i in (0, 1))
    start += skipped
    labelled = _labelled(config, pairs, start)
    size, run, count = sizes(config, len(pile.learned))
    order, known = np.zeros(0, np.int64), -1
    for step in range(start, end):
        number, i = divmod(step, count)  # of the pass over the pile, and of the batch within it
        if number != known:
            order, known = _order(pile.clusters, run, np.random.default_rng((config.seed, number))), number
        rows = pile.learned[order[i * size : (i + 1) * size]]
        yield dataclasses.replace(next(labelled), unlabelled=pile.tokens.take(rows), wanted=pile.targets[rows])


def with_near_misses(
    config: Config, questions: Texts, training: Pairs, kinds: Collection[str] | None = None
) -> Pairs:  # fmt: skip
    """Return the training pairs, followed by as many pairs as can be made of some questions, drawn by the seed.

    Pairs of rare kinds are drawn more often, so that a kind of c pairs has a share that grows as c^EVEN alone. None is
    made of questions that are held out. If `kinds` are given, only these are made.
    """
    learned = _drawn(config, len(questions))[held_out(len(questions)) :]
    made = list(near_misses(questions.take(learned[:MOST_MADE_OF]), config.seed, kinds))
    if not made:
        raise DataError(f"--near-misses: no pair could be made of the {len(questions):,} questions, which are to be "
                        "English")  # fmt: skip
    counts = Counter(pair.kind for pair in made)
    share = np.array([counts[pair.kind] ** (EVEN - 1) for pair in made])
    chosen = np.random.default_rng(config.seed).choice(len(made), len(made), p=share / share.sum())
    first, second, labels, _ = zip(*made)
    more = Pairs.of(first, second, map(int, labels)).take(chosen)
    return Pairs(training.question1.join(more.question1), training.question2.join(more.question2),
                 np.concatenate((training.labels, more.labels)))  # fmt: skip


def planned_steps(config: Config, questions: int) -> int:
    """Return the number of steps of a run on so many questions."""
    return max(1, round(config.question_steps * 1e6 / sizes(config, questions - held_out(questions))[0]))


def planned_epochs(steps: int) -> int:
    """Return the number of parts of a run, each with a record."""
    return min(EPOCHS, steps)


def held_out(questions: int) -> int:
    """Return how many of so many questions are held out."""
    return min(HELD, questions // 10)


def sizes(config: Config, questions: int) -> tuple[int, int, int]:
    """Return the questions of a batch, those of a run, and the batches of an epoch, given the learned questions."""
    run = min(RUN, config.unlabelled_batch, questions)
    whole = questions // run * run
    size = min(config.unlabelled_batch, whole)
    return size, run, whole // size


def _drawn(config: Config, questions: int) -> np.ndarray:
    """Return the numbers of the questions in the order of the seed, of which the first are held out."""
    return np.random.default_rng(config.seed).permutation(questions)


def _order(clusters: np.ndarray, run: int, random: np.random.Generator) -> np.ndarray:
    """Return an order of the learned questions in which neighbours stand together in runs, without the last few."""
    order = np.argsort(clusters + random.random(len(clusters)), kind="stable")
    runs = np.roll(order, random.integers(run))[: len(order) // run * run].reshape(-1, run)
    return runs[random.permutation(len(runs))].reshape(-1)


def _labelled(config: Config, pairs: PairTokens, start: int) -> Iterator[Batch]:
    """Yield batches of labelled pairs, one epoch after the other, or empty ones."""
    count = number_of_batches(int((pairs.labels == 1).sum()), config.batch_size, config.drop_last)
    none = Tokens.of([])
    while not count:
        yield Batch(none, none, np.zeros(0, np.int64), none, none)
    epoch, first = divmod(start, count)
    while True:
        yield from data_generator(pairs, config.batch_size, seed=config.seed, epoch=epoch, swap=config.swap,
                                  drop_last=config.drop_last, negatives=True, start=first)  # fmt: skip
        epoch, first = epoch + 1, 0


def kept(start_from: SiameseModel, training: Pairs, progress: Report) -> np.ndarray:
    """Return targets of labelled pairs, (n, 2, d): a model's own vectors of the first questions, zeros for the others.

    So the second question of a near miss moves away from the first, which stays.
    """
    own = _own(start_from, training.question1, progress)
    return np.stack((own, np.zeros_like(own)), axis=1)


def _own(model: SiameseModel, questions: Texts, progress: Report) -> np.ndarray:
    """Return a model's vectors of n questions, (n, d) float16."""
    targets = np.empty((len(questions), model.dimensions), np.float16)
    for start in range(0, len(questions), AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        targets[part] = model.encode([questions[i] for i in range(*part.indices(len(questions)))])
        progress(min(part.stop, len(questions)), len(questions))
    return targets


def _directions(config: Config, teacher: Vectors, sample: np.ndarray, towards: np.ndarray | None) -> Tensor:
    """Return (D, config.hidden): the principal directions of the teacher's vectors, not centred, or a rotation of them.

    Args:
        config: the recipe.
        teacher: the vectors, of dimension D.
        sample: (k,) numbers of the questions to compute them from.
        towards: (k, config.hidden) vectors of these questions, to which the rotation brings them closest (orthogonal
            Procrustes: Schönemann 1966); None: no rotation.
    """
    parts = np.array_split(sample, -(-len(sample) // AT_A_TIME))
    taken = (torch.from_numpy(teacher.take(part)).double() for part in parts)
    values, vectors = torch.linalg.eigh(sum(x.T @ x for x in taken))
    if len(values) < config.hidden:
        raise UserError(f"--teacher {config.teacher}: vectors of {len(values)} dimensions, fewer than the tower's "
                        f"{config.hidden}; give --embedding {len(values)} --hidden {len(values)}")  # fmt: skip
    directions = vectors[:, -config.hidden :].flip(1)
    if towards is not None:
        found = np.concatenate([_projected(teacher, directions.float(), part) for part in parts])
        u, _, vh = torch.linalg.svd(torch.from_numpy(found).double().T @ torch.from_numpy(towards).double())
        directions = directions @ (u @ vh)
    return directions.float()


def _projected(teacher: Vectors, directions: Tensor, which: np.ndarray | None = None) -> np.ndarray:
    """Return vectors along the directions, (n, d) float16, rows of length 1."""
    which = np.arange(len(teacher)) if which is None else which
    targets = np.empty((len(which), directions.shape[1]), np.float16)
    for start in range(0, len(which), AT_A_TIME):
        part = torch.from_numpy(teacher.take(which[start : start + AT_A_TIME]))
        targets[start : start + AT_A_TIME] = nn.functional.normalize(part @ directions, dim=1)
    return targets


def _clusters(targets: np.ndarray, learned: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the cluster of each learned question, by k-means of the cosine."""
    sample = random.permutation(learned)[:SAMPLE]
    count = max(1, min(MOST_CLUSTERS, len(learned) // QUESTIONS_PER_CLUSTER))
    centres = torch.from_numpy(targets[sample[:count]]).float()

    def nearest(which: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the vectors of some questions at a time, and the numbers of their centres."""
        for start in range(0, len(which), AT_A_TIME):
            part = torch.from_numpy(targets[which[start : start + AT_A_TIME]]).float()
            yield part, (part @ centres.T).argmax(1)

    for _ in range(ROUNDS):
        sums = 1e-6 * centres  # where a cluster without a question stays
        for part, numbers in nearest(sample):
            sums.index_add_(0, numbers, part)
        centres = nn.functional.normalize(sums, dim=1)
    return torch.cat([numbers for _, numbers in nearest(learned)]).numpy()


def _shortened(tokens: Tokens) -> Tokens:
    """Return the first LONGEST tokens of each question."""
    lengths = tokens.lengths
    kept = np.arange(len(tokens.ids)) - np.repeat(tokens.starts[:-1], lengths) < LONGEST
    return Tokens(tokens.ids[kept], np.concatenate(([0], np.cumsum(np.minimum(lengths, LONGEST)))))


def check(questions: Texts, path: str) -> None:
    """Raise a DataError if there are too few questions to learn from and to hold out."""
    if len(questions) < LEAST:
        raise DataError(f"{path}: {len(questions)} distinct questions; give {LEAST} or more")


@torch.no_grad()
def start_words(tower: Tower, rows: Tensor, seed: int) -> None:
    """Set the first embeddings: the teacher's vectors for the words, small random ones for what is no word."""
    weight = tower.embedding.weight
    others = 0.02 * torch.randn(tower.first_word, weight.shape[1], generator=torch.Generator().manual_seed(seed))
    weight.copy_(torch.cat((others, rows)))
