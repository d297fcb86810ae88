"""The mean of an LSTM's outputs over questions of any length, without padding, fast on CPUs.

A batch is `ids`, all its tokens one question after another, and `lengths`. With σ the logistic function, an LSTM
(Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000) reads the word vectors x_t (E)
of one question:

    a   = W_ih x_t + W_hh h_{t-1} + b        (4H)   in torch's order i, f, g, o
    i, f, o = σ(a_i), σ(a_f), σ(a_o)         (H)    g = tanh(a_g)
    c_t = f c_{t-1} + i g                    (H)    h_t = o tanh(c_t)
    mean = 1/T Σ_t h_t                       (H)    with `skip`: 1/T Σ_t (x_t + h_t)

Backwards from m = ∂L/∂mean / T, in falling t, starting from d = m and e = 0:

    e  += d o (1 - tanh²c_t)                        d = ∂L/∂h_t,  e = ∂L/∂c_t
    ∂a_o = d tanh(c_t) o(1-o)                       ∂a_i = e g i(1-i)
    ∂a_f = e c_{t-1} f(1-f)                         ∂a_g = e i (1-g²)
    e  <- e f                                       d <- m + W_hhᵀ ∂a

    ∂W_hh = Σ ∂a h_{t-1}ᵀ        ∂W_ih = Σ ∂a x_tᵀ        ∂b = Σ ∂a        ∂x_t = W_ihᵀ ∂a

What makes it fast: questions are sorted by length and packed by time, so step t is one product over the n_t questions
that still run, and nothing is padded. W_ih meets each distinct word of the batch once: P = X W_ihᵀ + b (distinct, 4H)
is gathered forwards; backwards, the ∂a of a word's tokens are summed before they meet W_ih. ∂W_hh is computed after the
loop, over long runs of tokens. Products go to oneDNN, on some CPUs twice as fast as the BLAS behind `torch.mm`. tanh(x)
= 2σ(2x) - 1, because torch's vectorised σ is several times faster than its tanh; the 2 of g is folded into the weights,
so that one σ serves all four gates. Each core takes its own questions in a thread with serial operators: at these sizes
that is faster than sharing every operator among cores, the more so on a busy machine.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siamese.towers.forks import torch_runs

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ROW_MULTIPLE = 32  # n_t is rounded up to this in products, since oneDNN compiles a kernel for each new shape
SPARE = 128  # rows of zeros after each thread's tokens, for such rounding
RUN = 1024  # tokens in one product of ∂W_hh
STEP = 25  # cost of a time step besides its rows, in tokens
ALONE = 1024  # a batch with fewer tokens than this is not worth a second thread
SUMMED = 64  # time steps summed in weight's dtype: the error of a float32 sum of 100,000 would exceed 1e-4

_linear: Any = torch.ops.mkldnn._linear_pointwise.default if ONEDNN else None  # x wᵀ
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (d, y) -> d y(1-y)
_tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (d, y) -> d (1-y²)
_teams: dict[int, ThreadPoolExecutor] = {}

Part = tuple[int, slice, list[int]]  # the first row of a thread, its tokens, and n_t of each step


def lstm_mean(
    weight: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, ids: Tensor, lengths: Tensor, skip: bool = False,
    products: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean LSTM output of each question, differentiable once in the four weights.

    Args:
        weight, w_ih, w_hh, bias: (V, E), (4H, E), (4H, H), (4H,), as in nn.Embedding and nn.LSTM (bias is the sum of
            nn.LSTM's two), on the CPU, of one float dtype.
        ids: (total,) int64 in [0, V), the words of all questions.
        lengths: (n,) int64, words per question; the mean of an empty one is 0.
        skip: add the mean word vector to the mean output; this needs E = H.
        products: dtype of the matrix products, such as torch.bfloat16; state and sums keep that of `weight`.

    Returns:
        (n, H), in the order of `lengths`. The same input and number of threads give the same bits.

    Raises:
        ValueError: ids, lengths or sizes do not fit.
    """
    torch_runs()
    V, E = weight.shape
    if skip and w_hh.shape[1] != E:
        raise ValueError(f"skip adds word vectors to LSTM outputs: E = {E} must equal H = {w_hh.shape[1]}")
    if (len(lengths) and int(lengths.min()) < 0) or len(ids) != int(lengths.sum()):
        raise ValueError(f"lengths must be >= 0 and sum to the number of ids: {int(lengths.sum())} != {len(ids)}")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < V:
        raise ValueError(f"ids must be in [0, {V}): found {int(ids.min())} to {int(ids.max())}")
    if not len(lengths):
        return weight.new_zeros(0, w_hh.shape[1])
    return _LSTMMean.apply(weight, w_ih, w_hh, bias, ids, lengths, skip, products or weight.dtype)


