"""Encode questions by an LSTM tower without training it: by numpy alone, or by torch if it is loaded.

Questions are sorted by length and run by time: step t takes only those with a word t, so that nothing is padded. Each
distinct word meets the input weights once.
"""

import math
import os
import threading
from collections.abc import Mapping

import numpy as np

from siamese.text.ragged import Tokens

QUESTIONS_AT_A_TIME = 512  # questions that run together, so that their states fit a core's cache
QUESTIONS_WITH_TORCH = 2_048  # the same for torch, which spreads them over cores
ALONE = 2 * QUESTIONS_AT_A_TIME  # fewer questions are not worth a second thread
SUMMED = 64  # time steps summed in float32: the error of a sum of 100,000 would exceed 1e-4

TOGETHER = 2  # least rows of a product
REMEMBERED = 8_192  # words whose projections are kept for the next call, and most words of a call that uses them
# OpenBLAS multiplies matrices of at most this many products without copying them first, which takes longer than the
# product itself if one has a few rows. So the other one comes in PARTS, of a multiple of COLUMNS, and if it has at most
# ROWS: else the order of a sum, and with it the bits of a vector, would depend on the number of questions.
SMALL, PARTS, COLUMNS, ROWS = 1_000_000, 8, 64, 256

ONE, HALF = np.array(1, np.float32), np.array(0.5, np.float32)  # numpy would convert Python's numbers each time

Weights = Mapping[str, np.ndarray]
Projections = tuple[np.ndarray, np.ndarray]  # of words, to the gates; and their doubled embeddings, or no columns


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


