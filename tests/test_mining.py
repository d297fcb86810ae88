"""Joins against naive loops over float64 cosines, files for resuming, and clusters by their definition."""

import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import UserError
from siamese.mining import cells, exact, kept
from siamese.mining.clusters import complete, find_clusters
from siamese.mining.exact import Vectors, join_rows
from siamese.mining.found import PAIR, Wanted, in_order, lowest_above
from siamese.mining.kept import Kept
from siamese.mining.mine import join, sortable
from siamese.mining.settings import Settings
from siamese.model.similarity import cosine
from siamese.pairs.clusters import connected

TYPES = [torch.bfloat16, torch.float32]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks so small that a few hundred vectors fill many."""
    monkeypatch.setattr(exact, "TILE", 16)
    monkeypatch.setattr(cells, "TILE", 16)
    monkeypatch.setattr(exact, "ROWS", 48)
    monkeypatch.setattr(exact, "PART", 64)


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def groups(n: int, d: int = 24, seed: int = 0, spread: float = 0.5) -> np.ndarray:
    """Draw unit vectors around n / 4 directions, some of them equal, and two zero vectors."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n // 4, d))[random.integers(0, n // 4, n)] + spread * random.normal(size=(n, d))
    vectors[5] = vectors[3]
    vectors[[1, 7]] = 0
    return unit(vectors)


def naive(vectors: np.ndarray, threshold: float) -> list[tuple[int, int, int]]:
    """Return all pairs above a threshold, most similar first, one cosine at a time."""
    found = []
    for i, j in combinations(range(len(vectors)), 2):
        a, b = vectors[i].astype(float), vectors[j].astype(float)
        lengths = np.sqrt((a @ a) * (b @ b))
        similarity = round(float(a @ b / lengths), 6) if lengths else 0.0
        if similarity > threshold:
            found.append((round(similarity * 1e6), i, j))
    return sorted(found, key=lambda pair: (-pair[0], *pair[1:]))


def run(
    vectors: np.ndarray, settings: Settings, folder: Path, resume: bool = False, at_once: int = 1 << 20, **more: object
) -> Kept:
    folder.mkdir(exist_ok=True)
    found = Kept(folder, {"threshold": settings.threshold, **more}, resume, at_once, settings.max_pairs)
    join(vectors, settings, found)
    return found


def ranked(mined: Kept) -> list[tuple[int, int, int]]:
    return [tuple(pair) for chunk in mined.ranked() for pair in chunk.tolist()]


# The exact join


