"""The benchmark: counts of work, taking turns, and a tiny run of everything. No timing is asserted."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reports.measured import Spread, number, table
from reports.performance import benchmark, training_sections
from reports.performance.corpus import TRIPLET, Corpus
from reports.performance.measuring import Amount, Trainer, flop, interleave, ratio, share
from reports.performance.rivals import ROOT, Step, Worker
from siamese.towers import lstm

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.ci
def test_flop_is_near_what_torch_counts_in_a_step() -> None:
    # 10 tokens, 6 distinct, E = 2, H = 3: 3 · 2 · 12 · (10 · 3 + 6 · 2) = 72 · 42
    assert flop(10, 6, 2, 3) == 3024
    # float64 goes to torch.mm, which torch's own counter sees. The first step of a question needs no W_hh forwards,
    # which the formula counts; products see their rows rounded up to 32, which it does not count.
    n, E, H = torch.full((64,), 10), 24, 16
    ids = torch.randint(0, 50, (640,), generator=torch.Generator().manual_seed(1))
    cell = torch.nn.LSTM(E, H).double()
    weight = torch.randn(50, E, dtype=torch.float64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        means = lstm.lstm_mean(weight, cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0, ids, n)
        means.sum().backward()
    assert counter.get_total_flops() == pytest.approx(flop(640, len(ids.unique()), E, H), rel=0.15)


def test_chunks_and_ragged_are_the_same_training(small_file: Path) -> None:
    corpus, towers = Corpus.read(str(small_file)), []
    for way in ("ragged", "chunks", "course"):
        trainer = Trainer(TRIPLET.replace(batch_size=16, embedding=8, hidden=8), corpus.tokens, 20_000, way)
        steps = [trainer() for _ in range(3)]
        assert [step.count for step in steps] == [16] * 3
        assert all(sum(step.parts) == pytest.approx(step.seconds) for step in steps)
        towers.append(trainer.tower.lstm.weight_hh_l0)
    torch.testing.assert_close(*towers[:2], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(*towers[1:], rtol=1e-3, atol=1e-5)


def test_ways_take_turns_and_a_slow_one_is_left_out_after_a_while() -> None:
    order: list[str] = []

    def way(name: str, seconds: float) -> Step:
        order.append(name)
        return Step(seconds, 1)

    ways = {"slow": lambda: way("slow", 60.0), "fast": lambda: way("fast", 1.0)}
    steps = interleave(ways, rounds=5, warm=1, what="test")
    assert order == ["slow", "fast"] * 3 + ["fast"] * 3
    assert [step is not None for step in steps["slow"]] == [True, True, False, False, False]


def test_ratios_are_taken_round_by_round() -> None:
    ours, other = [Step(1.0, 100), Step(2.0, 100), None], [Step(2.0, 100), Step(2.0, 50), Step(1.0, 1)]
    assert ratio(ours, other) == Spread(2.0, 2.0, 2.0, 2)  # 100/s over 50/s, and 50/s over 25/s
    # 30 operations a second while the product does 60
    assert share([Step(1.0, 2, 30.0)], [Step(1.0, 1, 60.0)]) == Spread(50.0, 50.0, 50.0, 1)


def test_spreads_and_numbers_in_a_table() -> None:
    assert Spread.of(range(11)) == Spread(5.0, 1.0, 9.0, 11)
    assert Spread.of([]) is None
    shown = [number(x) for x in (12345.6, 99.94, 1.234, 0.00012345, 0.0, 7, 40_000, float("nan"))]
    assert shown == ["12,346", "99.9", "1.23", "0.000123", "0", "7", "40,000", "-"]
    rows = [{"way": "a|b", "pairs/s": Spread(2.0, 1.0, 3.0, 5)}, {"way": "c", "pairs/s": None}]
    expected = ["| way | pairs/s |", "| --- | --: |", "| a\\|b | 2.00 (1.00-3.00) |", "| c | - |"]
    assert table(rows).splitlines() == expected


def test_a_rival_that_is_not_there_says_so(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("raise ImportError('no such thing')", encoding="utf-8")
    worker = Worker("keras", str(small_file), tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert not worker.ready()
    assert worker.why == "not installed (no such thing)"
    assert worker() is None
    worker.close()


@pytest.mark.ci
def test_a_tiny_run(small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_sections, "SQUARE", 64)
    monkeypatch.setattr(training_sections, "LOSS_SIZES", (16,))
    benchmark.run(str(small_file), tmp_path / "out", rivals=False, amount=Amount(2, 1, 1))
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    titles = [section["title"] for section in results["sections"]]
    assert len(titles) == len(set(titles)) == 5
    assert all(section["rows"] for section in results["sections"])
    assert all(row["pairs/s"]["n"] == 2 for row in results["sections"][0]["rows"])
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for name in ("training.png", "encoding.png"):
        assert f"]({name})" in report
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
