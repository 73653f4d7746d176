"""One cell by itself: paired t, sign flips and BCa against hand-computed values, SciPy and slow literal versions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats as scipy_stats

from analysis.stats import bca, paired_t, sign_flip, sign_flip_offered

gain = st.floats(-20, 20).map(lambda value: round(value, 3))


def test_paired_t_by_hand() -> None:
    """Mean 2, variance 1, n 3: standard error 1/sqrt(3), t(0.975, 2) = 4.30265."""
    low, high, p = paired_t([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.30265 / math.sqrt(3), abs=1e-5)
    assert high == pytest.approx(2 + 4.30265 / math.sqrt(3), abs=1e-5)
    assert p == pytest.approx(0.07418, abs=1e-5)


@given(st.lists(st.tuples(gain, gain), min_size=2, max_size=12))
def test_paired_t_is_that_of_scipy(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    differences = ours - theirs
    low, high, p = paired_t(differences)
    if np.ptp(differences) < 1e-9:
        assert all(map(math.isnan, (low, high, p)))
        return
    expected = scipy_stats.ttest_rel(ours, theirs)
    interval = expected.confidence_interval(0.95)
    assert_allclose([low, high, p], [interval.low, interval.high, expected.pvalue], rtol=1e-7, atol=1e-12)


def test_no_interval_from_one_seed_or_none() -> None:
    assert all(map(math.isnan, paired_t([1.0]))) and all(map(math.isnan, paired_t([])))


def test_no_interval_from_equal_differences() -> None:
    """0.3 - 0.2 and 0.2 - 0.1 are the same number of images, though not the same floating-point number."""
    assert all(map(math.isnan, paired_t([0.3 - 0.2, 0.2 - 0.1])))


def test_sign_flip_by_hand() -> None:
    """1, 2, 3: of eight sums only 6 and -6 are as far from 0. 1, 2, -1 (sum 2): the sums 4, 2, 2 and their mirrors."""
    assert sign_flip([1.0, 2.0, 3.0]) == 2 / 8
    assert sign_flip([1.0, 2.0, -1.0]) == 6 / 8
    assert sign_flip([0.0, 0.0]) == sign_flip([]) == 1.0
    assert sign_flip(np.full(30, 0.1)) == 2.0**-29
    with pytest.raises(ValueError, match="41 differences: at most 40"):
        sign_flip(np.ones(41))


@given(st.lists(st.integers(-12, 12), min_size=1, max_size=9))
def test_sign_flip_is_the_literal_enumeration(values: list[int]) -> None:
    """Also in tenths, whose sums are rounded: ties must still count."""
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(values))
    ]
    expected = sum(abs(total) >= abs(sum(values)) for total in sums) / len(sums)
    assert sign_flip(values) == expected == sign_flip(np.array(values) / 10)


def test_sign_flip_is_that_of_scipy() -> None:
    x = np.random.default_rng(4).normal(0.6, 1, 11)
    expected = scipy_stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(x) == pytest.approx(expected.pvalue)


def test_sign_flips_are_offered_where_they_can_reject() -> None:
    """One cell: 2 / 2^6 < 0.05. 36 cells need 2 / 2^n <= 0.05 / 36."""
    assert [n for n in range(50) if sign_flip_offered(n, 1)] == list(range(6, 41))
    assert not sign_flip_offered(10, 36) and sign_flip_offered(11, 36)


def test_bca_is_that_of_scipy_and_only_from_20_seeds() -> None:
    x = np.random.default_rng(5).gamma(2.0, size=20)
    expected = scipy_stats.bootstrap((x,), np.mean, random_state=np.random.default_rng(9)).confidence_interval
    assert_allclose(bca(x), [expected.low, expected.high], atol=0.03)
    assert bca(x) == bca(x)
    assert all(map(math.isnan, (*bca(x[:19]), *bca(np.ones(20)))))
    low, high = bca(x, np.median)
    assert low < np.median(x) < high


@settings(max_examples=30, deadline=None)
@given(st.lists(gain, min_size=6, max_size=12), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_order_and_unit_do_not_matter(values: list[float], scale: float, random: object) -> None:
    x = np.array(values)
    assume(np.ptp(x) > 0.1)
    shuffled = np.random.default_rng(len(values)).permutation(x)
    assert sign_flip(-scale * shuffled) == sign_flip(x)
    low, high, p = paired_t(x)
    assert_allclose(paired_t(-scale * shuffled), [-scale * high, -scale * low, p], rtol=1e-6, atol=1e-9)