class _LSTMMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, ids: Tensor, lengths: Tensor, skip: bool,
        products: torch.dtype,
    ) -> Tensor:  # fmt: skip
        H, new = w_hh.shape[1], weight.new_empty
        threads = torch.get_num_threads() if _onednn(products) and len(ids) >= ALONE else 1
        order, sorted_lengths, parts, words, word, row = _pack(ids, lengths, len(weight), threads)

        twice = weight.new_ones(4 * H, 1)
        twice[2 * H : 3 * H] = 2  # tanh(x) = 2σ(2x) - 1
        X = weight.index_select(0, functional.pad(words, (0, -len(words) % 64 or 64)))  # (distinct + spare, E)
        P = _times(X, w_ih * twice, products).to(weight.dtype).add_(bias * twice[:, 0])
        A = P.index_select(0, word)  # (tokens, 4H), becomes the gates
        W = (w_hh * twice).to(products)
        C, tanh_C, previous_H = new(len(word), H), new(len(word), H), new(len(word), H)
        for part in parts:
            previous_H[part[1].stop : part[1].stop + SPARE] = 0
        minus_one, total = weight.new_tensor(-1.0), weight.new_zeros(len(lengths), H)
        earlier = total.new_zeros(total.shape if sorted_lengths[0] > SUMMED else 0, dtype=torch.float64)

        def run(first: int, tokens: slice, counts: list[int]) -> None:
            i, f, g, o = (_steps(gate, tokens, counts) for gate in A.view(-1, 4, H).unbind(1))
            a, c, tanh_c, previous_h = (_steps(x, tokens, counts) for x in (A, C, tanh_C, previous_H))
            at = tokens.start
            for t, n in enumerate(counts):
                if t:
                    a[t].add_(_times(previous_H[at : at + _up(n, ROW_MULTIPLE)], W, products)[:n])
                a[t].sigmoid_()
                torch.add(minus_one, g[t], alpha=2, out=g[t])
                torch.mul(i[t], g[t], out=c[t])
                if t:
                    c[t].addcmul_(f[t], c[t - 1][:n])
                torch.add(c[t], c[t], out=tanh_c[t]).sigmoid_()
                torch.add(minus_one, tanh_c[t], alpha=2, out=tanh_c[t])
                if t and t % SUMMED == 0:
                    earlier[first : first + n] += total[first : first + n]
                    total[first : first + n] = 0
                total[first : first + n].addcmul_(o[t], tanh_c[t])
                at += n
                if t + 1 < len(counts):
                    m = counts[t + 1]
                    torch.mul(o[t][:m], tanh_c[t][:m], out=previous_h[t + 1])

        _each(run, parts)
        if len(earlier):
            total.copy_(earlier.add_(total))
        share = sorted_lengths.clamp(min=1).to(weight.dtype).reciprocal_()[:, None]
        mean = torch.empty_like(total).index_copy_(0, order, total.mul_(share))
        if skip:
            mean += _mean_words(weight, ids, lengths)
        ctx.save_for_backward(w_ih, w_hh, X, A, C, tanh_C, previous_H, share, order, words, word, row)
        ctx.rest = parts, len(weight), skip, products
        return mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_mean: Tensor) -> tuple[Tensor | None, ...]:
        w_ih, w_hh, X, A, C, tanh_C, previous_H, share, order, words, word, row = ctx.saved_tensors
        parts, V, skip, products = ctx.rest
        H = w_hh.shape[1]
        M = d_mean.index_select(0, order).mul_(share)
        W = w_hh.t().to(products).contiguous()
        d_A = torch.empty_like(A)

        def run(first: int, tokens: slice, counts: list[int]) -> Tensor:  # fills d_A and returns ∂W_hhᵀ (H, 4H)
            d_w, at = w_hh.new_zeros(H, 4 * H), tokens.stop
            d_A[at : at + SPARE] = 0
            d_i, d_f, d_g, d_o = (_steps(gate, tokens, counts) for gate in d_A.view(-1, 4, H).unbind(1))
            i, f, g, o = (_steps(gate, tokens, counts) for gate in A.view(-1, 4, H).unbind(1))
            c, tanh_c = _steps(C, tokens, counts), _steps(tanh_C, tokens, counts)
            m = M[first : first + max(counts, default=0)]
            D, E, U, U2 = m.clone(), torch.zeros_like(m), torch.empty_like(m), torch.empty_like(m)
            for t, n in reversed(list(enumerate(counts))):
                at -= n
                d, e, u, u2 = D[:n], E[:n], U[:n], U2[:n]
                _tanh_backward(o[t], tanh_c[t], grad_input=u)
                e.addcmul_(d, u)
                torch.mul(d, tanh_c[t], out=u)
                _sigmoid_backward(u, o[t], grad_input=d_o[t])
                torch.mul(e, g[t], out=u)
                torch.mul(e, i[t], out=u2)
                _sigmoid_backward(u, i[t], grad_input=d_i[t])
                _tanh_backward(u2, g[t], grad_input=d_g[t])
                if not t:
                    d_f[t].zero_()  # c_{-1} = 0
                    break
                torch.mul(e, c[t - 1][:n], out=u)
                e.mul_(f[t])
                _sigmoid_backward(u, f[t], grad_input=d_f[t])
                torch.add(m[:n], _times(d_A[at : at + _up(n, ROW_MULTIPLE)], W, products)[:n], out=d)
            for s in range(tokens.start + len(m), tokens.stop, RUN):
                z = min(s + RUN, s + _up(tokens.stop - s, SPARE))
                d_w += _times(previous_H[s:z].t(), d_A[s:z].t(), products)
            return d_w

        d_w_hh = sum(_each(run, parts)).t()
        by_word = torch.from_numpy(np.argsort(word.numpy().astype(np.min_scalar_type(len(X))), kind="stable"))
        size = torch.bincount(word, minlength=len(X))
        d_P = functional.embedding_bag(by_word, d_A, size.cumsum(0) - size, mode="sum")  # (distinct + spare, 4H)
        d_w_ih = _times(X.t(), d_P.t(), products).to(d_P.dtype).t()
        if not ctx.needs_input_grad[0]:
            return None, d_w_ih, d_w_hh, d_P.sum(0), None, None, None, None
        d_X = _times(d_P, w_ih.t().contiguous(), products).to(d_P.dtype)
        if skip:
            d_X += functional.embedding_bag(row[by_word], M, size.cumsum(0) - size, mode="sum")
        d_weight = d_X.new_zeros(V, X.shape[1]).index_copy_(0, words, d_X[: len(words)])
        return d_weight, d_w_ih, d_w_hh, d_P.sum(0), None, None, None, None


