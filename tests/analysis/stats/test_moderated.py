"""The moderated t: hand-computed values, properties. Its coverage is simulated in test_coverage.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special
from scipy import stats as scipy_stats

from analysis.stats import effective_cells, estimate_prior, moderated_t, paired_t, trigamma_inverse

gain = st.floats(-20, 20).map(lambda value: round(value, 3))


@given(st.floats(-9, 9))
def test_trigamma_inverse(exponent: float) -> None:
    value = 10**exponent
    assert special.polygamma(1, trigamma_inverse(value)) == pytest.approx(value, rel=1e-6)


def test_effective_cells() -> None:
    assert effective_cells(["a", "b", "c"]) == 3
    assert effective_cells(["a", "a", "a"]) == pytest.approx(9 / (3 + 6 * 0.25))
    assert effective_cells([("s", i // 3) for i in range(9)]) == pytest.approx(81 / (9 + 3 * 6 * 0.25))


def test_equal_variances_are_pooled_fully() -> None:
    prior = estimate_prior([1.0, 1.1, 0.9, 1.0], [4, 4, 4, 4], "abcd")
    assert math.isinf(prior.df) and prior.variance == pytest.approx(1.0) and prior.cap == 16
    uneven = estimate_prior([1.0, 1.1, 0.9, 1.4], [4, 4, 4, 8], "abcd")
    assert math.isinf(uneven.df) and uneven.variance == pytest.approx((4 * 3.0 + 8 * 1.4) / 20)


def test_the_prior_matches_the_moments_of_log_variances() -> None:
    """With d = 2, e = log s2 + Euler's constant and trigamma(1) = pi²/6 are known in closed form."""
    s2 = np.array([0.01, 0.2, 3.0, 80.0, 900.0])
    e = np.log(s2) + np.euler_gamma
    spread = e.var(ddof=1) - np.pi**2 / 6
    prior = estimate_prior(s2, [2] * 5, "abcde")
    d0 = 2 * trigamma_inverse(spread)
    assert prior.variance == pytest.approx(math.exp(e.mean() + special.digamma(d0 / 2) - math.log(d0 / 2)))
    assert 1 / prior.df == pytest.approx(1 / d0 + (np.pi**2 / 6 + spread) / 5 / 2)
    assert prior.cap == 10


@pytest.mark.parametrize("own", [(2, 2), (1, 8)])
def test_the_prior_is_found_in_many_cells(own: tuple[int, int]) -> None:
    """Also where cells have different numbers of seeds."""
    rng, df = np.random.default_rng(3), np.tile(own, 10_000)
    true = 2.0 * 6 / rng.chisquare(6, 20_000)
    s2 = true * rng.chisquare(df) / df
    prior = estimate_prior(s2, df, range(20_000))
    assert prior.df == pytest.approx(6, rel=0.1) and prior.variance == pytest.approx(2.0, rel=0.05)


def test_cells_of_a_student_bring_fewer_degrees_of_freedom() -> None:
    assert estimate_prior([1.0, 1.1, 0.9], [4, 4, 4], "aab").cap == pytest.approx(4 * 9 / (3 + 2 * 0.25))


def test_a_variance_lies_between_the_cells_own_and_that_of_all() -> None:
    """(d0 s0² + d s²) / (d0 + d) on d0 + d degrees of freedom: the more seeds a cell has, the more it counts itself."""
    differences = [[0.0, 0.1, 0.2], [0.0, 3.0, 5.0, 4.0], [1.0, 2.0, 9.0], [0.0, 20.0, -20.0], [4.0, 4.5]]
    s2, n = np.array([np.var(x, ddof=1) for x in differences]), np.array(list(map(len, differences)))
    prior = estimate_prior(s2, n - 1, "abcde")
    assert 0 < prior.df < prior.cap
    table = moderated_t(differences, "abcde")
    assert_allclose(table["error"] ** 2 * n, (prior.df * prior.variance + (n - 1) * s2) / (prior.df + n - 1))
    assert_allclose(table["df"], np.minimum(prior.df + n - 1, prior.cap))