@pytest.mark.parametrize("dtype", [*TYPES, None])
@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_the_pairs_of_brute_force(dtype: torch.dtype | None, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype is None:  # as without torch, by numpy
        monkeypatch.setattr(exact, "torch", None)
    vectors = groups(200, spread=0.25)
    ready = Vectors.of(vectors, dtype)
    lowest = lowest_above(threshold)
    found = np.concatenate(
        [join_rows(ready, start, min(start + 48, 200), Wanted(lowest)) for start in range(0, 200, 48)]
    )
    expected = naive(vectors, threshold)
    assert [tuple(pair) for pair in in_order(found).tolist()] == expected
    assert len(expected) > 20 and (1_000_000, 3, 5) in expected
    assert not {1, 7} & {end for _, *ends in expected for end in ends}


@pytest.mark.slow
def test_a_threshold_of_zero_and_of_one(tmp_path: Path) -> None:
    vectors = groups(60)
    assert ranked(run(vectors, Settings(0.0), tmp_path / "0")) == naive(vectors, 0.0)
    assert ranked(run(vectors, Settings(0.0, approximate=True), tmp_path / "cells")) == naive(vectors, 0.0)
    assert ranked(run(vectors, Settings(1.0), tmp_path / "1")) == []
    assert ranked(run(vectors, Settings(0.999999), tmp_path / "2")) == [(1_000_000, 3, 5)]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("approximate", [False, True])
def test_hardly_any_vectors(tmp_path: Path, count: int, approximate: bool) -> None:
    vectors = np.tile(unit(np.ones((1, 4))), (count, 1))
    expected = [(1_000_000, i, j) for i, j in combinations(range(count), 2)]
    assert ranked(run(vectors, Settings(0.5, approximate=approximate), tmp_path)) == expected


def test_products_are_never_off_by_more_than_the_slack() -> None:
    # The worst that rounding does: 1 + 2⁻⁸ lies half-way between two bfloat16 numbers and becomes 1, so that
    # a vector of such numbers loses nearly 2⁻⁸ of its length, and a product nearly 2⁻⁷.
    random = np.random.default_rng(0)
    halfway = np.full((1, 64), 1 + 2.0**-8, np.float32) / 8
    sets = [random.normal(size=(80, 64)), random.normal(size=(80, 64)) ** 9, np.eye(64)[:40], random.random((80, 768))]
    for vectors in [*map(unit, sets), halfway, unit(halfway), groups(80) * np.float32(1.01)]:
        for dtype in TYPES:
            ready = Vectors.of(vectors, dtype)
            products = (ready.rounded.double() @ ready.rounded.double().T).numpy()
            rows, columns = np.triu_indices(len(vectors))
            exact_ones = cosine(vectors, rows, columns)
            known = ready.squares[rows] * ready.squares[columns] > 0
            assert np.abs(products[rows, columns] - exact_ones)[known].max() <= ready.slack
            # and what the hardware makes of them, rounded to the type, reaches the level of each pair
            computed = (ready.rounded @ ready.rounded.T)[rows, columns]
            levels = torch.from_numpy(exact_ones - ready.slack).to(dtype)
            assert (computed >= levels)[torch.from_numpy(known)].all()
    assert Vectors.of(groups(80), torch.bfloat16).slack < 0.009  # 2 · 2⁻⁸ and a little


def test_a_pair_that_rounding_puts_below_the_threshold_is_found() -> None:
    # 58 equal numbers of a unit vector are 1/√58 = 134.457 / 1024, which becomes 134 / 1024; a product of two
    # such vectors, which is 1, becomes 58 · 134² / 1024² = 0.9932.
    vectors = np.ones((2, 58))
    vectors[1, 0] = 1.1
    vectors = unit(vectors)
    ready = Vectors.of(vectors, torch.bfloat16)
    similarity = float(cosine(vectors, [0], [1])[0])
    threshold = similarity - 2e-6
    assert 0.992 < float(ready.rounded[0].double() @ ready.rounded[1].double()) < threshold - 0.004
    assert join_rows(ready, 0, 2, Wanted(lowest_above(threshold))).tolist() == [(round(similarity * 1e6), 0, 1)]


@given(st.floats(0, 1))
def test_the_lowest_similarity_above_a_threshold(threshold: float) -> None:
    lowest = lowest_above(threshold)
    assert lowest / 1_000_000 > threshold >= (lowest - 1) / 1_000_000


# The most similar N, and a run that is stopped


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 7, 50, 10_000])
@pytest.mark.parametrize("approximate", [False, True])
def test_the_n_most_similar_are_the_first_n_of_all(tmp_path: Path, count: int, approximate: bool) -> None:
    vectors = unit(np.random.default_rng(0).integers(-1, 3, (200, 3)))  # many are equally similar
    expected = naive(vectors, 0.9)
    assert len({pair[0] for pair in expected}) < len(expected) / 4
    mined = run(vectors, Settings(0.9, max_pairs=count, approximate=approximate), tmp_path)
    assert mined.recall is None or mined.recall.value == 1
    assert ranked(mined) == expected[:count]


def test_the_level_rises_so_that_less_is_kept(tmp_path: Path) -> None:
    vectors = groups(400)[::-1].copy()
    all_ = sum(map(len, run(vectors, Settings(0.3), tmp_path / "all")))
    best = sum(map(len, run(vectors, Settings(0.3, max_pairs=10), tmp_path / "best")))
    assert best < all_ / 2


