"""A sentence encoder as a teacher: its vectors of the training questions, projected to the tower's dimension.

The encoder knows the language from other data. A tower that learns its vectors also learns words and phrases that the
labelled pairs do not show. The encoder's vectors have more dimensions, and were trained for similarity of every kind.
A linear map of them, trained in seconds on the labelled pairs with the recipe's own losses, corrects both.

Source: distillation is Hinton, Vinyals, Dean 2015; of sentence vectors, Reimers, Gurevych 2020.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from siamese.config import Config
from siamese.system.files import replacing
from siamese.text.cleaning import clean
from siamese.text.ragged import Tokens
from siamese.towers.encoders import load_encoder
from siamese.training.batches import PairTokens, Prepared, data_generator
from siamese.training.objective import Objective

CACHE = Path("models/teachers")  # of vectors, which take minutes to compute
QUESTIONS_PER_FILE = 16_384  # in the cache; after a stop, encoding continues after the last file
EPOCHS, LEARNING_RATE = 4, 1e-3  # of the linear map; on the validation pairs 5 epochs are no better, 3 at 0.0003 worse


def vectors(
    name: str, questions: Sequence[str], progress: Callable[[int, int], None], cache: Path = CACHE
) -> np.ndarray:
    """Return an encoder's vectors of n questions, (n, d) float16; compute and cache the missing ones."""
    folder = cache / re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    hashes = np.array([_hash(question) for question in questions], np.uint64)
    known, found = _cached(folder)
    # By sorting: the table of numpy 2.0 overflows at 2^63 and above.
    missing = np.flatnonzero(~np.isin(hashes, known, kind="sort"))
    if len(missing):
        encode = load_encoder(name)
        for start in range(0, len(missing), QUESTIONS_PER_FILE):
            part = missing[start : start + QUESTIONS_PER_FILE]
            encoded = encode([questions[i] for i in part]).astype(np.float16)
            # Named by its content, so that two runs at a time do not overwrite each other's files.
            path = folder / f"{hashlib.blake2b(hashes[part].tobytes(), digest_size=8).hexdigest()}.npz"
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, hashes=hashes[part], vectors=encoded)
            progress(min(start + QUESTIONS_PER_FILE, len(missing)), len(missing))
        known, found = _cached(folder)
    order = np.argsort(known, kind="stable")
    return found[order[np.searchsorted(known, hashes, sorter=order)]]


def _cached(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes (k,) and the vectors (k, d) of the questions in a folder of the cache."""
    hashes, found = [np.zeros(0, np.uint64)], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as part:
            hashes.append(part["hashes"])
            found.append(part["vectors"])
    return np.concatenate(hashes), np.concatenate(found) if found else np.zeros((0, 0), np.float16)


def _hash(question: str) -> int:
    return int.from_bytes(hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def project(encoded: np.ndarray, numbers: np.ndarray, pairs: PairTokens, config: Config) -> np.ndarray:
    """Project an encoder's vectors to the tower's dimension with a linear map trained on the labelled pairs.

    Args:
        encoded: (q, d) the encoder's vectors of the distinct questions.
        numbers: (n, 2) rows of `encoded` for the two questions of each pair.
        pairs: n pairs, of which labels and clusters are used.
        config: the recipe, whose losses train the map.

    Returns:
        (q, config.hidden) float32, rows of length 1.
    """
    torch.manual_seed(config.seed)
    table, linear = torch.from_numpy(encoded).float(), nn.Linear(encoded.shape[1], config.hidden, bias=False)
    objective = Objective(config)

    def projected(numbers: Tensor) -> Tensor:
        return nn.functional.normalize(linear(table[numbers]), dim=1)

    # A question is one token, its number, so that the pairs form batches as those of words do.
    first, second = (Tokens(column.astype(np.int32), np.arange(len(column) + 1)) for column in numbers.T)
    numbered = PairTokens(first, second, pairs.labels, pairs.clusters)
    optimizer = torch.optim.Adam([*linear.parameters(), *objective.parameters()], lr=LEARNING_RATE, fused=True)
    batches = [
        batch
        for epoch in range(EPOCHS)
        for batch in data_generator(numbered, config.batch_size, seed=config.seed, epoch=epoch, negatives=True)
    ]
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / len(batches))
        optimizer.zero_grad()
        ids = np.concatenate([side.ids for side in (batch.b1, batch.b2, batch.n1, batch.n2)])
        objective(batch, projected(torch.from_numpy(ids).long())).backward()
        optimizer.step()
    with torch.inference_mode():
        return torch.cat([projected(part) for part in torch.arange(len(encoded)).split(8_192)]).numpy()


def targets(config: Config, prepared: Prepared, progress: Callable[[int, int], None]) -> np.ndarray:
    """Return the teacher's target vectors of the n training pairs, (n, 2, config.hidden) float16.

    `progress` is called with the number of encoded questions and the number to encode.
    """
    assert config.teacher is not None
    pairs = prepared.training
    sides = [list(map(clean, side)) for side in (pairs.question1, pairs.question2)]
    distinct = sorted({*sides[0], *sides[1]})
    number = {question: i for i, question in enumerate(distinct)}
    numbers = np.array([[number[q1], number[q2]] for q1, q2 in zip(*sides)])
    projected = project(vectors(config.teacher, distinct, progress), numbers, prepared.pairs, config)
    return projected.astype(np.float16)[numbers]
