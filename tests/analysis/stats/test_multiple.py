"""Holm and Benjamini-Hochberg: by hand, against statsmodels, and their properties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from analysis.stats import benjamini_hochberg, holm

p_value = st.floats(0, 1)


def test_holm_by_hand() -> None:
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(holm([0.5, np.nan, 0.01]), [0.5, np.nan, 0.02])
    assert holm([]).shape == (0,)


def test_benjamini_hochberg_by_hand() -> None:
    assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, 0.005]), [0.02, 0.04, 0.04, 0.02])
    assert_allclose(benjamini_hochberg([0.5, np.nan, 0.01]), [0.5, np.nan, 0.02])
    assert benjamini_hochberg([]).shape == (0,) and np.isnan(benjamini_hochberg([np.nan])).all()


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_as_statsmodels(ours: Callable[[ArrayLike], np.ndarray], theirs: str) -> None:
    """Also with ties, zeros and ones; of the p-values that are one: NaN is no test."""
    rng = np.random.default_rng(6)
    for count in (1, 2, 9, 36):
        p = np.concatenate([rng.random(count) ** 4, [0.0, 1.0, 0.03, 0.03, np.nan]])
        adjusted = ours(p)
        assert np.isnan(adjusted[-1])
        assert_allclose(adjusted[:-1], multipletests(p[:-1], method=theirs)[1], atol=1e-12)


@given(st.lists(p_value, min_size=1, max_size=20))
def test_properties(values: list[float]) -> None:
    """Never below p, never above Bonferroni or 1, in the order of p, Holm never below Benjamini-Hochberg."""
    p, strict, mild = np.array(values), holm(values), benjamini_hochberg(values)
    assert (mild >= p - 1e-15).all() and (strict >= mild - 1e-12).all()
    assert (strict <= np.minimum(1, p * len(p)) + 1e-15).all()
    for adjusted in (strict, mild):
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    order = np.random.default_rng(len(values)).permutation(len(values))
    assert_allclose(holm(p[order]), strict[order])
    assert_allclose(benjamini_hochberg(p[order]), mild[order])
