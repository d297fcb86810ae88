"""Intervals, paired differences, Holm's correction and equivalence: numbers by hand, scipy, and many drawn seeds."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.experiment.statistics import BAND, Difference, difference, holm, interval

score_lists = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12)
p_lists = st.lists(st.floats(0, 1), max_size=12)


@st.composite
def paired(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """Draw the scores of two variants, whose differences have some spread."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=12))
    if len({a - b for a, b in pairs}) == 1:
        pairs[0] = (pairs[0][0] + 1, pairs[0][1])
    return [a / 1000 for a, _ in pairs], [b / 1000 for _, b in pairs]


def test_interval_by_hand() -> None:
    # 1, 2, 3, 4: mean 2.5; squares about it 2.25 + 0.25 + 0.25 + 2.25 = 5, so the standard
    # deviation is √(5/3) = 1.290994 and the standard error half of it, 0.645497.
    # t for 95 % and 3 degrees of freedom (any table): 3.182446; 3.182446 · 0.645497 = 2.054260.
    found = interval([1, 2, 3, 4])
    assert found.mean == 2.5
    assert found.low == pytest.approx(2.5 - 2.054260, abs=1e-6)
    assert found.high == pytest.approx(2.5 + 2.054260, abs=1e-6)


def test_difference_by_hand() -> None:
    # Differences 0.01, 0.02, 0.03: mean 0.02, standard deviation 0.01, standard error 0.01/√3 = 0.00577350.
    # d = 0.02/0.01 = 2. t = 0.02/0.00577350 = 3.464102 with 2 degrees of freedom, where
    # P(T > t) = 1/2 − t/(2·√(2 + t²)): p = 1 − 3.464102/√14 = 0.074180.
    # t for 95 %: 4.302653; 4.302653 · 0.00577350 = 0.024841.
    # Against +0.005: t = (0.005 − 0.02)/0.00577350 = −2.598076, 1/2 + 2.598076/(2·√8.75) = 0.939155.
    found = difference([0.51, 0.62, 0.73], [0.50, 0.60, 0.70])
    assert found.n == 3
    assert found.interval.mean == pytest.approx(0.02)
    assert found.interval.low == pytest.approx(0.02 - 0.024841, abs=1e-6)
    assert found.interval.high == pytest.approx(0.02 + 0.024841, abs=1e-6)
    assert found.effect == pytest.approx(2)
    assert found.p == pytest.approx(0.074180, abs=1e-6)
    assert found.p_equal == pytest.approx(0.939155, abs=1e-6)
    assert math.isnan(found.holm)


def test_equivalence_by_hand() -> None:
    # Differences −0.001, 0, 0.001: mean 0, standard error 0.001/√3 = 0.000577350.
    # Both one-sided tests have t = 0.005/0.000577350 = 8.660254 with 2 degrees of freedom:
    # p_equal = 1/2 − 8.660254/(2·√77) = 0.006536; and t = 0 against no difference, p = 1.
    found = difference([0.499, 0.5, 0.501], [0.5, 0.5, 0.5])
    assert found.p_equal == pytest.approx(0.006536, abs=1e-6)
    assert found.p == pytest.approx(1)
    # Moved up by 0.002 the nearer border counts: t = (0.005 − 0.002)/0.000577350 = 5.196152,
    # 1/2 − 5.196152/(2·√29) = 0.017550.
    assert difference([0.501, 0.502, 0.503], [0.5] * 3).p_equal == pytest.approx(0.017550, abs=1e-6)
    assert difference([0.5] * 3, [0.501, 0.502, 0.503]).p_equal == pytest.approx(0.017550, abs=1e-6)


def test_holm_by_hand() -> None:
    # The usual example: in order 0.005·4, 0.01·3, 0.03·2, 0.04·1 = 0.02, 0.03, 0.06, 0.04;
    # the last may not be below the one before it, so 0.06 too.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]  # 0.5·2, then max(1, 0.6·1)
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06] * 3)
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def naive_holm(p_values: Sequence[float]) -> list[float]:
    """Each p times how many are not smaller (of equal ones, those that come later), or what a smaller one has."""
    found = list(p_values)
    for i, p in enumerate(p_values):
        for j, other in enumerate(p_values):
            if other <= p:
                left = sum((q, k) >= (other, j) for k, q in enumerate(p_values))
                found[i] = min(1.0, max(found[i], left * other))
    return found


@given(p_lists)
def test_holm_is_the_naive_loop(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(naive_holm(p_values))


@given(p_lists)
def test_holm_corrects_upwards_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected))
    in_order = [corrected[i] for i in np.argsort(p_values, kind="stable")]
    assert in_order == sorted(in_order)
    if p_values:  # the smallest pays for all
        assert min(corrected) == min(1, len(p_values) * min(p_values))


@pytest.mark.slow
@given(paired())
def test_the_other_way_round_only_the_sign_changes(scores: tuple[list[float], list[float]]) -> None:
    there, back = difference(*scores), difference(*scores[::-1])
    assert (back.interval.mean, back.interval.low, back.interval.high) == pytest.approx(
        (-there.interval.mean, -there.interval.high, -there.interval.low)
    )
    assert back.effect == pytest.approx(-there.effect)
    assert (back.p, back.p_equal) == pytest.approx((there.p, there.p_equal))
    ways = {"higher": "lower", "lower": "higher"}
    first, *rest = there.verdict.split(",")
    assert back.verdict == ",".join([ways.get(first, first), *rest])


