"""A sentence encoder as a teacher: its vectors of the training questions, projected to the tower's dimension.

The encoder knows the language from other data. A tower that learns its vectors also learns words and phrases that the
labelled pairs do not show. The encoder's vectors have more dimensions, and were trained for similarity of every kind.
A linear map of them, trained in seconds on the labelled pairs with the recipe's own losses, corrects both.

Source: distillation is Hinton, Vinyals, Dean 2015; of sentence vectors, Reimers, Gurevych 2020.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from siamese.config import Config
from siamese.text.cleaning import clean
from siamese.text.ragged import Tokens
from siamese.training.batches import PairTokens, Prepared, data_generator
from siamese.training.cache import vectors
from siamese.training.objective import Objective
from siamese.training.optimizers import Adam

EPOCHS, LEARNING_RATE = 4, 1e-3  # of the linear map; on the validation pairs 5 epochs are no better, 3 at 0.0003 worse


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
    optimizer = Adam([*linear.parameters(), *objective.parameters()], lr=LEARNING_RATE, fused=True)
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
