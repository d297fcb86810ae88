"""A tower of another package, called like our own: its vectors are checked and normalized."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.errors import UserError
from siamese.text.ragged import Tokens
from siamese.towers.forks import torch_runs

QUESTIONS_AT_A_TIME = 512  # questions of similar lengths that are encoded together


class PluginTower(nn.Module):
    """Token ids to unit vectors, called like `Tower`.

    Args:
        kind: the class, a `siamese.plugins.Tower`.
        vocabulary, embedding, hidden: arguments of its constructor.
        first_word: as in `Tower`.

    Raises:
        UserError: it cannot be made, has no weights, or some that are not float32.
    """

    def __init__(self, kind: type[nn.Module], vocabulary: int, embedding: int, hidden: int, first_word: int) -> None:
        super().__init__()
        self.kind, self.hidden, self.first_word = kind, hidden, first_word
        with _telling(kind, "cannot be made"):
            self.inner = kind(vocabulary, embedding, hidden)
        if not any(True for _ in self.inner.parameters()):
            raise UserError(f"the tower {kind.__name__}: has no weights to train")
        for name, weight in self.inner.state_dict().items():
            if weight.dtype != torch.float32:
                raise UserError(f"the tower {kind.__name__}: {name} is {weight.dtype}; use float32")

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode n questions.

        Args:
            ids: (total,) int64, the token ids of all questions, one after the other.
            lengths: (n,) int64, tokens per question; 0 is allowed.

        Returns:
            (n, hidden) rows of length 1, or 0 if no word is known.

        Raises:
            UserError: the tower fails, or its result has another shape or type.
        """
        torch_runs()
        if not len(lengths):  # other processes wait for the gradients, which are 0 here
            return self(ids, lengths.new_zeros(1))[:0]
        with _telling(self.kind, "fails"):
            vectors = self.inner(ids, lengths)
        shape = tuple(getattr(vectors, "shape", ()))
        if shape != (len(lengths), self.hidden) or vectors.dtype != torch.float32:
            what = f"{getattr(vectors, 'dtype', type(vectors).__name__)} of shape {shape}"
            raise UserError(f"the tower {self.kind.__name__}: returned {what}; "
                            f"expected torch.float32 of shape {(len(lengths), self.hidden)}")  # fmt: skip
        row = torch.repeat_interleave(lengths)
        known = torch.zeros_like(lengths).index_add_(0, row, (ids >= self.first_word).to(lengths.dtype))
        return nn.functional.normalize(vectors * (known > 0)[:, None], dim=1)


def encode(tower: PluginTower, tokens: Tokens) -> np.ndarray:
    """Return the vectors of n questions, (n, hidden) float32, rows of length 1 or 0."""
    vectors = np.zeros((len(tokens), tower.hidden), np.float32)
    order = np.argsort(tokens.lengths, kind="stable")
    with torch.inference_mode():
        for rows in np.split(order, range(QUESTIONS_AT_A_TIME, len(order), QUESTIONS_AT_A_TIME)):
            part = tokens.take(rows)
            vectors[rows] = tower(torch.from_numpy(part.ids).long(), torch.from_numpy(part.lengths)).numpy()
    return vectors


def of_weights(
    kind: type[nn.Module], sizes: tuple[int, int, int], first_word: int, weights: Mapping[str, np.ndarray]
) -> PluginTower:
    """Return a tower with the given weights, for `encode`: without dropout and the like.

    Args:
        kind: the class.
        sizes: its arguments: vocabulary, embedding, hidden.
        first_word: as in `PluginTower`.
        weights: those of `PluginTower.state_dict`.
    """
    with torch.random.fork_rng(devices=[]):  # a training that goes on has the random numbers it would have had
        tower = PluginTower(kind, *sizes, first_word)
    tower.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in weights.items()})
    return tower.eval()


def shapes(kind: type[nn.Module], sizes: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, without allocating any; `kind` and `sizes` as in `of_weights`."""
    with torch.device("meta"):
        tower = PluginTower(kind, *sizes, 0)
    return {name: tuple(weight.shape) for name, weight in tower.state_dict().items()}


@contextmanager
def _telling(kind: type[Any], what: str) -> Iterator[None]:
    """Turn an error of the code of others into a user error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the tower {kind.__name__}: {what}: {type(error).__name__}: {error}") from error