@pytest.mark.parametrize("at_once", [1, 7, 1_000])
def test_pairs_that_do_not_fit_into_memory_are_merged_from_files(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "CHUNK", 5)
    vectors = groups(80)
    mined = run(vectors, Settings(0.7), tmp_path)
    mined.at_once = at_once
    assert ranked(mined) == naive(vectors, 0.7)
    assert not list(tmp_path.glob("sorted-*"))


@pytest.mark.ci
@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("max_pairs", [None, 40])
def test_a_run_that_was_killed_goes_on_to_the_same_pairs(
    tmp_path: Path, approximate: bool, max_pairs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese.mining.mine.CELLS_A_UNIT", 5)
    vectors, settings = groups(300), Settings(0.7, max_pairs, approximate)
    whole = run(vectors, settings, tmp_path / "whole")
    units = whole.units
    assert units > 4
    data = (tmp_path / "whole" / kept.PAIRS).read_bytes()
    for cut in np.linspace(0, len(data) - 1, 3 if approximate else 9).astype(int):  # what a crash leaves, at any byte
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / kept.PAIRS).write_bytes(data[:cut])
        again = run(vectors, settings, folder, resume=True)
        assert (folder / kept.PAIRS).read_bytes() == data
        assert again.units == units
        assert ranked(again) == ranked(whole)


def test_finished_units_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = groups(300)
    whole = ranked(run(vectors, Settings(0.7), tmp_path))
    monkeypatch.setattr("siamese.mining.exact.join_rows", None)  # would fail if it were called
    assert ranked(run(vectors, Settings(0.7), tmp_path, resume=True)) == whole


def test_damage_is_noticed_and_done_again(tmp_path: Path) -> None:
    vectors = groups(300)
    whole = ranked(run(vectors, Settings(0.7), tmp_path))
    path = tmp_path / kept.PAIRS
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert ranked(run(vectors, Settings(0.7), tmp_path, resume=True)) == whole


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run(groups(60), Settings(0.7), tmp_path, model="a")
    with pytest.raises(UserError, match="another run .the model differ"):
        run(groups(60), Settings(0.7), tmp_path, resume=True, model="b")
    with pytest.raises(UserError, match="a run was stopped there; continue it with --resume, or remove it"):
        run(groups(60), Settings(0.7), tmp_path, model="a")


@pytest.mark.slow
def test_pairs_that_memory_has_no_room_for(tmp_path: Path) -> None:
    vectors = unit(np.abs(np.random.default_rng(0).normal(size=(300, 8))))  # nearly all pairs are above 0.2
    with pytest.raises(UserError, match="more than 2,000 pairs at a time are too many for --memory"):
        run(vectors, Settings(0.2), tmp_path / "all", at_once=2_000)
    best = run(vectors, Settings(0.2, max_pairs=50), tmp_path / "best", at_once=2_000)
    assert ranked(best) == naive(vectors, 0.2)[:50]


