"""The moderated t: intervals for paired gains from very few seeds, with the variance pooled over cells.

With two or three seeds a cell's own variance says little. The moderated t (Smyth 2004, "Linear models and empirical
Bayes methods for assessing differential expression in microarray experiments", section 6.2) takes the cells' true
variances as draws from a scaled inverse chi-square with d0 degrees of freedom around s0², estimates both from the
cells' sample variances by matching the moments of their logarithms, and uses (d0 s0² + d s²) / (d0 + d) on d0 + d
degrees of freedom. Three things are done differently, because a study has ten cells where the paper has ten thousand:

* Cells compared with the same baseline runs (all teachers and methods of one student share its scratch runs) have
  correlated sample variances. With equal variances in both arms two such gains correlate by 1/2 and their sample
  variances by 1/4, so G cells count as G² / (sum of squared correlations) cells.
* The prior is itself an estimate: 1/d0 is increased by 1/nu, where nu are the degrees of freedom that carry the error
  of log s0² (its variance set equal to 2/nu). Without it 3 x 3 unequal cells at n = 2 are covered 92.7 %, not 94.1 %.
* Where the cells show no spread of variances beyond chance (d0 infinite), s0² is the plain pooled variance, and the
  degrees of freedom are never more than those of the effective number of cells.

Measured coverage of the 95 % interval, in percent of cells, 4,000 simulated studies each, scratch runs shared by the
cells of a student; "unequal": each arm's variance drawn from an inverse chi-square with 4 degrees of freedom:

    students x cells each       n = 2    n = 3    n = 5        n = 2    n = 3    n = 5
                                equal variances                unequal variances
    3 x 3  ( 9 cells)            95.3     94.5     94.5         94.1     94.0     94.2
    3 x 6  (18 cells)            95.8     94.9     95.0         94.9     94.4     94.6
    9 x 1  ( 9 cells)            94.5     94.7     94.8         93.6     93.6     94.2
    3 x 12 (36 cells)            96.2     95.1     95.0         95.5     94.7     94.7

These are averages over cells: with unequal variances a noisy cell is covered less often than a quiet one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.stats.paired import LEVEL, Array, t_interval

SHARED_VARIANCE_CORRELATION = 0.25
"""Correlation of two cells' sample variances when their gains share a baseline: (1/2)², for equal variances."""

MIN_POOLED_CELLS = 3
"""A spread of variances cannot be estimated from fewer cells; below, each cell stands alone."""


@dataclass(frozen=True)
class Prior:
    """What the study's cells say together about the variance of a gain.

    `variance` is s0² (squared units of the gain), `df` its degrees of freedom d0 (may be infinite; 0 means there is
    no prior), `cap` the degrees of freedom of all effective cells, which no interval exceeds.
    """

    variance: float
    df: float
    cap: float


def trigamma_inverse(value: float) -> float:
    """The x > 0 with trigamma(x) = value > 0: Newton's iteration on 1 / trigamma, which is convex (Smyth, appendix)."""
    if not value > 0:
        raise ValueError(f"trigamma_inverse({value}): must be positive")
    if value > 1e7 or value < 1e-6:
        return float(value**-0.5 if value > 1 else 1 / value)
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma, tetragamma = float(special.zeta(2, x)), -2 * float(special.zeta(3, x))
        step = trigamma * (1 - trigamma / value) / tetragamma
        x += step
        if abs(step) < 1e-12 * x:
            break
    return x


def effective_cells(baselines: Sequence[Hashable]) -> float:
    """How many independent cells those are, given which baseline each is compared with; between 1 and their number."""
    count = len(baselines)
    sizes = pd.Series(list(map(hash, baselines))).value_counts().to_numpy(float)
    shared = float(np.sum(sizes * (sizes - 1)))
    return count**2 / (count + SHARED_VARIANCE_CORRELATION * shared)


