"""Over several cells: the mean gain, its interquartile mean and its performance profile, with intervals.

`gains` is always [cells, seeds] in points, paired by seed, one cell a pair of teacher and student, with NaN
where a seed is missing; only seeds that all cells have are used. Two questions, two answers:

* these pairs, other seeds: `mean_gain`, `interquartile_mean`, `performance_profile`. Nothing is said about pairs that
  were not run.
* pairs like these, same procedure: `mean_gain_of_pairs`, which takes the pairs as a random sample and is wider. Pairs
  of one study share teachers and students, so "like these" means: of these kinds of models.

The cells of a student share its scratch runs: its seeds are kept whole. Different students are taken as independent.
What these still share is the order of images and the teacher of a seed, which moves a student's gain far less than its
own initial weights. One convention for the degrees of freedom of all, `freedom`: those of the students' parts, weighted
as parts weigh where all runs have one variance, (sum of w)² / (sum of w²) (n - 1) with w = c (c + 1) for c cells. That
is students x (n - 1) where all have as many cells, and never below the n - 1 of a single student. The number of
students alone would promise too much where one has most cells: 86 % for 1, 1 and 10 cells at n = 2.

Three things differ from the stratified bootstrap of Agarwal et al. 2021 ("Deep reinforcement learning at the edge of
the statistical precipice"), whose percentile interval covers 55 to 86 % here: seeds are drawn jointly for all cells of
a student; n - 1 of n are drawn, without which variances come out too small by (n - 1) / n (Rao and Wu 1988,
"Resampling inference with complex survey data", section 2); and the bootstrap gives a variance only: the quantile is
that of Student's t.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from analysis.stats.images import satterthwaite
from analysis.stats.offered import PAIR_CELLS, PAIR_SEEDS, PROFILE_SEEDS, QUARTILE_CELLS, QUARTILE_SEEDS
from analysis.stats.paired import LEVEL, ROUNDING, Array, all_equal, possible, t_interval

RESAMPLES = 2000
_NAN = float("nan")


class Estimate(NamedTuple):
    """A value over several cells with its interval, in points, and the two-sided p against 0."""

    value: float
    low: float
    high: float
    p: float


def mean_gain(gains: ArrayLike, students: Sequence[Hashable], level: float = LEVEL) -> Estimate:
    """These pairs, other seeds: a t interval on the variance over seeds of each student's part of the mean (`students`
    [cells] names each one's student), summed over the students.

    NaN interval for fewer than two complete seeds, or where no student's part differs between them."""
    x = complete(gains)
    if x.shape[1] < 2:
        return _unknown(_mean(x))
    variance = float(variance_parts(x, students).sum())
    return _estimate(float(x.mean()), variance, freedom(students, x.shape[1]), level)


def mean_gain_of_pairs(gains: ArrayLike, students: Sequence[Hashable], level: float = LEVEL) -> Estimate:
    """Pairs like these, same procedure: the mean over cells (`students` [cells] names each one's student), pairs and
    seeds both random.

    With P pairs, B = (variance of the pairs' means) / P holds the variance over pairs and, but for what pairs of a seed
    share, that over seeds. A is the variance of the mean over seeds, summed over the students' parts, and T the mean
    variance of one pair's mean over seeds. Then B + (P A - T) / (P - 1) is unbiased for the variance of the mean
    whatever runs the cells of a student share; it is never taken below A. Degrees of freedom by Satterthwaite from A
    and the rest, never more than the average of theirs, weighted by the two. A t interval over the pairs' means alone,
    with the error sqrt(B), covers 54 to 94 % where scratch runs are shared.

    NaN interval for fewer than PAIR_CELLS cells or PAIR_SEEDS complete seeds.
    """
    x = complete(gains)
    pairs, n = x.shape
    if pairs < PAIR_CELLS or n < PAIR_SEEDS or all_equal(x):
        return _unknown(_mean(x))
    over_seeds = float(variance_parts(x, students).sum())
    own = float(x.var(axis=1, ddof=1).mean()) / n
    whole = float(x.mean(axis=1).var(ddof=1)) / pairs + (pairs * over_seeds - own) / (pairs - 1)
    over_pairs = max(whole - over_seeds, 0.0)
    known = (freedom(students, n), pairs - 1)
    if over_seeds + over_pairs < ROUNDING**2:
        return _unknown(_mean(x))
    variance, df = satterthwaite(over_seeds, known[0], over_pairs, known[1])
    most = np.average(known, weights=(over_seeds, over_pairs))
    return _estimate(float(x.mean()), float(variance), float(min(df, most)), level)


def interquartile_mean(
    gains: ArrayLike, students: Sequence[Hashable], level: float = LEVEL, resamples: int = RESAMPLES
) -> Estimate:
    """These pairs, other seeds: the mean of the middle half of all cells' and seeds' gains (`students` [cells] names
    each cell's student), with the interval of the module's bootstrap. The same gains, the same interval.

    NaN interval for fewer than QUARTILE_CELLS cells or QUARTILE_SEEDS complete seeds."""
    x = complete(gains)
    value = trimmed_mean(x)
    if x.shape[0] < QUARTILE_CELLS or x.shape[1] < QUARTILE_SEEDS or all_equal(x):
        return _unknown(value)
    variance = float(_middle(_bootstrap(x, students, resamples)).var(ddof=1))
    return _estimate(value, variance, freedom(students, x.shape[1]), level)


