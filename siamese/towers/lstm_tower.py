"""The tower that both questions of a pair share: Embedding → LSTM → mean → normalize."""

import torch
from torch import Tensor, nn

from siamese.towers.lstm import lstm_mean
from siamese.towers.plain import PlainTower

QUESTIONS_AT_A_TIME = 128  # questions that run through nn.LSTM together; sorted by length, so that little is padding


class Tower(PlainTower):
    """Token ids to unit vectors: the plain tower, made fast.

    Args:
        vocabulary: number of token ids.
        embedding: dimension of a word vector.
        hidden: dimension of the LSTM's state and of a question vector.
        skip: add each word's embedding to the LSTM's output before the mean, which keeps what a bag of words knows.
            This needs embedding = hidden.
        first_word: lower ids are padding and unknown words; a question of such ids alone gets the zero vector. 0
            switches that off.
        initial: initial weights: "torch", "trax" or "keras".
        products: dtype of the LSTM's matrix products on a CPU; None: that of the weights.
        plain: compute the vectors as `PlainTower` does, to see that nothing but the speed changes.
    """

    def __init__(
        self, vocabulary: int, embedding: int = 128, hidden: int = 128, *, skip: bool = True, first_word: int = 2,
        initial: str = "torch", products: torch.dtype | None = None, plain: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(vocabulary, embedding, hidden, skip=skip)
        self.first_word = first_word
        self.products = products
        self.plain = plain
        {"torch": self._start_torch, "trax": self._start_trax, "keras": self._start_keras}[initial]()

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode n questions.

        Args:
            ids: (total,) int64, the token ids of all questions, one after the other.
            lengths: (n,) int64, tokens per question; 0 is allowed.

        Returns:
            (n, hidden) rows of length 1, or 0 if no word is known.
        """
        if not len(lengths):  # other processes wait for the gradients, which are 0 here
            return self(ids, lengths.new_zeros(1))[:0]
        if self.plain and len(ids):
            means = super().forward(ids, lengths)
        else:
            means = self._means_padded(ids, lengths) if ids.is_cuda else self._means(ids, lengths)
        row, in_vocabulary = torch.repeat_interleave(lengths), (ids >= self.first_word).to(lengths.dtype)
        known = torch.zeros_like(lengths).index_add_(0, row, in_vocabulary)
        return nn.functional.normalize(means * (known > 0)[:, None], dim=1)

    def _means(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the mean of the LSTM's outputs over each question's tokens, (n, hidden), the fast way on a CPU."""
        w_ih, w_hh, b_ih, b_hh = self.lstm.parameters()
        return lstm_mean(self.embedding.weight, w_ih, w_hh, b_ih + b_hh, ids, lengths, self.skip, self.products)

    def _means_padded(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the same by nn.LSTM: the reference, and the way on a GPU."""
        starts = lengths.cumsum(0) - lengths
        order = lengths.argsort(descending=True, stable=True)
        parts = []
        for rows in order.split(QUESTIONS_AT_A_TIME):
            n = lengths[rows][:, None]
            steps = torch.arange(max(1, int(n.max())), device=ids.device)
            positions = (starts[rows][:, None] + steps).clamp(max=max(0, len(ids) - 1))
            words = self.embedding(ids[positions] if len(ids) else positions)  # (rows, longest, embedding)
            states, _ = self.lstm(words)  # (rows, longest, hidden)
            if self.skip:
                states = states + words
            parts.append((states * (steps < n)[:, :, None]).sum(1) / n.clamp(min=1))
        means = torch.cat(parts)
        return means.new_empty(means.shape).index_copy(0, order, means)

    def _start_torch(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.1)

    def _start_trax(self) -> None:
        # Trax joins input and state into one kernel of (embedding + hidden, 4 hidden), and adds its forget bias of 1 to
        # all four gates.
        for name, weight in self.lstm.named_parameters():
            if "weight" in name:
                fan_in = self.lstm.input_size + self.lstm.hidden_size
                limit = (6 / (fan_in + 4 * self.lstm.hidden_size)) ** 0.5
                nn.init.uniform_(weight, -limit, limit)
            else:
                nn.init.constant_(weight, 1.0 if "ih" in name else 0.0)
        limit = (3 / self.embedding.embedding_dim) ** 0.5
        nn.init.uniform_(self.embedding.weight, -limit, limit)

    def _start_keras(self) -> None:
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        weights = dict(self.lstm.named_parameters())
        nn.init.xavier_uniform_(weights["weight_ih_l0"])
        nn.init.orthogonal_(weights["weight_hh_l0"])
        nn.init.zeros_(weights["bias_ih_l0"])
        nn.init.zeros_(weights["bias_hh_l0"])
        hidden = self.lstm.hidden_size
        nn.init.ones_(weights["bias_ih_l0"].data[hidden : 2 * hidden])  # torch's gates: input, forget, cell, output
