"""From labels to a threshold: the strata, the estimate, and a promise that a simulation holds to."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from siamese.errors import DataError, UserError
from siamese.mining import labels
from siamese.mining.labels import Estimate, Stratum, allot, choose, draw, estimates, strata
from siamese.mining.tables import read_labels

# 100 pairs of as many similarities, 0.900000, 0.899999, …
ONES, FALLING = np.ones(100, int), 900_000 - np.arange(100)


def test_strata_grow_downwards() -> None:
    # 60 labels make six strata, which end at the ranks 100 / 2^(k/4): 100, 84.1, 70.7, 59.5, 50, 42.0, rounded up.
    cut = strata(ONES, FALLING, 60)
    assert np.cumsum([stratum.pairs for stratum in cut]).tolist() == [43, 50, 60, 71, 85, 100]
    # What is above the edge of the first is its 43 pairs, the last of which has 0.899958.
    assert cut[0].above == 0.899957
    assert cut[-1].above == 0.8999


def test_equal_similarities_stay_together() -> None:
    cut = strata(np.array([3, 90, 7]), np.array([900_000, 800_000, 700_000]), 200)
    assert cut == [Stratum(93, 0.7), Stratum(7, 0.699999)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 300), st.integers(0, 99))
def test_a_sample_is_drawn_from_every_stratum(counts: list[int], number: int, seed: int) -> None:
    cut = strata(np.array(counts), 900_000 - np.arange(len(counts)), number)
    assert sum(stratum.pairs for stratum in cut) == sum(counts)
    drawn = draw(cut, number, seed)
    assert drawn == draw(cut, number, seed)
    assert len(drawn) == len(set(drawn)) == min(number, sum(counts))
    ends = np.cumsum([stratum.pairs for stratum in cut])
    assert all(h == np.searchsorted(ends, rank, side="right") for rank, h in drawn)
    given_ = np.bincount([h for _, h in drawn], minlength=len(cut)).tolist()
    assert given_ == allot(cut, number)
    # As many of each, but for those that have fewer.
    assert all(n == stratum.pairs or n >= max(given_) - 1 for n, stratum in zip(given_, cut))


def test_the_precision_is_weighted_by_the_strata() -> None:
    cut = [Stratum(100, 0.9), Stratum(300, 0.8)]
    high, all_ = estimates(cut, [10, 20], [10, 15])
    assert (high.threshold, high.pairs, high.labels, high.precision) == (0.9, 100, 10, 1.0)
    # (100 · 1 + 300 · 0.75) / 400; as good as 400² / (100² / 10 + 300² / 20) = 29.1 labels of a plain sample.
    assert (all_.threshold, all_.pairs, all_.labels) == (0.8, 400, 30)
    assert all_.precision == pytest.approx(0.8125)
    low, high_ = labels.interval(np.array([0.8125]), np.array([400**2 / 5_500]))
    assert (all_.low, all_.high) == (low[0], high_[0])


@pytest.mark.parametrize(("hits", "number"), [(0, 12), (12, 12), (7, 12), (1, 1)])
def test_the_interval_is_that_of_clopper_and_pearson(hits: int, number: int) -> None:
    expected = binomtest(hits, number).proportion_ci(0.95, "exact")
    low, high = labels.interval(np.array([hits / number]), np.array([float(number)]))
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


WORLDS = {
    "just below everywhere": lambda x: np.full_like(x, 0.949),
    "falling steeply": lambda x: 1 / (1 + np.exp(12 * (x - 0.3))),
    "falling gently": lambda x: 0.99 - 0.4 * x,
    "a step": lambda x: np.where(x < 0.2, 0.99, 0.93),
    "worse at the top": lambda x: np.where(x < 0.1, 0.9, np.where(x < 0.5, 0.97, 0.8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("number", [200, 800])
def test_the_promised_precision_is_kept(world: str, number: int) -> None:
    # In how many of 1,000 label samples is the precision above the chosen threshold less than what was asked for?
    random = np.random.default_rng(0)
    count, target, trials = 20_000, 0.95, 1_000
    true = random.random(count) < WORLDS[world](np.arange(count) / count)
    cut = strata(np.ones(count, int), 999_999 - np.arange(count), number)
    ends = np.cumsum([stratum.pairs for stratum in cut])
    good = np.diff(np.cumsum(true)[ends - 1], prepend=0)
    sizes = np.diff(ends, prepend=0)
    given_ = allot(cut, number)
    hits = random.hypergeometric(good, sizes - good, given_, (trials, len(cut)))
    broken = chosen = 0
    for row in hits:
        try:
            found = choose(estimates(cut, given_, row.tolist()), target)
        except UserError:
            continue
        chosen += 1
        broken += true[: found.pairs].mean() < target
    assert broken <= 0.05 * trials + 2 * np.sqrt(0.05 * 0.95 * trials)
    if (world, number) == ("a step", 800):
        assert chosen > 0.7 * trials  # it finds a threshold if there is one


def test_the_choice_is_the_lowest_that_is_sure() -> None:
    found = [
        Estimate(0.95, 10, 10, 1.0, 0.69, 1.0),
        Estimate(0.9, 100, 60, 0.99, 0.96, 1.0),
        Estimate(0.85, 200, 90, 0.98, 0.95, 1.0),
        Estimate(0.8, 400, 120, 0.97, 0.94, 0.98),
    ]
    assert choose(found, 0.95).threshold == 0.85
    assert choose(found, 0.9).threshold == 0.8
    # ln 0.025 / ln 0.97 = 121.1: with fewer labels even all duplicates do not show 0.97.
    with pytest.raises(UserError, match="the best is 0.9, with 0.990 .95 % interval 0.960 to 1.000..*122 above"):
        choose(found, 0.97)
    for wrong in (0, 1, 95):
        with pytest.raises(UserError, match="--precision"):
            choose(found, wrong)


HEAD = "question1,question2,is_duplicate,similarity,stratum,stratum_pairs,stratum_above\n"
ROWS = ["a,b,1,0.9,1,10,0.85", "c,d,0,0.8,2,20,0.7", "e,f,,0.8,2,20,0.7", "g,h,1,0.75,2,20,0.7"]


def labelled(folder: Path, rows: list[str], head: str = HEAD) -> Path:
    path = folder / "labels.csv"
    path.write_text(head + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_labels_are_counted_by_stratum_in_any_order(tmp_path: Path) -> None:
    expected = [Stratum(10, 0.85), Stratum(20, 0.7)], [1, 2], [1, 1]
    assert read_labels(labelled(tmp_path, ROWS)) == read_labels(labelled(tmp_path, ROWS[::-1])) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, "i,j,maybe,0.9,1,10,0.85"], "line 6: is_duplicate is 'maybe'"),
        ([*ROWS, "i,j,1,0.9,1,11,0.85"], "line 6: stratum 1 differs from the rows before"),
        ([*ROWS, "i,j,1,0.9,x,10,0.85"], "line 6: stratum 'x'"),
        ([*ROWS, "i,j,1"], "line 6: 3 fields"),
        (["e,f,,0.8,1,20,0.7"], "no pair has a label"),
        ([ROWS[0], ROWS[2]], "no pair of stratum 2 has a label"),
        (ROWS[1:], r"strata \[2\], expected all from 1 on"),
    ],
)
def test_faulty_labels_are_named(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(labelled(tmp_path, rows))


def test_a_file_of_another_kind_is_no_file_of_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'stratum'; expected a file that `mine --label-sample` wrote"):
        read_labels(labelled(tmp_path, [], "question1,question2,is_duplicate,similarity\n"))
