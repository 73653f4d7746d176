"""Rank correlation within students: by hand, against SciPy, and its coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.stats.correlation import within


def test_of_one_student_it_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=9), rng.normal(size=9)
    found, theirs = within(x, y, ["s"] * 9), scipy_stats.spearmanr(x, y)
    assert found.rho == pytest.approx(theirs.statistic) and found.pairs == 9
    assert found.low < found.rho < found.high and found.p == pytest.approx(theirs.pvalue, abs=0.06)


def test_what_students_differ_in_does_not_count() -> None:
    """Within each of three students the order is turned; between them both rise together."""
    known = np.r_[1, 2, 3, 11, 12, 13, 21, 22, 23]
    gains = np.r_[3, 2, 1, 13, 12, 11, 23, 22, 21]
    found = within(known, gains, "aaabbbccc")
    assert found.rho == pytest.approx(-1) and found.p < 0.02 and found.high < -0.9
    np.testing.assert_allclose(within(known, gains + 5.0 * np.repeat([0, 1, 9], 3), "aaabbbccc"), found)


def test_nothing_to_say() -> None:
    assert np.isnan(within([1, 2, 3, 4], [1, 2, 3, 4], "abcd").rho), "one teacher each"
    assert np.isnan(within([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], "aaaaa").rho), "all teachers alike"
    assert within([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, np.nan, 1], "aaaaab").pairs == 4


def test_where_nothing_is_known_it_is_rarely_called_known() -> None:
    rng, hits, held = np.random.default_rng(2), 0, 0
    for _ in range(200):
        found = within(rng.normal(size=15), rng.normal(size=15), list("aaabbbcccdddeee"))
        hits, held = hits + (found.p <= 0.05), held + (found.low <= 0 <= found.high)
    assert hits / 200 <= 0.09 and held / 200 >= 0.91