def performance_profile(
    gains: ArrayLike,
    students: Sequence[Hashable],
    thresholds: ArrayLike,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """These pairs, other seeds: for each threshold (points) the `share` in [0, 1] of all cells' and seeds'
    gains above it (Dolan and Moré 2002; Agarwal et al. 2021), with a pointwise interval `low`, `high`.

    The interval is Wilson's score interval (1927) with an effective number of gains (Korn and Graubard 1998): their
    number over the design effect, which is the bootstrap's variance at the nine deciles over that of as many
    independent gains. A share near 0 or 1 has next to no variance of its own: an interval from that covers 64 %.
    NaN interval for fewer than PROFILE_SEEDS complete seeds.
    Columns: threshold, share, low, high.
    """
    x, limits = complete(gains), np.asarray(thresholds, float)
    share = _shares(x.ravel(), limits) if x.size else np.full(limits.shape, _NAN)
    enough = x.shape[1] >= PROFILE_SEEDS
    number = _effective_number(x, _bootstrap(x, students, resamples)) if enough else _NAN
    z = float(special.ndtri((1 + level) / 2))
    shrink = 1 + z**2 / number
    centre = (share + z**2 / (2 * number)) / shrink
    half = z / shrink * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    return pd.DataFrame({"threshold": limits, "share": share, "low": low, "high": high})


def trimmed_mean(gains: ArrayLike) -> float:
    """The interquartile mean of all values of `gains`: without the lowest and the highest quarter; NaN if empty."""
    x = np.asarray(gains, float)
    return float(_middle(x.ravel())) if x.size else _NAN


def freedom(students: Sequence[Hashable], n: int) -> float:
    """The degrees of freedom of a variance over `n` seeds summed over the `students` of cells (one name a cell)."""
    cells = pd.Series(list(students), dtype=object).value_counts().to_numpy(float)
    weight = cells * (cells + 1)
    return float(weight.sum() ** 2 / np.sum(weight**2) * (n - 1))


def complete(gains: ArrayLike) -> Array:
    """`gains` [cells, seeds] without the seeds that a cell lacks."""
    x = np.asarray(gains, float)
    return x[:, ~np.isnan(x).any(axis=0)]


def variance_parts(x: Array, students: Sequence[Hashable]) -> Array:
    """The variance over seeds that each student's cells give the mean over all cells of `x` [cells, seeds]."""
    student = pd.factorize(pd.Series(list(students), dtype=object))[0]
    sums = pd.DataFrame(x).groupby(student).sum() / len(x)
    return sums.var(axis=1, ddof=1).to_numpy(float) / x.shape[1]


def _estimate(value: float, variance: float, df: float, level: float) -> Estimate:
    """No interval of width zero: equal numbers of images on every seed are chance, not certainty."""
    if not variance >= ROUNDING**2:
        return _unknown(value)
    low, high, p = t_interval(value, variance, df, level)
    low, high = possible(low, high)
    return Estimate(value, float(low), float(high), float(p))


def _unknown(value: float) -> Estimate:
    return Estimate(value, _NAN, _NAN, _NAN)


def _mean(x: Array) -> float:
    return float(x.mean()) if x.size else _NAN


def _middle(x: Array) -> Array:
    """The interquartile mean along the last axis."""
    size = x.shape[-1]
    cut = size // 4
    return np.partition(x, (cut, size - cut - 1))[..., cut : size - cut].mean(axis=-1)


def _shares(x: Array, thresholds: Array) -> Array:
    """The share of the values along the last axis above each threshold: [..., thresholds]."""
    return np.stack([np.count_nonzero(x > limit, axis=-1) / x.shape[-1] for limit in thresholds], axis=-1)


def _effective_number(x: Array, drawn: Array) -> float:
    """How many independent gains would give the shares above the deciles of `x` the variance they have in `drawn`."""
    deciles = np.quantile(x, np.arange(1, 10) / 10)
    share, variance = _shares(x.ravel(), deciles), float(_shares(drawn, deciles).var(axis=0, ddof=1).sum())
    return float(np.sum(share * (1 - share))) / variance if variance > 0 else _NAN


def _bootstrap(x: Array, students: Sequence[Hashable], resamples: int) -> Array:
    """The values [resamples, cells x (n - 1)] of that many draws of n - 1 of the n seeds of each student, the same
    seeds for all its cells; the same draws at each call."""
    cells, n = x.shape
    student, names = pd.factorize(pd.Series(list(students), dtype=object))
    draws = np.random.default_rng(0).integers(n, size=(resamples, len(names), n - 1))
    return x[np.arange(cells)[:, None], draws[:, student]].reshape(resamples, -1)