def test_too_little_memory_is_refused_before_anything_is_done() -> None:
    with pytest.raises(UserError, match=r"--memory 500: 1,000,000 questions of 128 dimensions need \d+ "):
        sortable(1_000_000, 128, 500)
    assert sortable(537_000, 128, 2_048) > 10_000_000  # pairs of 12 bytes


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"max_pairs": 0}, {"memory": 0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Settings(**{"threshold": 0.5, **wrong})  # type: ignore[arg-type]


# The approximate join


@pytest.mark.slow
def test_a_pair_of_several_shared_cells_is_found_once(tmp_path: Path) -> None:
    vectors = groups(300)
    ready = Vectors.of(vectors, torch.bfloat16)
    lowest = lowest_above(0.7)
    of = np.stack([np.arange(300) % 3, 3 + np.arange(300) % 2], axis=1).astype(np.int32)
    order = np.argsort(of.ravel(), kind="stable")
    starts = np.searchsorted(of.ravel()[order], np.arange(6))
    shared = cells.Cells(of, (order // 2).astype(np.int32), starts)
    found = [tuple(pair) for cell in range(5) for pair in shared.join(ready, cell, Wanted(lowest)).tolist()]
    expected = [(s, i, j) for s, i, j in naive(vectors, 0.7) if i % 3 == j % 3 or i % 2 == j % 2]
    assert sorted(found) == sorted(expected)
    assert len(found) == len(set(found)) > 20


@given(st.integers(0, 10_000))
def test_the_first_shared_cell_and_how_many_are_needed(seed: int) -> None:
    random = np.random.default_rng(seed)
    near1, near2 = (np.stack([random.permutation(6)[:4] for _ in range(5)]).astype(np.int32) for _ in range(2))
    first, needed = cells.first_shared(near1, near2), cells.cells_needed(near1, near2)
    for a, b, lowest, p in zip(near1.tolist(), near2.tolist(), first, needed):
        assert lowest == min({*a} & {*b}, default=np.iinfo(np.int32).max)
        assert p == min((p for p in range(1, 5) if {*a[:p]} & {*b[:p]}), default=5)


@pytest.mark.slow
def test_the_approximate_way_reports_what_it_finds(tmp_path: Path) -> None:
    vectors = groups(1_500, d=16, spread=0.6)
    expected = {pair[1:] for pair in naive_fast(vectors, 0.8)}
    mined = run(vectors, Settings(0.8, approximate=True), tmp_path)
    found = ranked(mined)
    assert len(found) == len(set(found))
    assert {pair[1:] for pair in found} <= expected
    assert mined.recall is not None and mined.recall.pairs > 100
    recall = len(found) / len(expected)
    assert recall >= 0.98
    assert mined.recall.low - 0.01 <= recall <= mined.recall.high + 0.01


@pytest.mark.slow
def test_vectors_that_no_cells_hold_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST_CELLS", 1)
    with pytest.raises(UserError, match="--approximate: 1 cells a question are not enough"):
        run(groups(800, d=64, spread=1.5), Settings(0.2, approximate=True), tmp_path)


def test_the_interval_of_the_recall_counts_questions_not_pairs() -> None:
    # 30 of 33 pairs are found; but they are those of one question, and four questions show little: 0.025^(1/4).
    measured = cells.recall(np.array([0] * 30 + [1, 2, 3]), np.array([True] * 30 + [False] * 3))
    assert (measured.value, measured.low, measured.high) == pytest.approx((30 / 33, 0.3976, 1), abs=1e-4)
    many = cells.recall(np.arange(1_000), np.arange(1_000) >= 100)  # a question a pair: √(0.9 · 0.1 / 999) = 0.00949
    half = 1.96 * 0.00949
    assert (many.value, many.low, many.high) == pytest.approx((0.9, 0.9 - half, 0.9 + half), abs=1e-5)
    # Three questions lost nothing: 0.025^(1/3) = 0.292 is the lower end of Clopper and Pearson's interval of 3 of 3.
    few = cells.recall(np.array([4, 4, 5, 6]), np.ones(4, bool))
    assert (few.value, few.low, few.high) == pytest.approx((1, 0.025 ** (1 / 3), 1))
    none = cells.recall(np.empty(0, int), np.empty(0, bool))
    assert str(none) == "1.0000 (95 % interval 0.0000 to 1.0000, on 0 exact pairs)"


def test_more_questions_are_sampled_where_few_have_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SAMPLE", 32)
    vectors = Vectors.of(groups(400, d=16, spread=0.05), torch.float32)
    for enough, sampled in ((5, 32), (50, 64), (10_000, 208)):  # the first multiple of 16 from half of 400 on
        monkeypatch.setattr(cells, "ENOUGH", enough)
        monkeypatch.setattr(cells, "SHARE", 0.5)
        first, second = cells.sampled_pairs(vectors, lowest_above(0.9), seed=3)
        expected = set(np.random.default_rng(3).permutation(400)[:sampled].tolist())
        pairs = {(i, j) for _, i, j in naive_fast(vectors.exact, 0.9)}
        both = {(i, j) for a, b in pairs for i, j in ((a, b), (b, a)) if i in expected}
        assert set(zip(first.tolist(), second.tolist())) == both


def naive_fast(vectors: np.ndarray, threshold: float) -> Iterator[tuple[int, int, int]]:
    similarities = vectors.astype(float) @ vectors.astype(float).T
    for i, j in np.argwhere(np.triu(similarities, 1) > threshold):
        yield round(similarities[i, j] * 1e6), int(i), int(j)


# Clusters


def pairs_of(*rows: tuple[float, int, int]) -> np.ndarray:
    return in_order(np.array([(round(s * 1e6), i, j) for s, i, j in rows], PAIR))


CHAIN = pairs_of((0.95, 0, 1), (0.9, 1, 2), (0.85, 2, 3))  # 0 and 2 are no pair, nor are 1 and 3


def test_a_chain_is_one_component_and_two_complete_clusters() -> None:
    # Complete: 0-1 join at 0.95; 2 joins neither, as 0-2 is no pair; 2-3 join at 0.85.
    assert [[m.question for m in c] for c in find_clusters(5, CHAIN, "connected")] == [[1, 0, 2, 3]]
    assert [[m.question for m in c] for c in find_clusters(5, CHAIN, "complete")] == [[0, 1], [2, 3]]


def test_a_cluster_says_why_each_member_is_there() -> None:
    # The similarities add up to 0.95, 1.85, 1.75 and 0.85: question 1 stands for all.
    (cluster,) = find_clusters(4, CHAIN, "connected")
    assert cluster[0].question == 1
    assert cluster == [(1, 0, 0.95), (0, 1, 0.95), (2, 1, 0.9), (3, 2, 0.85)]


def test_a_question_with_a_copy_is_a_cluster() -> None:
    found = find_clusters(4, pairs_of((0.9, 0, 1)), "complete", [3])
    assert found == [[(0, 1, 0.9), (1, 0, 0.9)], [(3, 3, 1.0)]]


def test_clusters_of_nothing() -> None:
    assert find_clusters(3, np.empty(0, PAIR), "complete") == find_clusters(0, np.empty(0, PAIR), "connected") == []


def random_pairs(seed: int, n: int = 12) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = [(i, j) for i, j in combinations(range(n), 2) if random.random() < 0.5]
    values = random.permutation(len(rows)) + 1  # no two are the same
    return pairs_of(*((v / 1_000, i, j) for v, (i, j) in zip(values.tolist(), rows)))


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in labels}


@given(st.integers(0, 10_000))
def test_complete_linkage_is_what_its_definition_makes(seed: int) -> None:
    pairs = random_pairs(seed)
    similarity = {frozenset((i, j)): s for s, i, j in pairs.tolist()}
    groups_: list[set[int]] = [{i} for i in range(12)]

    def least(a: set[int], b: set[int]) -> int:
        return min(similarity.get(frozenset((i, j)), 0) for i in a for j in b)

    while True:
        a, b = max(combinations(groups_, 2), key=lambda two: least(*two))
        if not least(a, b):
            break
        groups_ = [group for group in groups_ if group not in (a, b)] + [a | b]
        if len(groups_) == 1:
            break
    assert partition(complete(12, pairs)) == set(map(frozenset, groups_))


@given(st.integers(0, 10_000))
def test_components_are_what_a_walk_reaches(seed: int) -> None:
    pairs = random_pairs(seed)[:9]
    reached = {i: {i} for i in range(12)}
    for _ in range(12):
        for _, i, j in pairs.tolist():
            reached[i] |= reached[j]
            reached[j] |= reached[i]
    assert partition(connected(12, pairs["first"], pairs["second"])) == set(map(frozenset, reached.values()))