def test_moderated_t_by_hand_with_full_pooling() -> None:
    """Four cells of equal spread: s² = 2 (differences m ± 1), four effective cells, so 4 degrees of freedom."""
    table = moderated_t([[0, 2], [1, 3], [4, 2], [9, 11]], "abcd")
    half = scipy_stats.t.ppf(0.975, 4) * math.sqrt(2 / 2)
    assert_allclose(table["mean"], [1, 2, 3, 10])
    assert_allclose(table["low"], table["mean"] - half)
    assert_allclose(table["high"], table["mean"] + half)
    assert_allclose(table["p"], 2 * scipy_stats.t.sf(table["mean"], 4))
    assert list(table["n"]) == [2] * 4 and list(table["df"]) == [4] * 4


def test_a_single_seed_takes_the_variance_of_the_others() -> None:
    table = moderated_t([[0, 2], [1, 3], [4, 2], [9, 11], [5]], "abcde")
    half = scipy_stats.t.ppf(0.975, 4) * math.sqrt(2)
    assert (table["low"][4], table["high"][4]) == pytest.approx((5 - half, 5 + half))
    assert math.isnan(table["std"][4])


def test_too_few_cells_stand_alone() -> None:
    differences = [[1.0, 2.0, 3.5], [0.0, 1.0]]
    table = moderated_t([*differences, [4.0], []], "abcd")
    for row, x in enumerate(differences):
        assert_allclose(table.loc[row, ["low", "high", "p"]].to_numpy(float), paired_t(x))
    assert table.loc[2:, ["low", "high", "p"]].isna().all(axis=None)
    assert table["mean"][2] == 4.0 and math.isnan(table["mean"][3])


def test_equal_differences_do_not_give_certainty() -> None:
    """Two seeds that gain the same number of test images: the rounding alone leaves resolution² / 6."""
    table = moderated_t([[1.0, 1.0]], "a", resolution=0.5)
    half = scipy_stats.t.ppf(0.975, 1) * math.sqrt(0.25 / 6 / 2)
    assert table["high"][0] - 1.0 == pytest.approx(half)


def test_missing_seeds_may_be_nan() -> None:
    ragged = moderated_t([[1.0, 2.0, 4.0], [3.0], [0.5, 1.5], [], [2.0, 2.5, 2.0]], "aabbc")
    nan = np.nan
    square = [[1.0, 2.0, 4.0], [nan, 3.0, nan], [0.5, nan, 1.5], [nan] * 3, [2.0, 2.5, 2.0]]
    assert_allclose(moderated_t(np.array(square), "aabbc").to_numpy(float), ragged.to_numpy(float))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(gain, min_size=0, max_size=5), min_size=1, max_size=12),
    st.floats(-5, 5),
    st.floats(0.1, 10),
    st.randoms(use_true_random=False),
)
def test_moderated_t_properties(cells: list[list[float]], shift: float, scale: float, random: object) -> None:
    """Order does not matter, a shift moves the interval, a change of unit scales it, its centre is the mean."""
    names = [f"student {i // 3}" for i in range(len(cells))]
    table = moderated_t(cells, names, 0.3)
    order = np.random.default_rng(len(cells)).permutation(len(cells))
    permuted = moderated_t([cells[i] for i in order], [names[i] for i in order], 0.3)
    assert_allclose(permuted.to_numpy(float), table.iloc[order].to_numpy(float), rtol=1e-6, atol=1e-9)
    moved = moderated_t([[scale * (x + shift) for x in cell] for cell in cells], names, 0.3 * scale)
    for column in ("mean", "low", "high"):
        assert_allclose(moved[column], scale * (table[column] + shift), rtol=1e-5, atol=1e-5)
    known = table.dropna(subset="low")
    assert_allclose((known["low"] + known["high"]) / 2, known["mean"], atol=1e-6)
    assert ((known["low"] > 0) | (known["high"] < 0)).tolist() == (known["p"] < 0.05).tolist()
