"""Over several cells: by hand, against SciPy, and properties."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats as scipy_stats

from analysis.stats import (
    interquartile_mean,
    mean_gain,
    mean_gain_of_pairs,
    paired_t,
    performance_profile,
    trimmed_mean,
)
from analysis.stats.aggregates import freedom

GAINS = np.random.default_rng(2).normal(1, 1, (9, 1)) + np.random.default_rng(3).normal(0, 1, (9, 4))
STUDENTS = [i // 3 for i in range(9)]


def test_of_one_student_mean_gain_is_a_t_test_on_the_mean_of_each_seed() -> None:
    found = mean_gain(GAINS, ["s"] * 9)
    assert found.value == pytest.approx(GAINS.mean())
    assert_allclose((found.low, found.high, found.p), paired_t(GAINS.mean(axis=0)))


def test_mean_gain_takes_students_as_independent() -> None:
    """The variances of three students' means add up, a ninth of each; degrees of freedom 3 x (n - 1)."""
    found = mean_gain(GAINS, STUDENTS)
    means = GAINS.reshape(3, 3, 4).mean(axis=1)
    half = scipy_stats.t.ppf(0.975, 9) * math.sqrt(means.var(axis=1, ddof=1).sum() / 4 / 9)
    assert (found.low, found.high) == pytest.approx((GAINS.mean() - half, GAINS.mean() + half))


def test_degrees_of_freedom() -> None:
    """Of students with as many cells each (n - 1); where one has nearly all, hardly more than its own."""
    assert freedom(STUDENTS, 3) == freedom("abc", 3) == 6 and freedom("aaa", 4) == 3
    assert freedom("ab" + "c" * 10, 2) == pytest.approx(114**2 / (4 + 4 + 110**2)) and freedom("abbb", 2) > 1


def test_no_gain_is_larger_than_all() -> None:
    """Two seeds 90 points apart: a t interval would be 1,100 points wide."""
    found = mean_gain([[5.0, 95.0]], ["s"])
    assert (found.low, found.high) == (-100, 100) and found.p > 0.2


def two_way(x: np.ndarray) -> float:
    """The variance of the mean of pairs and seeds crossed and random, from the mean squares."""
    rest = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
    ms_rest = (rest**2).sum() / ((len(x) - 1) * (x.shape[1] - 1))
    return float(x.mean(axis=1).var(ddof=1) / len(x) + x.mean(axis=0).var(ddof=1) / x.shape[1] - ms_rest / x.size)


def test_of_one_student_pairs_and_seeds_are_a_two_way_table() -> None:
    found = mean_gain_of_pairs(GAINS, ["s"] * 9)
    over_seeds, whole = GAINS.mean(axis=0).var(ddof=1) / 4, two_way(GAINS)
    df = whole**2 / (over_seeds**2 / 3 + (whole - over_seeds) ** 2 / 8)
    df = min(df, (3 * over_seeds + 8 * (whole - over_seeds)) / whole)
    half = scipy_stats.t.ppf(0.975, df) * math.sqrt(whole)
    assert (found.low, found.high) == pytest.approx((GAINS.mean() - half, GAINS.mean() + half))


def test_of_pairs_that_share_nothing_it_is_nearly_a_t_test_on_them() -> None:
    """Every pair has a student of its own: P A equals T, and the t variance of the pairs' means is left."""
    found = mean_gain_of_pairs(GAINS, range(9))
    plain = scipy_stats.ttest_1samp(GAINS.mean(axis=1), 0).confidence_interval(0.95)
    over_pairs = GAINS.mean(axis=1).var(ddof=1) / 9
    over_seeds = GAINS.var(axis=1, ddof=1).sum() / 4 / 81
    df = over_pairs**2 / (over_seeds**2 / 27 + (over_pairs - over_seeds) ** 2 / 8)
    df = min(df, (27 * over_seeds + 8 * (over_pairs - over_seeds)) / over_pairs)
    ratio = scipy_stats.t.ppf(0.975, df) / scipy_stats.t.ppf(0.975, 8)
    assert found.high - found.low == pytest.approx((plain.high - plain.low) * ratio)


def test_other_pairs_are_less_certain_than_other_seeds_of_these() -> None:
    many = np.repeat(GAINS, 3, axis=1)
    these, such = mean_gain(many, STUDENTS), mean_gain_of_pairs(many, STUDENTS)
    assert such.high - such.low > these.high - these.low


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=40))
def test_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert trimmed_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25), abs=1e-9)
    assert interquartile_mean([values], ["s"]).value == trimmed_mean(values)


def test_the_bootstrap_of_a_mean_has_the_variance_of_a_mean() -> None:
    """Four cells of one student, all values in two tight clumps by seed: the interquartile mean is their mean and its
    variance that of two seeds."""
    x = np.array([[0.0, 1.0]] * 4)
    found = interquartile_mean(x, ["s"] * 4, resamples=20_000)
    half = scipy_stats.t.ppf(0.975, 1) * 0.5
    assert found.value == 0.5 and found.high - 0.5 == pytest.approx(half, rel=0.01)


def test_cells_of_a_student_are_drawn_together() -> None:
    """The same gains: if a student shares its scratch runs among them, fewer of them are independent."""
    apart, together = interquartile_mean(GAINS, range(9)), interquartile_mean(GAINS + GAINS[:1], ["s"] * 9)
    assert together.high - together.low > apart.high - apart.low