def estimate_prior(variances: ArrayLike, df: ArrayLike, baselines: Sequence[Hashable]) -> Prior:
    """The prior from cells with sample `variances` (positive) on `df` >= 1 degrees of freedom each."""
    s2, d = np.asarray(variances, float), np.asarray(df, float)
    if len(s2) < MIN_POOLED_CELLS:
        return Prior(float("nan"), 0.0, float("inf"))
    count = effective_cells(baselines)
    cap = float(d.mean()) * count
    centred = np.log(s2) - special.digamma(d / 2) + np.log(d / 2)
    spread = float(centred.var(ddof=1) - special.polygamma(1, d / 2).mean())
    if spread <= 0:
        return Prior(float(np.average(s2, weights=d)), float("inf"), cap)
    d0 = 2 * trigamma_inverse(spread)
    variance = float(np.exp(centred.mean() + special.digamma(d0 / 2) - np.log(d0 / 2)))
    error = float(special.polygamma(1, d / 2).mean() + spread) / count
    return Prior(variance, 1 / (1 / d0 + error / 2), cap)


def moderated_t(
    differences: Sequence[ArrayLike] | Array,
    baselines: Sequence[Hashable],
    resolution: float = 0.0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """One row per cell, in order, from its paired `differences`: one array [n] a cell (n may differ and may be 0), or
    an array [cells, seeds] with NaN where a seed is missing.

    `baselines` names what each cell is compared with; equal names mean shared baseline runs. `resolution` is the
    gain of one more correct test image: a variance below what rounding both scores to it would cause
    (resolution² / 6) is raised to that. Columns: n, mean, std, low, high, p, df, and `error`, the standard error of
    the mean that interval and p are made of. A cell of one seed gets the interval that the pooled variance of the
    other cells gives; where there is no pool (fewer than three cells with two seeds) its interval is NaN.
    """
    x = stack(differences)
    n = np.count_nonzero(~np.isnan(x), axis=1)
    known = n > 1
    mean = np.where(n > 0, np.nansum(x, axis=1) / np.maximum(n, 1), np.nan)
    s2 = np.where(known, np.nansum((x - mean[:, None]) ** 2, axis=1) / np.maximum(n - 1, 1), np.nan)
    std = np.sqrt(s2)
    floor = max(resolution**2 / 6, 1e-5 * float(np.median(s2[known])) if known.any() else 0.0, 1e-12)
    s2 = np.where(known, np.maximum(s2, floor), np.nan)
    own = [baseline for baseline, use in zip(baselines, known, strict=True) if use]
    prior = estimate_prior(s2[known], n[known] - 1, own)
    posterior, df = _posterior(prior, s2, n - 1)
    variance = posterior / np.maximum(n, 1)
    low, high, p = t_interval(mean, variance, df, level)
    values = {"n": n, "mean": mean, "std": std, "low": low, "high": high, "p": p, "df": df}
    return pd.DataFrame(values | {"error": np.sqrt(variance)})


def stack(differences: Sequence[ArrayLike] | Array) -> Array:
    """Arrays [n] of differing n as one array [cells, most seeds], filled up with NaN."""
    if isinstance(differences, np.ndarray) and differences.ndim == 2:
        return differences.astype(float, copy=False)
    arrays = [np.asarray(x, float) for x in differences]
    stacked = np.full((len(arrays), max(map(len, arrays), default=0)), np.nan)
    for row, values in zip(stacked, arrays, strict=True):
        row[: len(values)] = values
    return stacked


def _posterior(prior: Prior, s2: Array, df: NDArray[np.int64]) -> tuple[Array, Array]:
    """Each cell's moderated variance and its degrees of freedom; NaN where neither cell nor prior has any."""
    own = np.maximum(df, 0)
    if prior.df == 0:
        return np.where(df > 0, s2, np.nan), np.where(df > 0, df, np.nan)
    known = np.where(df > 0, s2, 0.0)
    weight = 0.0 if np.isinf(prior.df) else own / (prior.df + own)
    total = np.minimum(prior.df + own, prior.cap)
    return (1 - weight) * prior.variance + weight * known, np.where(df < 0, np.nan, total)
