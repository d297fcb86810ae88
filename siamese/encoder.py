"""The tower in numpy: the same vectors as `siamese.tower`, without loading torch.

Questions are sorted by length and run time-major: at step t only those that
have a word t take part, so nothing is padding.
"""

from collections.abc import Mapping

import numpy as np

from siamese.text import Tokens

ROWS = 1_024  # questions that run together; bounds the memory of a step


def encode(weights: Mapping[str, np.ndarray], tokens: Tokens, *, skip: bool, known: np.ndarray) -> np.ndarray:
    """Encode n questions.

    Args:
        weights: of the tower, by torch's names.
        tokens: n questions.
        skip: whether each word's embedding is added to the LSTM's output.
        known: (n,) bool; a question without a known word gets the zero vector.

    Returns:
        (n, hidden) float32, rows of length 1 or 0.
    """
    hidden = weights["lstm.weight_hh_l0"].shape[1]
    vectors = np.zeros((len(tokens), hidden), np.float32)
    # The words of the call, once each: their vectors, and what they give the gates.
    distinct, ids = np.unique(tokens.ids, return_inverse=True)
    words = np.asarray(weights["embedding.weight"][distinct], np.float32)
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    projected = words @ weights["lstm.weight_ih_l0"].T + bias
    recurrent = np.ascontiguousarray(weights["lstm.weight_hh_l0"].T)
    # sigmoid(x) = (tanh(x / 2) + 1) / 2, so one tanh serves all four gates
    # once the three sigmoid gates are halved; torch's order is i, f, g, o.
    half = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), hidden)
    projected, recurrent = projected * half, recurrent * half

    order = np.argsort(-tokens.lengths, kind="stable")
    order = order[known[order]]
    for first in range(0, len(order), ROWS):
        rows = order[first : first + ROWS]
        starts, lengths = tokens.starts[rows], tokens.lengths[rows]
        state = np.zeros((len(rows), hidden), np.float32)
        cell = np.zeros_like(state)
        total = np.zeros_like(state)
        for t in range(lengths[0]):
            n = np.searchsorted(-lengths, -t)  # the questions with more than t words come first
            word = ids[starts[:n] + t]
            gates = np.tanh(projected[word] + state[:n] @ recurrent)
            i, f, g, o = np.split(gates, 4, axis=1)
            cell[:n] = 0.5 * ((f + 1) * cell[:n] + (i + 1) * g)
            state[:n] = 0.5 * (o + 1) * np.tanh(cell[:n])
            total[:n] += state[:n]
            if skip:
                total[:n] += words[word]
        means = total / lengths[:, None]
        vectors[rows] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return vectors


def mean_embeddings(weights: Mapping[str, np.ndarray], tokens: Tokens, known: np.ndarray) -> np.ndarray:
    """The mean of each question's word vectors; (n, embedding) float32, 0 where no word is known."""
    means = np.zeros((len(tokens), weights["embedding.weight"].shape[1]), np.float32)
    rows = np.flatnonzero(known)
    for first in range(0, len(rows), ROWS):
        part = tokens.take(rows[first : first + ROWS])
        words = weights["embedding.weight"][part.ids]
        means[rows[first : first + ROWS]] = np.add.reduceat(words, part.starts[:-1]) / part.lengths[:, None]
    return means