class NumpyTower:
    """A tower whose weights are in the form in which numpy runs it: made once for many calls of `encode`.

    sigmoid(x) = (tanh(x / 2) + 1) / 2, so one tanh serves all four gates (here in the order i, f, o, g) once three of
    them are halved. The state is kept doubled, which spares σ(o) its factor ½, and so is a word's embedding if it is
    added to the state. All these factors are powers of two and round nothing.

    Args:
        weights: of the tower, by torch's names.
        skip: whether each word's embedding is added to the LSTM's output.
    """

    def __init__(self, weights: Weights, skip: bool) -> None:
        self.weights, self.skip, self.hidden = dict(weights), skip, dimensions(weights)
        hidden, factors = self.hidden, np.repeat(np.array([0.5, 0.5, 0.5, 1], np.float32), self.hidden)
        gates = np.r_[: 2 * hidden, 3 * hidden : 4 * hidden, 2 * hidden : 3 * hidden]
        bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        self._bias, self._input = bias[gates] * factors, _turned(weights["lstm.weight_ih_l0"][gates], factors)
        self._recurrent = _turned(weights["lstm.weight_hh_l0"][gates], factors / 2)
        number = math.gcd(4 * hidden // COLUMNS, PARTS) if 4 * hidden % COLUMNS == 0 and hidden <= ROWS else 1
        parts = self._recurrent.reshape(hidden, number, -1)
        self._in_parts = np.ascontiguousarray(parts.transpose(1, 0, 2))
        self._lock = threading.Lock()
        self._forget()

    def __reduce__(self) -> tuple[type["NumpyTower"], tuple[Weights, bool]]:
        """Pickle the weights alone, since a lock cannot be pickled."""
        return NumpyTower, (self.weights, self.skip)

    def runs(self, weights: Weights) -> bool:
        """Return whether this tower has the same arrays as weights."""
        mine = self.weights
        return mine.keys() == weights.keys() and all(weights[name] is mine[name] for name in mine)

    def _forget(self) -> None:
        """Begin to remember words anew, in other memory, since another thread may read what there was."""
        self._place = np.full(len(self.weights["embedding.weight"]), -1, np.int32)
        gates, added = self._widths
        # They take no memory until they are written.
        self._words = np.empty((REMEMBERED, gates), np.float32), np.empty((REMEMBERED, added), np.float32)
        self._count = 0

    @property
    def _widths(self) -> tuple[int, int]:
        return 4 * self.hidden, self.weights["embedding.weight"].shape[1] if self.skip else 0

    def _project(self, distinct: np.ndarray) -> Projections:
        """Return what words bring to the gates, and their doubled embeddings if they are added to the state."""
        # BLAS sums the product of one row in another order than that of a row among others, so one row gets company:
        # the vector of a question does not depend on the questions that are encoded with it.
        n = len(distinct)
        rows = np.resize(distinct, max(n, TOGETHER) if n else 0)
        words = np.asarray(self.weights["embedding.weight"][rows], np.float32)
        gates = (words @ self._input)[:n]
        gates += self._bias
        return gates, words[:n, : self._widths[1]] * 2

    def _projected(self, ids: np.ndarray) -> tuple[Projections, np.ndarray]:
        """Return the projections of words, and the row of each id's."""
        if len(ids) > REMEMBERED:
            place = np.zeros(len(self._place), np.int64)
            place[ids] = 1
            distinct = np.flatnonzero(place)
            place[distinct] = np.arange(len(distinct))
            return self._project(distinct), place[ids]
        with self._lock:
            found = self._place[ids]
            if (found < 0).any():
                new = np.unique(ids[found < 0])
                if self._count + len(new) > REMEMBERED:
                    self._forget()
                    new = np.unique(ids)
                rows = np.arange(self._count, self._count + len(new), dtype=np.int32)
                for kept, found in zip(self._words, self._project(new)):
                    kept[rows] = found
                self._place[new], self._count = rows, self._count + len(new)
                found = self._place[ids]
            return self._words, found

    def encode(self, tokens: Tokens, known: np.ndarray) -> np.ndarray:
        """Encode n questions.

        Args:
            tokens: n questions.
            known: (n,) bool; a question without a known word gets the zero vector.

        Returns:
            (n, hidden) float32, rows of length 1 or 0.
        """
        vectors = np.zeros((len(tokens), self.hidden), np.float32)
        words, ids = self._projected(tokens.ids)

        def run(rows: np.ndarray) -> None:
            vectors[rows] = self._run(words, ids, tokens.starts[rows], tokens.lengths[rows])

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

    def _run(self, words: Projections, ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the vectors of questions, the longest first; those of question i begin at ids[starts[i]]."""
        n, hidden, (projected, embedded) = len(starts), self.hidden, words
        running = np.searchsorted(-lengths, -np.arange(lengths[0]))  # questions with more than t words
        ends = np.cumsum(running)
        row = np.arange(ends[-1]) - np.repeat(ends - running, running)
        word_of = ids[starts[row] + np.repeat(np.arange(lengths[0]), running)].astype(np.intp)  # all first words first
        end = 0
        state = np.zeros((max(n, TOGETHER), hidden), np.float32)
        cell, recent = np.zeros((n, hidden), np.float32), np.zeros((n, hidden), np.float32)
        earlier = np.zeros((n if len(running) > SUMMED else 0, hidden))
        # numpy takes two to four times as long for the rows of a wider array, so the gates have one to themselves.
        gates, added = (np.empty((n, width), np.float32) for width in self._widths)
        products = np.empty((len(state), 4 * hidden), np.float32)
        last = 0  # the number of questions for which there are the following views
        for t, n in enumerate(running.tolist()):
            if n != last:
                last, together = n, max(n, TOGETHER)
                all_four, word, s, c, r = gates[:n], added[:n], state[:n], cell[:n], recent[:n]
                three = all_four[:, : 3 * hidden]
                i, f, o, g = (all_four[:, k * hidden : (k + 1) * hidden] for k in range(4))
                before, product, brought = state[:together], products[:together], products[:n]
                recurrent = self._recurrent
                if together * self._in_parts[0].size <= SMALL:
                    recurrent = self._in_parts
                    product = product.reshape(together, len(recurrent), -1).transpose(1, 0, 2)
            begin, end = end, end + n
            projected.take(word_of[begin:end], axis=0, out=all_four, mode="clip")  # else it copies twice
            if t:
                np.matmul(before, recurrent, out=product)
                all_four += brought
            np.tanh(all_four, out=all_four)
            three += ONE
            # c = σ(f) c + σ(i) g, with the factor ½ of both sigmoids applied last, and 2 h = 2 σ(o) tanh(c)
            c *= f
            i *= g
            c += i
            c *= HALF
            np.tanh(c, out=s)
            s *= o
            if t and t % SUMMED == 0:
                earlier[:n] += r
                r[:] = 0
            r += s
            if self.skip:
                embedded.take(word_of[begin:end], axis=0, out=word, mode="clip")
                r += word
        total = earlier + recent if len(earlier) else recent
        total /= 2
        total /= lengths[:, None]
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        return total


def encode(weights: Weights, tokens: Tokens, *, skip: bool, known: np.ndarray) -> np.ndarray:
    """Encode questions once, as `NumpyTower.encode` does."""
    return NumpyTower(weights, skip).encode(tokens, known)


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


def _turned(weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the product of the transposed weight and the factors, in the order of its own rows."""
    return np.ascontiguousarray(weight.T * factors)
