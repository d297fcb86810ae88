"""Encode questions by an LSTM tower without training it: by numpy alone, or by torch if it is loaded.

Questions are sorted by length and run by time: step t takes only those with a word t, so that nothing is padded. Each
distinct word meets the input weights once.
"""

import os
from collections.abc import Mapping

import numpy as np

from siamese.text.ragged import Tokens

QUESTIONS_AT_A_TIME = 512  # questions that run together, so that their states fit a core's cache
QUESTIONS_WITH_TORCH = 2_048  # the same for torch, which spreads them over cores
ALONE = 2 * QUESTIONS_AT_A_TIME  # fewer questions are not worth a second thread
SUMMED = 64  # time steps summed in float32: the error of a sum of 100,000 would exceed 1e-4

TOGETHER = 2  # least rows of a product

Weights = Mapping[str, np.ndarray]


def shapes(ids: int, embedding: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a tower for a number of token ids, by torch's names."""
    return {
        "embedding.weight": (ids, embedding),
        "lstm.weight_ih_l0": (4 * hidden, embedding),
        "lstm.weight_hh_l0": (4 * hidden, hidden),
        "lstm.bias_ih_l0": (4 * hidden,),
        "lstm.bias_hh_l0": (4 * hidden,),
    }


def dimensions(weights: Weights) -> int:
    """Return the dimension of a question vector."""
    return weights["lstm.weight_hh_l0"].shape[1]


def encode(weights: Weights, tokens: Tokens, *, skip: bool, known: np.ndarray) -> np.ndarray:
    """Encode n questions by numpy.

    Args:
        weights: of the tower, by torch's names.
        tokens: n questions.
        skip: whether each word's embedding is added to the LSTM's output.
        known: (n,) bool; a question without a known word gets the zero vector.

    Returns:
        (n, hidden) float32, rows of length 1 or 0.
    """
    hidden = dimensions(weights)
    vectors = np.zeros((len(tokens), hidden), np.float32)
    table = weights["embedding.weight"]
    if len(tokens.ids) * 8 < len(table):
        distinct, ids = np.unique(tokens.ids, return_inverse=True)
    else:  # by a table, which is faster than sorting
        place = np.zeros(len(table), np.int64)
        place[tokens.ids] = 1
        distinct = np.flatnonzero(place)
        place[distinct] = np.arange(len(distinct))
        ids = place[tokens.ids]
    # BLAS sums the product of one row in another order than that of a row among others, so one row gets company: the
    # vector of a question does not depend on the questions that are encoded with it.
    distinct = np.resize(distinct, max(len(distinct), TOGETHER)) if len(distinct) else distinct
    words = np.asarray(table[distinct], np.float32)
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    # sigmoid(x) = (tanh(x / 2) + 1) / 2, so one tanh serves all four gates (i, f, g, o) once three of them are halved.
    half = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), hidden)
    projected = (words @ weights["lstm.weight_ih_l0"].T + bias) * half
    recurrent = np.ascontiguousarray(weights["lstm.weight_hh_l0"].T * half)

    def run(rows: np.ndarray) -> None:
        starts, lengths = tokens.starts[rows], tokens.lengths[rows]
        running = np.searchsorted(-lengths, -np.arange(lengths[0]))  # questions with more than t words
        state = np.zeros((max(len(rows), TOGETHER), hidden), np.float32)
        cell, recent = (np.zeros((len(rows), hidden), np.float32) for _ in range(2))
        earlier = np.zeros((len(rows) if len(running) > SUMMED else 0, hidden))
        for t, n in enumerate(running):
            word = ids[starts[:n] + t]
            gates = projected[word]
            if t:
                gates += (state[: max(n, TOGETHER)] @ recurrent)[:n]
            np.tanh(gates, out=gates)
            i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
            # c = σ(f) c + σ(i) g and h = σ(o) tanh(c), with the factor ½ of each sigmoid applied last
            f += 1
            i += 1
            o += 1
            cell[:n] *= f
            i *= g
            cell[:n] += i
            cell[:n] *= 0.5
            np.tanh(cell[:n], out=state[:n])
            state[:n] *= o
            state[:n] *= 0.5
            if t and t % SUMMED == 0:
                earlier[:n] += recent[:n]
                recent[:n] = 0
            recent[:n] += state[:n]
            if skip:
                recent[:n] += words[word]
        total = earlier + recent if len(earlier) else recent
        total /= lengths[:, None]
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        vectors[rows] = total

    parts = _by_length(tokens, known, QUESTIONS_AT_A_TIME)
    if np.count_nonzero(known) < ALONE:
        for part in parts:
            run(part)
    else:
        from concurrent.futures import ThreadPoolExecutor

        from threadpoolctl import threadpool_limits

        # One thread per core, with its own questions, is faster than sharing each small product among cores.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as team:
            list(team.map(run, parts))
    return vectors


def encode_torch(weights: Weights, tokens: Tokens, *, skip: bool, known: np.ndarray) -> np.ndarray:
    """Do the same by torch, which is faster but takes 1.5 s to load."""
    import torch

    from siamese.towers.lstm import lstm_mean

    tensors = {name: torch.from_numpy(np.ascontiguousarray(weight, np.float32)) for name, weight in weights.items()}
    bias = tensors["lstm.bias_ih_l0"] + tensors["lstm.bias_hh_l0"]
    w_ih, w_hh = tensors["lstm.weight_ih_l0"], tensors["lstm.weight_hh_l0"]
    vectors = np.zeros((len(tokens), dimensions(weights)), np.float32)
    with torch.inference_mode():
        for rows in _by_length(tokens, known, QUESTIONS_WITH_TORCH):
            part = tokens.take(rows)
            ids, lengths = torch.from_numpy(part.ids).long(), torch.from_numpy(part.lengths)
            means = lstm_mean(tensors["embedding.weight"], w_ih, w_hh, bias, ids, lengths, skip)
            vectors[rows] = torch.nn.functional.normalize(means, dim=1).numpy()
    return vectors


def mean_embeddings(table: np.ndarray, tokens: Tokens, known: np.ndarray) -> np.ndarray:
    """Return the mean of each question's rows of the table, (n, embedding) float32; 0 if no word is known."""
    means = np.zeros((len(tokens), table.shape[1]), np.float32)
    for rows in _by_length(tokens, known, QUESTIONS_AT_A_TIME):
        part = tokens.take(rows)
        means[rows] = np.add.reduceat(table[part.ids], part.starts[:-1]) / part.lengths[:, None]
    return means


def _by_length(tokens: Tokens, known: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the numbers of the known questions, the longest first, in parts of `count`."""
    order = np.argsort(-tokens.lengths, kind="stable")
    order = order[known[order]]
    return [order[first : first + count] for first in range(0, len(order), count)]