def _pack(
    ids: Tensor, lengths: Tensor, V: int, threads: int
) -> tuple[Tensor, Tensor, list[Part], Tensor, Tensor, Tensor]:
    """Sort questions by falling length, deal them to threads, and lay each part out by time.

    Returns:
        order (n,) and the sorted lengths; the parts; the distinct words; and for each packed token the place of its
        word among them and its row. Spare tokens after each part have a word of their own, one place after the last.
    """
    sorted_lengths, order = lengths.sort(descending=True, stable=True)
    starts = (lengths.cumsum(0) - lengths)[order]
    cost = sorted_lengths.cumsum(0) + STEP * (sorted_lengths[0] - sorted_lengths)
    ends = torch.searchsorted(cost, cost[-1] * torch.arange(1, threads) / threads).tolist()
    parts, places, rows, base = [], [], [], 0
    for first, last in zip([0, *ends], [*ends, len(lengths)]):
        length = sorted_lengths[first:last]
        t = torch.arange(int(length.max()) if last > first else 0)[:, None]
        running = t < length  # (steps, questions)
        place = (starts[first:last] + t)[running]
        places += [place, place.new_full((SPARE,), len(ids))]
        rows.append(functional.pad(torch.arange(first, last).expand_as(running)[running], (0, SPARE)))
        parts.append((first, slice(base, base + len(place)), running.sum(1).tolist()))
        base += len(place) + SPARE
    token = functional.pad(ids, (0, 1), value=V)[torch.cat(places)]
    present = torch.zeros(V + 1, dtype=torch.bool)
    present[token] = True
    words = present.nonzero().view(-1)
    number = torch.empty(V + 1, dtype=torch.int64)
    number[words] = torch.arange(len(words))
    return order, sorted_lengths, parts, words[:-1], number[token], torch.cat(rows)