def made(mean: float, spread: float, n: int = 8) -> Difference:
    """Return differences around `mean`, half of them above it by `spread` and half below."""
    return difference([0.5 + mean + spread * (-1) ** i for i in range(n)], [0.5] * n)


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (0.02, 0.005, "higher"),
        (-0.02, 0.005, "lower"),
        (0.003, 0.0005, "higher, by less than half a point"),
        (-0.003, 0.0005, "lower, by less than half a point"),
        (0.0, 0.001, "equal within half a point"),
        (0.0005, 0.002, "equal within half a point"),
        (-0.0005, 0.002, "equal within half a point"),
        (0.0, 0.03, "no difference shown"),
        (0.02, 0.05, "no difference shown"),
        (0.005, 0.02, "no difference shown"),
    ],
)
def test_every_verdict(mean: float, spread: float, verdict: str) -> None:
    assert made(mean, spread).verdict == verdict


def test_holm_takes_the_place_of_p_in_the_verdict() -> None:
    found = made(0.02, 0.02)  # t = 0.02/(0.02·√(8/7)/√8) = √7 = 2.646, 7 degrees of freedom: p = 0.033
    assert (found.p, found.verdict) == (pytest.approx(0.0331, abs=1e-4), "higher")
    assert replace(found, holm=0.06).verdict == "no difference shown"
    assert replace(found, holm=0.049).verdict == "higher"
    small = made(0.003, 0.0005)
    assert replace(small, holm=0.06).verdict == "equal within half a point"


@pytest.mark.parametrize("scores", [([0.9], [0.1]), ([], [])])
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
def test_fewer_than_two_seeds_show_nothing(scores: tuple[list[float], list[float]]) -> None:
    found = difference(*scores)
    assert (found.n, found.p, found.p_equal, found.verdict) == (len(scores[0]), 1, 1, "no difference shown")
    assert math.isnan(found.effect) and math.isnan(found.interval.low) and math.isnan(found.interval.high)
    if scores[0]:
        assert found.interval.mean == pytest.approx(0.8)


def test_equal_scores_are_equal() -> None:
    found = difference([0.7, 0.6, 0.8], [0.7, 0.6, 0.8])
    assert (found.p, found.p_equal, found.verdict) == (1, 0, "equal within half a point")
    assert (found.interval.mean, found.interval.low, found.interval.high) == (0, 0, 0)
    assert math.isnan(found.effect)  # there is no spread to measure it by


@pytest.mark.parametrize(
    ("by", "verdict"),
    [
        (0.25, "higher"),
        (-0.25, "lower"),
        (2**-9, "higher, by less than half a point"),  # 0.00195
        (-(2**-9), "lower, by less than half a point"),
        (BAND, "higher"),  # the border is not inside
    ],
)
def test_differences_without_spread(by: float, verdict: str) -> None:
    found = difference([by] * 4, [0.0] * 4)  # four: their mean is exact
    assert (found.p, found.verdict) == (0, verdict)
    assert math.isnan(found.effect)


def test_differences_without_spread_but_for_rounding() -> None:
    # 0.1 three times has the mean 0.1 + 1e-17 in floating point, and so a standard deviation of 2e-17.
    assert math.isnan(difference([0.1] * 3, [0.0] * 3).effect)


def share(verdicts: Sequence[str], *starts: str) -> float:
    return sum(verdict.startswith(starts) for verdict in verdicts) / len(verdicts)


def drawn(true: float, spread: float, draws: int = 100, n: int = 8) -> list[str]:
    """Return repeated verdicts over n seeds. The variants differ by `true` on average, with deviation `spread`."""
    random = np.random.default_rng(4)
    of_a_seed = random.normal(0.7, 0.02, (draws, n))  # what both variants have of it, so pairing takes it away
    other = of_a_seed + random.normal(true, spread, (draws, n))
    return [difference(a, b).verdict for a, b in zip(other, of_a_seed)]


@pytest.mark.ci
def test_one_in_twenty_is_a_false_alarm() -> None:
    # 2,000 draws at 5 %: standard deviation √(0.05 · 0.95/2000) = 0.5 %, so within 1.5 % of it.
    assert share(drawn(0.0, 0.02, draws=2_000), "higher", "lower") == pytest.approx(0.05, abs=0.015)


@pytest.mark.ci
@pytest.mark.parametrize("true", [BAND, -BAND])
def test_one_in_twenty_is_wrongly_called_equal_at_the_border(true: float) -> None:
    verdicts = drawn(true, 0.002, draws=2_000)
    equal = sum("half a point" in verdict for verdict in verdicts) / len(verdicts)
    assert equal == pytest.approx(0.05, abs=0.015)
    assert share(verdicts, "equal") <= equal
    # If the seeds scatter more, it is called equal less often still, not more.
    assert share(drawn(true, 0.02, draws=500), "equal") <= 0.065


@pytest.mark.ci
@pytest.mark.slow
def test_what_is_there_is_found() -> None:
    assert share(drawn(0.0, 0.002, draws=300), "equal") > 0.85
    assert share(drawn(0.01, 0.004, draws=300), "higher") > 0.95
    assert share(drawn(-0.01, 0.004, draws=300), "lower") > 0.95
