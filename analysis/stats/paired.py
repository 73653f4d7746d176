"""One cell by itself: the paired t, the sign-flip test and the BCa bootstrap of its gains, paired by seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy import stats as scipy_stats

from analysis.stats.offered import BCA_SEEDS, FLIP_SEEDS

LEVEL = 0.95
Array = NDArray[np.float64]

ROUNDING = 1e-9
"""Points: differences closer than that are the same number of test images, but for rounding."""

MOST = 100.0
"""Points: no gain is larger, and no loss."""

_RESAMPLES = 4999


def t_interval(mean: ArrayLike, variance: ArrayLike, df: ArrayLike, level: float = LEVEL) -> tuple[Array, Array, Array]:
    """(low, high, p) for each `mean`, whose own `variance` (not the sample's) is known on `df` degrees of freedom.

    All broadcast against each other. NaN where there is no degree of freedom. The test is two-sided against 0.
    """
    centre, error = np.asarray(mean, float), np.sqrt(np.asarray(variance, float))
    freedom = np.where(np.asarray(df, float) > 0, df, np.nan)
    half = special.stdtrit(freedom, (1 + level) / 2) * error
    return centre - half, centre + half, 2 * special.stdtr(freedom, -np.abs(centre) / error)


def possible(low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
    """The ends of intervals of gains, in points, cut where no gain can be: scores are percent."""
    return np.clip(low, -MOST, MOST), np.clip(high, -MOST, MOST)


def all_equal(values: Array) -> bool:
    """Whether all `values` (points, any shape, not empty) are equal but for rounding."""
    return bool(np.ptp(values) < ROUNDING)


def paired_t(differences: ArrayLike, level: float = LEVEL) -> tuple[float, float, float]:
    """(low, high, p) of the paired t test on the `differences` [n] of one cell.

    NaN where the data carry none: fewer than two differences, or all of them equal (accuracies are multiples of one
    test image, so equal differences do occur; an interval of width zero would be a lie).
    """
    x = np.asarray(differences, float)
    if len(x) < 2 or all_equal(x):
        return (float("nan"),) * 3
    low, high, p = t_interval(x.mean(), x.var(ddof=1) / len(x), len(x) - 1, level)
    return float(low), float(high), float(p)


def sign_flip_offered(n: int, tests: int, level: float = LEVEL) -> bool:
    """Whether the smallest p of `n` seeds, 2 / 2^n, can pass the first step of Holm's correction over `tests` cells."""
    return n <= FLIP_SEEDS and 2.0 ** (1 - n) * max(tests, 1) <= 1 - level + 1e-12


def sign_flip(differences: ArrayLike) -> float:
    """Two-sided p of the `differences` [n] under all 2^n assignments of signs (Fisher 1935, "The Design of
    Experiments", section 21): the share whose sum is at least as far from 0 as the observed one.

    Exact, and valid for any distribution that is symmetric around 0. The sums of the two halves of the seeds are
    counted against each other, so that 2^(n/2) of them are kept. Raises ValueError for more than FLIP_SEEDS.
    """
    x = np.asarray(differences, float)
    if len(x) > FLIP_SEEDS:
        raise ValueError(f"sign_flip of {len(x)} differences: at most {FLIP_SEEDS}")
    target = abs(float(x.sum())) - 1e-9 * float(np.abs(x).sum())
    if target <= 0:
        return 1.0
    left, right = _signed_sums(x[: len(x) // 2]), np.sort(_signed_sums(x[len(x) // 2 :]))
    above = len(right) - np.searchsorted(right, target - left, side="left")
    below = np.searchsorted(right, -target - left, side="right")
    return float(np.sum(above + below)) / 2.0 ** len(x)


def bca(values: ArrayLike, statistic: Callable[..., Array] = np.mean, level: float = LEVEL) -> tuple[float, float]:
    """(low, high) of the bias-corrected and accelerated bootstrap (Efron 1987) of `statistic` of the `values` [n].

    `statistic` takes `axis`, as NumPy's do. The same values, the same interval. NaN for fewer than BCA_SEEDS values,
    where it covers too little, and where all of them are equal.
    """
    x = np.asarray(values, float)
    if len(x) < BCA_SEEDS or all_equal(x):
        return float("nan"), float("nan")
    found = scipy_stats.bootstrap(
        (x,), statistic, n_resamples=_RESAMPLES, confidence_level=level, random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def _signed_sums(x: Array) -> Array:
    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums + value, sums - value])
    return sums