def test_cells_of_different_students_are_drawn_apart() -> None:
    """What all cells of a seed share averages out over students with seeds of their own."""
    x = np.random.default_rng(4).normal(0, 1, 4) + np.random.default_rng(5).normal(0, 0.01, (9, 4))
    apart, together = interquartile_mean(x, range(9)), interquartile_mean(x, ["s"] * 9)
    errors = [(found.high - found.low) / scipy_stats.t.ppf(0.975, df) for found, df in ((apart, 9 * 3), (together, 3))]
    assert errors[0] < errors[1] / 2


def test_bands_of_a_profile_are_score_intervals_of_one_effective_number() -> None:
    """At either end the share is z standard errors of that end away; the number behind them is the same everywhere."""
    gains = np.hstack([GAINS, GAINS[:, :1] - 0.5])
    profile = performance_profile(gains, STUDENTS, [-0.5, 0.5, 1.0, 2.0])
    z = scipy_stats.norm.ppf(0.975)
    ends, shares = profile[["low", "high"]].to_numpy(), profile[["share"]].to_numpy()
    numbers = z**2 * ends * (1 - ends) / (shares - ends) ** 2
    assert_allclose(numbers, numbers[0, 0])


def test_performance_profile() -> None:
    thresholds = [-50.0, 0.0, 1.0, 50.0]
    gains = np.hstack([GAINS, GAINS[:, :1] - 0.5])
    profile = performance_profile(gains, STUDENTS, thresholds)
    assert_allclose(profile["share"], [1.0, (gains > 0).mean(), (gains > 1).mean(), 0.0])
    inside = (0 <= profile["low"]) & (profile["low"] <= profile["share"]) & (profile["share"] <= profile["high"])
    assert inside.all() and (profile["high"] <= 1).all() and profile["low"][0] > 0.8
    assert performance_profile(GAINS, STUDENTS, thresholds)["low"].isna().all(), "not offered at four seeds"


def test_only_seeds_that_all_cells_have() -> None:
    x = GAINS.copy()
    x[3, 1] = np.nan
    assert mean_gain(x, STUDENTS) == mean_gain(np.delete(GAINS, 1, axis=1), STUDENTS)
    assert interquartile_mean(x, STUDENTS) == interquartile_mean(np.delete(GAINS, 1, axis=1), STUDENTS)


def test_nothing_to_say() -> None:
    one, none, equal = GAINS[:, :1], GAINS[:, :0], np.ones((4, 3))
    for x in (one, none, equal):
        names = range(len(x))
        for found in (mean_gain(x, names), mean_gain_of_pairs(x, names), interquartile_mean(x, names)):
            assert np.isnan(found[1:]).all()
        assert performance_profile(x, range(len(x)), [0.0])[["low", "high"]].isna().all(axis=None)
    assert mean_gain(one, STUDENTS).value == one.mean() and math.isnan(mean_gain(none, STUDENTS).value)
    assert math.isnan(interquartile_mean(none, range(9)).value)
    assert math.isnan(mean_gain_of_pairs(GAINS[:3], STUDENTS[:3]).low), "three pairs are no sample"
    assert math.isnan(interquartile_mean(GAINS[:2], STUDENTS[:2]).low), "of two cells there is no middle half"
    two, three = (mean_gain_of_pairs(GAINS[:, :seeds], STUDENTS) for seeds in (2, 3))
    assert math.isnan(two.low) and not math.isnan(three.low), "two seeds do not tell other pairs from other seeds"


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, (6, 4), elements=st.integers(-500, 500).map(lambda value: value / 200)),
    st.floats(-2, 2),
    st.floats(0.1, 2),
)
def test_order_does_not_matter_and_units_carry_over(x: np.ndarray, shift: float, scale: float) -> None:
    rng = np.random.default_rng(1)
    rows, seeds = rng.permutation(6), rng.permutation(4)
    other = scale * (x[rows][:, seeds] + shift)
    students = np.array([0, 0, 0, 1, 1, 1])
    ours, theirs = mean_gain(x, students), mean_gain(other, students[rows])
    if ours.high - ours.low > 1e-6:
        assert_allclose(theirs[:3], scale * (np.array(ours[:3]) + shift), rtol=1e-6, atol=1e-6)
    twice, other = np.vstack([x, 2 * x[::-1]]), np.vstack([other, 2 * other[::-1] - scale * shift])
    ours = mean_gain_of_pairs(twice, [*students, *students[::-1]])
    theirs = mean_gain_of_pairs(other, [*students[rows], *students[rows][::-1]])
    if ours.high - ours.low > 1e-6:
        assert_allclose(theirs[:3], scale * (np.array(ours[:3]) + shift), rtol=1e-6, atol=1e-6)
    moved = interquartile_mean(scale * (x + shift), students)
    assert_allclose(moved[:3], scale * (np.array(interquartile_mean(x, students)[:3]) + shift), rtol=1e-6, atol=1e-6)
    limits = np.array([-1.003, 0.507, 2.011])
    profile, moved_profile = (
        performance_profile(values, students, at) for values, at in ((x, limits), (x + 3, limits + 3))
    )
    pd.testing.assert_frame_equal(profile.drop(columns="threshold"), moved_profile.drop(columns="threshold"))
