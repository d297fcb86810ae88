"""Learning from questions without labels: the file, the cache of a teacher's vectors, and the training."""

import functools
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import siamese
from siamese.config import Config, recipe
from siamese.errors import DataError, UserError
from siamese.losses.distillation import distance, neighbourhood
from siamese.pairs.pairs import Pairs
from siamese.pairs.pile import read_pile
from siamese.system.progress import Progress
from siamese.text.ragged import Texts, Tokens
from siamese.training import cache, pile
from siamese.training.batches import PairTokens
from siamese.training.train import train_model

VERBS = ("draw", "paint", "sell", "clean", "lift")
THINGS = [f"thing{a}{b}" for a in "abcd" for b in "abcdefghij"]
QUESTIONS = [f"how do I {verb} a {thing}?" for thing in THINGS for verb in VERBS]  # 200
NONE = Pairs.of([], [], [])


def write_pile(path: Path, questions: Sequence[str] = QUESTIONS) -> Path:
    """Write questions as families "odd" and "even", packed if the name says so."""
    text = "".join(f"{('even', 'odd')[i % 2]}\t{question}\n" for i, question in enumerate(questions))
    with (lzma.open if path.suffix == ".xz" else open)(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


@functools.cache
def words_of(question: str) -> np.ndarray:
    """(24,) a sum of a random vector for each word, the same in every process."""
    found = [np.random.default_rng([ord(c) for c in word]).normal(size=24) for word in question.split()]
    return np.sum(found, axis=0)


def encode(questions: Sequence[str]) -> np.ndarray:
    found = np.stack([words_of(question) for question in questions])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "load_encoder", lambda name: encode)
    monkeypatch.chdir(tmp_path)


def test_a_pile_of_families(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "pile.tsv.xz", ["a &amp; b", "b", 'c "d', "b", "", "e"])
    assert list(read_pile(path)) == ["a & b", "b", 'c "d', "e"]
    assert list(read_pile(path, ["even"])) == ["a & b", 'c "d']
    with pytest.raises(DataError, match=r"pile.tsv.xz: no family ood; it has even \(3\), odd \(3\)"):
        read_pile(path, ["even", "ood"])


def test_a_pile_in_another_format(tmp_path: Path) -> None:
    path = tmp_path / "pile.csv"
    path.write_text("family,question\nx,who?\ny,where?\nx,when?\n", encoding="utf-8")
    assert list(read_pile(path)) == ["who?", "where?", "when?"]
    assert list(read_pile(path, ["x"])) == ["who?", "when?"]
    plain = tmp_path / "pile.txt"
    plain.write_text("who?\nwhere?\n", encoding="utf-8")
    assert list(read_pile(plain)) == ["who?", "where?"]
    with pytest.raises(DataError, match="without families; leave out --families"):
        read_pile(plain, ["x"])
    (tmp_path / "pile.tsv").write_text("x\twho?\nwhere?\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: no tab"):
        read_pile(tmp_path / "pile.tsv")
    (tmp_path / "bad.tsv.xz").write_bytes(write_pile(tmp_path / "pile.tsv.xz").read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_pile(tmp_path / "bad.tsv.xz")


def test_the_loss_on_neighbourhoods_is_that_of_plain_loops() -> None:
    torch.manual_seed(1)
    v, y = (torch.nn.functional.normalize(torch.randn(5, 3), dim=1) for _ in range(2))
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if j != i]
        p, q = (np.exp([float(x[i] @ x[j]) / 0.05 for j in others]) for x in (y, v))
        p, q = p / p.sum(), q / q.sum()
        total += float((p * np.log(p / q)).sum())
    assert neighbourhood(v, y).item() == pytest.approx(total / 5, rel=1e-4)
    assert neighbourhood(y, y).item() == pytest.approx(0, abs=1e-6)
    assert distance(v, y).item() == pytest.approx(1 - np.mean([float(a @ b) for a, b in zip(v, y)]), rel=1e-5)


def test_batches_are_runs_of_neighbours_and_each_pass_shows_each_question_once() -> None:
    config = Config(unlabelled="x", unlabelled_batch=20, seed=3)
    n, clusters = 100, np.repeat(np.arange(10), 10)
    found = pile.Pile(Tokens.of([i] for i in range(n)), np.arange(n, dtype=np.float16)[:, None], np.zeros(0, int),
                      np.arange(n), clusters, Texts.of([]), "")  # fmt: skip
    empty = Tokens.of([])
    pairs = PairTokens(empty, empty, np.zeros(0, np.int8), np.zeros(0, int))
    batches = [batch for epoch in range(10) for batch in pile.batches(config, found, pairs, 50, epoch, 0)]
    assert len(batches) == 50 and all(len(batch.unlabelled or ()) == 20 for batch in batches)
    for one in range(0, 50, 5):  # a pass
        ids = np.concatenate([batch.unlabelled.ids for batch in batches[one : one + 5] if batch.unlabelled])
        assert sorted(ids) == list(range(n))
    spread = [len(set(clusters[batch.unlabelled.ids])) for batch in batches if batch.unlabelled]
    assert max(spread) <= 4
    assert all((batch.wanted == batch.unlabelled.ids[:, None]).all() for batch in batches if batch.unlabelled)
    (left,) = pile.batches(config, found, pairs, 50, 4, 4)
    assert (left.unlabelled.ids == batches[24].unlabelled.ids).all()  # type: ignore[union-attr]


RECIPE = recipe(None, {"unlabelled": "pile.tsv", "teacher": "a+b", "embedding": 16, "hidden": 16, "min_count": 1,
                       "unlabelled_batch": 50, "question_steps": 0.003, "learning_rate": 0.02})  # fmt: skip


