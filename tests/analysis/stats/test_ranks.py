"""Methods by rank: Demšar's published values, SciPy's Friedman test, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats as scipy_stats

from analysis.stats import alike, critical_difference, ranking

scores = st.tuples(st.integers(2, 8), st.integers(3, 6)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 30).map(float))
)


def test_critical_values_of_demsar() -> None:
    """Table 5(a) of Demšar 2006: q of Nemenyi's test at 0.05 and 0.10 for 2 to 10 methods."""
    unit = [math.sqrt(k * (k + 1) / 6) for k in range(2, 11)]
    at_5 = [critical_difference(k, 1) for k in range(2, 11)]
    at_10 = [critical_difference(k, 1, 0.90) for k in range(2, 11)]
    assert_allclose(np.divide(at_5, unit), [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164], atol=1.1e-3)
    assert_allclose(
        np.divide(at_10, unit), [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920], atol=1.1e-3
    )


def test_demsars_example() -> None:
    """Table 6: four methods, 14 data sets, mean ranks 3.143, 2.000, 2.893, 1.964; chi2 9.28, F 3.69, and a critical
    difference of 1.25 at 0.05 and 1.12 at 0.10, at which two pairs of groups differ."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.90) == pytest.approx(1.12, abs=0.005)
    assert alike([3.143, 2.000, 2.893, 1.964], 1.12) == ((3, 1, 2), (2, 0))


def test_ranking_by_hand() -> None:
    """Three methods, four blocks; ranks 1 2 3, 1 3 2, 1 2 3, 2 1 3: means 1.25, 2, 2.75, chi2 4.5, F 27/7."""
    found = ranking([[9, 5, 1], [9, 1, 5], [8, 7, 6], [7, 8, 6], [np.nan, 1, 2]])
    assert_allclose(found.mean_ranks, [1.25, 2, 2.75])
    assert found.blocks == 4 and found.chi2 == pytest.approx(4.5)
    assert found.f == pytest.approx(3 * 4.5 / (4 * 2 - 4.5))
    assert found.p == pytest.approx(scipy_stats.f.sf(found.f, 2, 6))
    assert found.groups == ((0, 1, 2),)


def test_perfect_agreement_has_the_exact_chance() -> None:
    found = ranking([[3, 2, 1]] * 4)
    assert math.isinf(found.f) and found.p == pytest.approx(6.0**-3)


def test_no_difference_at_all() -> None:
    found = ranking(np.ones((5, 3)))
    assert (found.chi2, found.f, found.p) == (0.0, 0.0, 1.0) and found.groups == ((0, 1, 2),)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1)])
def test_too_little_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 of each"):
        ranking(np.ones(shape))


def test_groups() -> None:
    assert alike([1.0, 1.4, 3.0, 3.3, 5.0], 1.0) == ((0, 1), (2, 3))
    assert alike([2.0, 1.0, 3.0], 1.0) == ((1, 0), (0, 2))
    assert alike([1.0, 3.0], 1.0) == () and alike([1.0, 2.0], 1.0) == ((0, 1),)


@settings(max_examples=60, deadline=None)
@given(scores)
def test_as_scipy_and_whatever_the_order(x: np.ndarray) -> None:
    found = ranking(x)
    if np.ptp(x, axis=1).any():
        assert found.chi2 == pytest.approx(scipy_stats.friedmanchisquare(*x.T).statistic, abs=1e-9)
    assert found.mean_ranks.sum() == pytest.approx(x.shape[1] * (x.shape[1] + 1) / 2)
    rng = np.random.default_rng(x.size)
    order = rng.permutation(x.shape[1])
    other = ranking(2 * x[rng.permutation(len(x))][:, order] + 1)
    assert_allclose(other.mean_ranks, found.mean_ranks[order])
    assert (other.p, other.f) == pytest.approx((found.p, found.f))