def _mean_words(weight: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean word vector of each question, (n, E)."""
    starts = lengths.cumsum(0) - lengths
    if lengths.max() <= SUMMED:
        return functional.embedding_bag(ids, weight, starts, mode="mean")
    pieces = (lengths + SUMMED - 1) // SUMMED  # of each question
    row = torch.repeat_interleave(pieces)
    number = torch.arange(len(row)) - (pieces.cumsum(0) - pieces)[row]  # of each piece within its question
    sums = functional.embedding_bag(ids, weight, starts[row] + SUMMED * number, mode="sum")
    total = torch.zeros(len(lengths), weight.shape[1], dtype=torch.float64).index_add_(0, row, sums.double())
    return total.div_(lengths.clamp(min=1)[:, None]).to(weight.dtype)


def _steps(x: Tensor, tokens: slice, counts: list[int]) -> tuple[Tensor, ...]:
    """Return the n_t rows of each time step."""
    return x[tokens].split(counts) if counts else ()


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _onednn(dtype: torch.dtype) -> bool:
    return ONEDNN and dtype in (torch.float32, torch.bfloat16)


def _times(x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x wᵀ, computed in `dtype`."""
    x, w = x.to(dtype), w.to(dtype)
    return _linear(x, w, None, "none", [], "") if _onednn(dtype) else x @ w.t()


def _each(run: Callable[[int, slice, list[int]], Any], parts: list[Part]) -> list[Any]:
    """Return run(*part) of every part, in order, each in its own thread with serial operators."""
    if len(parts) == 1:
        return [run(*parts[0])]
    if len(parts) not in _teams:
        threads, all_started = torch.get_num_threads(), threading.Barrier(len(parts))

        def start() -> None:
            torch.zeros(1 << 16).add_(1)  # torch sets the number for a thread at its first parallel operator
            torch.set_num_threads(1)
            all_started.wait()

        _teams[len(parts)] = ThreadPoolExecutor(len(parts), initializer=start)
        list(_teams[len(parts)].map(bool, parts))
        torch.set_num_threads(threads)
    mode = torch.inference_mode if torch.is_inference_mode_enabled() else torch.no_grad
    return list(_teams[len(parts)].map(mode()(lambda part: run(*part)), parts))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_teams.clear)