class StopAt(Progress):
    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, loss: float) -> None:
        self.left -= 1

    def stop(self) -> bool:
        return self.left <= 0


@pytest.mark.slow
@pytest.mark.usefixtures("teacher")
def test_the_tower_learns_to_point_where_the_teachers_point_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    write_pile(tmp_path / "pile.tsv")
    assert (RECIPE.preset, RECIPE.tokens, RECIPE.compact) == ("distilled", "pieces", True)
    whole = train_model(RECIPE, NONE, NONE, tmp_path / "whole")
    history = whole.facts["history"]
    assert len(history) == 10 and history[-1]["step"] == 60
    assert history[-1]["cosine"] > 0.9 > history[0]["cosine"]
    assert whole.threshold == 0.8 and "labelled pairs" in whole.warnings[0]
    assert whole.facts["unlabelled"]["questions"] == 200
    for step in (1, 33):
        watch = StopAt(step)
        with pytest.raises(KeyboardInterrupt):
            train_model(RECIPE, NONE, NONE, tmp_path / "stopped", progress=watch, stop=watch.stop, resume=step > 1)
    resumed = train_model(RECIPE, NONE, NONE, tmp_path / "stopped", resume=True)
    assert all((weight == resumed.weights[name]).all() for name, weight in whole.weights.items())
    assert [r["cosine"] for r in resumed.facts["history"]] == [r["cosine"] for r in history]


@pytest.mark.slow
@pytest.mark.usefixtures("teacher")
def test_a_model_to_start_from_keeps_its_vectors_while_pairs_are_learned(tmp_path: Path) -> None:
    write_pile(tmp_path / "pile.tsv")
    start = train_model(RECIPE, NONE, NONE)
    rows = [(f"how do I {a} a {thing}?", f"how do I {b} a {thing}?", int((a, b) == ("draw", "paint")))
            for thing in THINGS for a, b in (("draw", "paint"), ("sell", "lift"))]  # fmt: skip
    pairs = Pairs.of(*zip(*rows))
    changes: dict[str, Any] = {"teacher": None, "batch_size": 16, "learning_rate": 0.005}
    gentle = RECIPE.replace(**changes, labelled="logistic")
    kept = train_model(gentle.replace(question_steps=0.0005), NONE, NONE, start_from=start)
    assert (kept.encode(QUESTIONS) * start.encode(QUESTIONS)).sum(1).mean() > 0.99
    assert kept.threshold == start.threshold and "started from" in kept.warnings[0]
    taught = train_model(gentle.replace(labelled_weight=5.0), pairs, pairs, start_from=start)
    agreement = (taught.encode(QUESTIONS) * start.encode(QUESTIONS)).sum(1).mean()
    assert 0.5 < agreement < 0.99
    before, after = (m.similarity(pairs.question1, pairs.question2) for m in (start, taught))
    gap = [s[pairs.labels == 1].mean() - s[pairs.labels == 0].mean() for s in (before, after)]
    assert gap[1] > gap[0] + 0.2
    short = RECIPE.replace(question_steps=0.0005)
    again = train_model(short, NONE, NONE, start_from=start)  # a teacher whose targets are turned towards the start's
    assert again.facts["history"][0]["cosine"] > 0.9


@pytest.mark.usefixtures("teacher")
def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    write_pile(tmp_path / "pile.tsv", QUESTIONS[:10])
    with pytest.raises(DataError, match="10 distinct questions; give 20 or more"):
        train_model(RECIPE, NONE, NONE)
    with pytest.raises(UserError, match="needs --teacher NAME"):
        train_model(RECIPE.replace(teacher=None), NONE, NONE)
    write_pile(tmp_path / "pile.tsv")
    with pytest.raises(UserError, match="24 dimensions, fewer than the tower's 32"):
        train_model(RECIPE.replace(embedding=32, hidden=32, teacher="a"), NONE, NONE)
    for field in ("families", "near_misses"):
        with pytest.raises(UserError, match=f"--{field.replace('_', '-')}: goes with --unlabelled"):
            Config(**{field: "x" if field == "families" else True})


@pytest.mark.slow
@pytest.mark.usefixtures("teacher")
def test_near_misses_are_made_of_the_pile_and_pushed_apart(tmp_path: Path) -> None:
    versions = [f"how do I {verb} a {thing} of version {i + 3}?" for i, thing in enumerate(THINGS) for verb in VERBS]
    write_pile(tmp_path / "pile.tsv", versions)
    start = siamese.train(unlabelled="pile.tsv", teacher="a+b", embedding=16, hidden=16, min_count=1,
                          unlabelled_batch=50, question_steps=0.001, learning_rate=0.02)  # fmt: skip
    config = RECIPE.replace(
        teacher=None, near_misses=True, batch_size=16, learning_rate=0.01, labelled_weight=20.0, teacher_weight=2.0
    )
    made = pile.with_near_misses(config, read_pile("pile.tsv"), NONE)
    assert len(made) > 200 and set(made.labels) == {0, 1}
    assert set(pile.with_near_misses(config, read_pile("pile.tsv"), NONE, ["version"]).labels) == {0}
    taught = train_model(config, NONE, NONE, start_from=start)
    before, after = (m.similarity(made.question1, made.question2) for m in (start, taught))
    gap = [s[made.labels == 1].mean() - s[made.labels == 0].mean() for s in (before, after)]
    assert gap[1] > gap[0] + 0.03
    assert (taught.encode(versions) * start.encode(versions)).sum(1).mean() > 0.5
    assert taught.config.near_misses and taught.threshold == start.threshold
