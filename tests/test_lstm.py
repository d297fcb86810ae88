"""lstm_mean against nn.LSTM read one question at a time, against finite differences, and at its edges."""

import pytest
import torch

from siamese.towers import lstm
from siamese.towers.lstm import lstm_mean
from siamese.towers.lstm_tower import Tower


def problem(lengths, V=50, E=6, H=6, dtype=torch.float64, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes = (V, E), (4 * H, E), (4 * H, H), (4 * H,)
    weights = [(torch.randn(s, generator=random, dtype=dtype) / max(H, 4) ** 0.5).requires_grad_() for s in shapes]
    lengths = torch.tensor(lengths, dtype=torch.int64)
    return weights, torch.randint(0, V, (int(lengths.sum()),), generator=random), lengths


def quora_like(n=1024, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (3 + torch.empty(n).exponential_(1 / 9, generator=random).long()).tolist()


def one_at_a_time(weight, w_ih, w_hh, bias, ids, lengths, skip):
    reference = torch.nn.LSTM(w_ih.shape[1], w_hh.shape[1], batch_first=True).to(weight.dtype)
    named = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_ih_l0": bias, "bias_hh_l0": torch.zeros_like(bias)}
    means = []
    for question in ids.split(lengths.tolist()):
        x = weight[question]
        h = torch.func.functional_call(reference, named, x[None])[0][0] if len(x) else x.new_zeros(1, w_hh.shape[1])
        means.append((h + x if skip and len(x) else h).mean(0))
    return torch.stack(means) + 0 * sum(w.sum() for w in (weight, w_ih, w_hh, bias))


def gradients(f, weights, *rest):
    out = f(*weights, *rest)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out.dtype)
    return out.detach(), torch.autograd.grad((out * slope).sum(), weights)


def distance(a, b):
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))


@pytest.mark.slow
@pytest.mark.parametrize("E, H, skip", [(3, 4, False), (5, 2, False), (4, 4, True)])
def test_gradcheck(E, H, skip):
    weights, ids, lengths = problem([3, 0, 1, 5, 2, 5], V=7, E=E, H=H)
    assert torch.autograd.gradcheck(lambda *w: lstm_mean(*w, ids, lengths, skip), weights)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [[4, 1, 9, 9, 0, 2], [1], [0], [0, 0], [60], [1] * 40, quora_like(60)])
@pytest.mark.parametrize("E, H, skip", [(6, 6, False), (6, 6, True), (3, 8, False)])
def test_agrees_with_lstm_float64(lengths, E, H, skip):
    weights, ids, lengths = problem(lengths, E=E, H=H)
    mean, grads = gradients(lstm_mean, weights, ids, lengths, skip)
    mean2, grads2 = gradients(one_at_a_time, weights, ids, lengths, skip)
    assert distance(mean, mean2) < 1e-13
    for a, b in zip(grads, grads2):
        assert distance(a, b) < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_agrees_with_lstm_float32(monkeypatch, onednn, skip, threads):
    monkeypatch.setattr(lstm, "ONEDNN", onednn and lstm.ONEDNN)
    monkeypatch.setattr(lstm, "ALONE", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    weights, ids, lengths = problem(quora_like(200), V=500, E=128, H=128)
    exact, grads64 = gradients(one_at_a_time, weights, ids, lengths, skip)
    mean, grads = gradients(lstm_mean, [w.detach().float().requires_grad_() for w in weights], ids, lengths, skip)
    torch.set_num_threads(before)
    assert mean.dtype == torch.float32 and distance(mean, exact) < 1e-6
    for a, b in zip(grads, grads64):
        assert distance(a, b) < 1.5e-6


@pytest.mark.slow
def test_bfloat16_products_are_near():
    weights, ids, lengths = problem(quora_like(), V=2000, E=64, H=64, dtype=torch.float32)
    mean, grads = gradients(lstm_mean, weights, ids, lengths, True)
    mean2, grads2 = gradients(lstm_mean, weights, ids, lengths, True, torch.bfloat16)
    assert mean2.dtype == torch.float32
    for a, b in zip((mean2, *grads2), (mean, *grads)):
        assert a.dtype == torch.float32 and float((a - b).norm() / b.norm()) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits(dtype):
    runs = []
    for _ in range(5):
        weights, ids, lengths = problem(quora_like(), V=2000, E=128, H=128, dtype=dtype)
        mean, grads = gradients(lstm_mean, weights, ids, lengths, True)
        runs.append((mean, *grads))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0]))


def test_frozen_words():
    weights, ids, lengths = problem([3, 5])
    weights[0].requires_grad_(False)
    lstm_mean(*weights, ids, lengths).sum().backward()
    assert weights[0].grad is None and weights[1].grad.any()


def test_without_gradients():
    weights, ids, lengths = problem(quora_like(), V=2000, dtype=torch.float32)
    mean = lstm_mean(*weights, ids, lengths).detach()
    for mode in torch.no_grad, torch.inference_mode:
        with mode():
            assert torch.equal(lstm_mean(*weights, ids, lengths), mean)


def test_backward_twice():
    weights, ids, lengths = problem([3, 5])
    loss = lstm_mean(*weights, ids, lengths).sum()
    once = torch.autograd.grad(loss, weights, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(once, torch.autograd.grad(loss, weights)))


def test_no_questions():
    weights, ids, lengths = problem([])
    assert lstm_mean(*weights, ids, lengths).shape == (0, 6)


def test_wrong_input():
    weights, ids, lengths = problem([3, 5], E=3, H=4)
    with pytest.raises(ValueError, match="E = 3 must equal H = 4"):
        lstm_mean(*weights, ids, lengths, skip=True)
    with pytest.raises(ValueError, match="sum to the number of ids: 8 != 7"):
        lstm_mean(*weights, ids[1:], lengths)
    for wrong in -1, 50:
        with pytest.raises(ValueError, match=r"ids must be in \[0, 50\)"):
            lstm_mean(*weights, torch.full_like(ids, wrong), lengths)


@pytest.mark.parametrize("skip", [False, True])
def test_the_tower_gives_the_same_on_a_gpu_s_path(skip):
    # A GPU runs nn.LSTM on padded chunks; here that path runs on the CPU.
    torch.manual_seed(0)
    tower = Tower(50, 8, 8, skip=skip).double()
    _, ids, lengths = problem([*quora_like(300), 0, 1])
    slope = torch.randn(len(lengths), 8, dtype=torch.float64)
    found = []
    for path in (tower._means, tower._means_padded):
        means = path(ids, lengths)
        found.append([means.detach(), *torch.autograd.grad((means * slope).sum(), tuple(tower.parameters()))])
    for fast, reference in zip(*found):
        torch.testing.assert_close(fast, reference, atol=1e-12, rtol=1e-10)
