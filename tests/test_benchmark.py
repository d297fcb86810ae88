"""The benchmark: counts of work, how the report is written, and a tiny run. No timing is asserted."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from reports.performance import benchmark, measuring
from reports.performance import training_sections as benchmark_training
from reports.performance.measuring import (
    TRIPLET,
    Amount,
    Corpus,
    Trainer,
    computed_per_token,
    flop,
    interleave,
    ratio,
    share,
)
from reports.performance.report_writer import Section, Spread, number, write
from reports.performance.rivals import Step, Worker
from siamese.config import Config
from siamese.text.tokens import Tokens
from siamese.towers import lstm
from siamese.training.batches import Batch

QUESTIONS = Path(__file__).parents[1] / "data" / "questions.csv"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.read(str(QUESTIONS))


def batch_of(lengths: list[int]) -> Batch:
    """A batch whose first sides have these lengths and whose second sides have them backwards."""
    b1 = Tokens.of([2 + i % 5 for i in range(n)] for n in lengths)
    b2 = Tokens.of([2 + i % 7 for i in range(n)] for n in reversed(lengths))
    none = Tokens.of([])
    return Batch(b1, b2, np.arange(len(lengths)), none, none)


# Counts of work


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 5))
def test_flop_is_what_a_loop_over_words_counts(lengths: list[int], embedding: int, hidden: int) -> None:
    questions = [[j % 4 for j in range(n)] for n in lengths]
    multiplications = 0
    for question in questions:
        for _ in question:
            multiplications += 4 * hidden * hidden  # W_hh h
    for _ in {word for question in questions for word in question}:
        multiplications += 4 * hidden * embedding  # W_ih x
    # Forwards once; backwards once for the gradient of the input and once for that of the weight.
    # A multiplication and its addition are two operations.
    assert flop(sum(lengths), min(4, max(lengths)), embedding, hidden) == 3 * 2 * multiplications


def test_flop_by_hand() -> None:
    # 10 tokens, 6 distinct, E = 2, H = 3: 3 · 2 · 12 · (10 · 3 + 6 · 2) = 72 · 42
    assert flop(10, 6, 2, 3) == 3024


def test_flop_is_near_what_torch_counts_in_a_step() -> None:
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


@given(st.lists(st.integers(1, 40), min_size=2, max_size=60))
def test_nothing_but_real_tokens_is_computed(lengths: list[int]) -> None:
    assert computed_per_token(batch_of(lengths), "ragged") == 1.0


def test_tokens_computed_by_hand() -> None:
    # Sides of 1 and 3 tokens: both padded to 4, 4 questions, 16 for 8 real ones. One chunk, padded to 3: 12 for 8.
    batch = batch_of([1, 3])
    assert computed_per_token(batch, "course") == 2.0
    assert computed_per_token(batch, "chunks") == 1.5


def test_rows_of_a_real_batch_products(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that the recurrent products see, rounding included, over real tokens: at most 1.05 at batch 512."""
    trainer, rows, times = corpus.trainer(TRIPLET), [], lstm._times

    def counted(x: torch.Tensor, w: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        rows.append(len(x))
        return times(x, w, dtype)

    batch = next(trainer.batches)
    ids, lengths = measuring.tensors(batch.b1.join(batch.b2), torch.device("cpu"))
    monkeypatch.setattr(lstm, "_times", counted)
    with torch.no_grad():
        trainer.tower(ids, lengths)
    assert len(batch.b1) == 512
    recurrent = rows[1:]  # the first is the projection of the distinct words
    assert len(recurrent) >= lengths.max() - 1  # a product a time step after the first, in each thread
    assert sum(recurrent) / len(ids) <= 1.05


@pytest.mark.parametrize("way", ["ragged", "chunks", "course"])
def test_a_step_counts_its_pairs_and_changes_the_weights(corpus: Corpus, way: str) -> None:
    config = TRIPLET.replace(batch_size=16, embedding=8, hidden=8)
    trainer = Trainer(config, corpus.tokens, len(corpus.tokenizer), way)
    before = trainer.tower.lstm.weight_hh_l0.detach().clone()
    step = trainer()
    assert step.count == 16
    assert len(step.parts) == len(measuring.PARTS)
    assert math.isclose(sum(step.parts), step.seconds)
    assert not torch.equal(before, trainer.tower.lstm.weight_hh_l0)


def test_chunks_and_ragged_are_the_same_training(corpus: Corpus) -> None:
    towers = []
    for way in ("ragged", "chunks"):
        trainer = Trainer(TRIPLET.replace(batch_size=16, embedding=8, hidden=8), corpus.tokens, 20_000, way)
        for _ in range(3):
            trainer()
        towers.append(trainer.tower.lstm.weight_hh_l0)
    torch.testing.assert_close(*towers, rtol=1e-3, atol=1e-5)


def test_labelled_pairs_count_in_best(corpus: Corpus) -> None:
    trainer = corpus.trainer(Config(embedding=8, hidden=8))
    batch = next(trainer.batches)
    assert trainer().count == pytest.approx(len(batch.b1) + len(batch.n1), abs=1)
    assert len(batch.n1) > 0


# Taking turns, ratios, the report


def test_ways_take_turns() -> None:
    order: list[str] = []

    def way(name: str) -> Step:
        order.append(name)
        return Step(1.0, 1)

    steps = interleave({"a": lambda: way("a"), "b": lambda: way("b")}, rounds=2, warm=1, what="test")
    assert order == ["a", "b"] * 3
    assert {name: len(own) for name, own in steps.items()} == {"a": 2, "b": 2}


def test_a_slow_way_is_left_out_after_a_while() -> None:
    slow = interleave({"slow": lambda: Step(60.0, 1)}, rounds=5, warm=1, what="test")["slow"]
    assert [step is not None for step in slow] == [True, True, False, False, False]


def test_ratios_are_taken_round_by_round() -> None:
    ours, other = [Step(1.0, 100), Step(2.0, 100), None], [Step(2.0, 100), Step(2.0, 50), Step(1.0, 1)]
    found = ratio(ours, other)  # 100/s over 50/s, and 50/s over 25/s
    assert found == Spread(2.0, 2.0, 2.0, 2)
    # 30 operations a second where the product does 60 are 50 %; 2 pairs at 20 each, 40 in a second, are 67 %
    step, product = Step(1.0, 2, 30.0), Step(1.0, 1, 60.0)
    assert share([step], [product]) == Spread(50.0, 50.0, 50.0, 1)
    two_thirds = share([step], [product], 20.0)
    assert two_thirds is not None
    assert two_thirds.median == pytest.approx(200 / 3)


def test_spread_and_numbers() -> None:
    assert Spread.of(range(11)) == Spread(5.0, 1.0, 9.0, 11)
    assert Spread.of([]) is None
    shown = [number(x) for x in (12345.6, 99.94, 1.234, 0.00012345, 0.0, 7, 40_000, float("nan"))]
    assert shown == ["12,346", "99.9", "1.23", "0.000123", "0", "7", "40,000", "-"]


def test_the_report_of_made_up_rows(tmp_path: Path) -> None:
    spread = Spread(2.0, 1.0, 3.0, 5)
    sections = [
        Section("Speed", "Words.", [{"way": "a|b", "pairs/s": spread}, {"way": "c", "pairs/s": None}], bars="pairs/s"),
        Section("Growth with x", "More.", [{"x": x, "s": 0.1 * x, "MB": 5.0} for x in (1, 10)], growth="x"),
        Section("Nothing", "Empty.", []),
    ]
    write(tmp_path, {"run": "made up"}, sections, {"Keras": "not installed"})
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    for line in ("- run: made up", "- skipped: Keras, not installed", "| a\\|b | 2.00 (1.00-3.00) |", "| c | - |",
                 "Nothing measured."):  # fmt: skip
        assert line in report.splitlines()
    for section in sections[:2]:
        assert f"]({section.figure})" in report
        assert (tmp_path / section.figure).read_bytes().startswith(b"\x89PNG")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["sections"][0]["rows"][0]["pairs/s"] == {"median": 2.0, "low": 1.0, "high": 3.0, "n": 5}


def test_a_rival_that_is_not_there_says_so(tmp_path: Path) -> None:
    worker = Worker("keras", tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{measuring.ROOT}")
    (tmp_path / "keras.py").write_text("raise ImportError('no such thing')", encoding="utf-8")
    assert not worker.ready()
    assert "no such thing" in worker.why or "not found" in worker.why or "stopped" in worker.why
    assert worker() is None
    worker.close()


def test_a_tiny_run(small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Amount(rounds=2, warm=1, loss_rounds=2, questions=20, encode_rounds=2, cold=1, products=1, growth_steps=1,
                  points=1, pairs=(20, 50))  # fmt: skip
    monkeypatch.setattr(benchmark, "QUICK", tiny)
    monkeypatch.setattr(benchmark, "AXES", {"batch size": (8,)})
    monkeypatch.setattr(benchmark_training, "SQUARES", (64, 128))
    monkeypatch.setattr(benchmark_training, "LOSS_SIZES", (16,))
    monkeypatch.setattr(benchmark_training, "LARGE_BATCH", 64)
    monkeypatch.setattr(benchmark_training, "COPIED", 1 << 16)
    benchmark.run(str(small_file), tmp_path / "out", against=True, quick=True)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    titles = [section["title"] for section in results["sections"]]
    assert len(titles) == len(set(titles)) == 9
    assert all(section["rows"] for section in results["sections"])
    assert "Keras 3, jax" in results["skipped"]  # --quick compares with nobody
    training = results["sections"][0]["rows"]
    assert {row["tokens computed per real one"] for row in training if row["way"].startswith("ours")} <= {1.0, None}
    assert all(row["pairs/s"]["n"] == 2 for row in training)
    for name in ("report.md", *(f"{x}.png" for x in ("training", "encoding", "growth-with-pairs"))):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_quick_is_less_of_everything() -> None:
    for name, value in vars(benchmark.QUICK).items():
        assert value <= getattr(benchmark.FULL, name)
