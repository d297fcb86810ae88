import torch
from torch import nn


class MeanMargin(nn.Module):
    """Keep the mean negative of the row a margin below each pair of duplicates."""

    settings = {"margin": "margin"}  # the argument `margin` is the recipe's, --margin

    def __init__(self, margin=0.25):
        super().__init__()
        self.margin = margin

    def forward(self, v1, v2, same):  # (B, d) twice; (B, B) bool or None: the known duplicates off the diagonal
        s = v1 @ v2.T
        d = s.diagonal()
        known = torch.eye(len(s), dtype=torch.bool) if same is None else same | torch.eye(len(s), dtype=torch.bool)
        mean = s.masked_fill(known, 0).sum(1) / (~known).sum(1).clamp(min=1)
        return (mean - d + self.margin).clamp(min=0).mean()


class Bag(nn.Module):
    """A linear map of the mean word vector."""

    def __init__(self, vocabulary, embedding, hidden):
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, embedding)
        self.map = nn.Linear(embedding, hidden)

    def forward(self, ids, lengths):  # (total,) token ids of all n questions, (n,) their lengths; returns (n, hidden)
        return self.map(self.words(ids, lengths.cumsum(0) - lengths))
