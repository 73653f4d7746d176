"""Seeds x test images against a two-way analysis of variance by statsmodels, and by hand."""

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
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from analysis.stats import cell_statistics, image_part, seeds_and_images

differences = st.tuples(st.integers(2, 5), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 1))
)


def mean_squares(x: np.ndarray) -> tuple[float, float]:
    """Of the images and of the rest, from statsmodels."""
    seed, image = np.indices(x.shape)
    frame = pd.DataFrame({"y": x.ravel().astype(float), "seed": seed.ravel(), "image": image.ravel()})
    table = anova_lm(ols("y ~ C(seed) + C(image)", frame).fit())
    return table.loc["C(image)", "mean_sq"], table.loc["Residual", "mean_sq"]


def test_by_hand() -> None:
    """Two seeds that agree on four images, +1 +1 0 0: all variance is between images, 1/3 each, so 1/3 / 4."""
    variance, df = image_part(np.array([[1, 1, 0, 0], [1, 1, 0, 0]], np.int8))
    assert variance == pytest.approx(1 / 12) and df == pytest.approx(3)


def test_images_that_differ_no_more_than_the_rest_add_nothing() -> None:
    assert image_part(np.array([[1, 0], [0, 1]], np.int8)) == (0.0, 1.0)
    assert image_part(np.zeros((3, 5), np.int8)) == (0.0, 1.0)


def test_one_seed_leaves_no_rest() -> None:
    assert all(map(math.isnan, image_part(np.ones((1, 9), np.int8))))
    assert all(map(math.isnan, image_part(np.ones((3, 1), np.int8))))


def test_as_statsmodels() -> None:
    rng = np.random.default_rng(7)
    x = np.clip(np.round(rng.normal(0.2, 0.5, (3, 40)) + rng.normal(0, 0.6, 40)), -1, 1).astype(np.int8)
    images, rest = mean_squares(x)
    variance, df = image_part(x)
    assert variance == pytest.approx((images - rest) / x.size)
    assert df == pytest.approx((images - rest) ** 2 / (images**2 / 39 + rest**2 / 78))


@settings(max_examples=60, deadline=None)
@given(differences)
def test_is_the_literal_two_way_table(x: np.ndarray) -> None:
    n, images = x.shape
    residual = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
    ms_images = n * x.mean(axis=0).var(ddof=1)
    ms_rest = (residual**2).sum() / ((n - 1) * (images - 1))
    variance, _ = image_part(x)
    assert variance == pytest.approx(max(ms_images - ms_rest, 0) / x.size, abs=1e-9)
    rng = np.random.default_rng(images)
    assert image_part(-x[rng.permutation(n)][:, rng.permutation(images)]) == pytest.approx(image_part(x))


def test_the_two_parts_by_hand() -> None:
    """Variances 1 on 2 degrees and 3 on 30: 4 on 16 / (1/2 + 9/30) = 20. Without images: the seeds' own t."""
    low, high, p = seeds_and_images([5.0, 5.0, 5.0], [1.0, 1.0, np.nan], 2.0, [3.0, 0.0, 1.0], [30.0, 1.0, 9.0])
    assert_allclose([low[0], high[0]], [5 - 2 * scipy_stats.t.ppf(0.975, 20), 5 + 2 * scipy_stats.t.ppf(0.975, 20)])
    assert_allclose([low[1], high[1]], [5 - scipy_stats.t.ppf(0.975, 2), 5 + scipy_stats.t.ppf(0.975, 2)])
    assert p[0] == pytest.approx(2 * scipy_stats.t.sf(2.5, 20)) and np.isnan([low[2], high[2], p[2]]).all()


def test_what_is_hardly_known_of_the_images_does_not_undo_the_seeds() -> None:
    """Images that differ hardly more than the rest: their part has nearly no degrees of freedom, the sum has."""
    low, high, p = seeds_and_images([5.0], [1.0], [9.0], [0.5], [1e-3], [2.0])
    half = scipy_stats.t.ppf(0.975, 2) * math.sqrt(1.5)
    assert_allclose([low[0], high[0]], [5 - half, 5 + half])
    assert p[0] == pytest.approx(2 * scipy_stats.t.sf(5 / math.sqrt(1.5), 2))


def test_independent_bits_of_noisy_and_quiet_cells() -> None:
    """Right or wrong by chance alone in every run, one cell noisier than the others: no interval bursts."""
    rng = np.random.default_rng(8)
    bits = rng.random((40, 3, 360)) < 0.8
    other = rng.random((40, 3, 360)) < (0.8 + 0.05 * rng.standard_normal((40, 3, 1)))
    cells = bits.astype(np.int8) - other.astype(np.int8)
    parts = np.array([image_part(cell) for cell in cells]) * [100**2, 1]
    table = cell_statistics(100 * cells.mean(axis=2), list(range(40)), 100 / 360, parts)
    half = (table["images_high"] - table["images_low"]) / 2
    assert half.notna().all() and (half < 4 * (table["high"] - table["low"])).all()
