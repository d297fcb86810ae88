"""The tower as the architecture says it: Embedding → LSTM → mean → normalize.

`lstm_tower.Tower` computes the same, several times faster; tests hold it to this one.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class PlainTower(nn.Module):
    """Token ids to unit vectors.

    Args:
        vocabulary: number of token ids.
        embedding: dimension of a word vector.
        hidden: dimension of the LSTM's state and of a question vector.
        skip: add each word's vector to the LSTM's output; this needs embedding = hidden.
    """

    def __init__(self, vocabulary: int, embedding: int = 128, hidden: int = 128, *, skip: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.skip = skip

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode n questions, at least one of them with a token.

        Args:
            ids: (total,) int64, the token ids of all questions, one after the other.
            lengths: (n,) int64, tokens per question.

        Returns:
            (n, hidden) rows of length 1, or 0 for a question without tokens.
        """
        rows = pad_sequence(ids.split(lengths.tolist()), batch_first=True)  # (n, longest)
        real = torch.arange(rows.shape[1], device=ids.device) < lengths[:, None]  # no padding
        words = self.embedding(rows)  # (n, longest, embedding)
        states, _ = self.lstm(words)  # (n, longest, hidden)
        if self.skip:
            states = states + words
        mean = (states * real[:, :, None]).sum(1) / lengths.clamp(min=1)[:, None]
        return nn.functional.normalize(mean, dim=1)
