"""Intervals for paired gains from very few seeds: plain paired t, and moderated t with the variance pooled over cells.

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

LEVEL = 0.95
SHARED_VARIANCE_CORRELATION = 0.25
"""Correlation of two cells' sample variances when their gains share a baseline: (1/2)², for equal variances."""

MIN_POOLED_CELLS = 3
"""A spread of variances cannot be estimated from fewer cells; below, each cell stands alone."""

Array = NDArray[np.float64]


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


def paired_t(differences: ArrayLike, level: float = LEVEL) -> tuple[float, float, float]:
    """(low, high, p) of the paired t test on the `differences` [n] of one cell.

    NaN where the data carry none: fewer than two differences, or all of them equal (accuracies are multiples of one
    test image, so equal differences do occur; an interval of width zero would be a lie).
    """
    x = np.asarray(differences, float)
    if len(x) < 2 or np.ptp(x) == 0:
        return (float("nan"),) * 3
    low, high, p = _t_interval(x.mean(keepdims=True), x.var(ddof=1, keepdims=True), len(x), len(x) - 1, level)
    return float(low[0]), float(high[0]), float(p[0])


def moderated_t(
    differences: Sequence[ArrayLike],
    baselines: Sequence[Hashable],
    resolution: float = 0.0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """One row per cell, in order, from its paired `differences` (one array [n] a cell, n may differ and may be 0).

    `baselines` names what each cell is compared with; equal names mean shared baseline runs. `resolution` is the
    gain of one more correct test image: a variance below what rounding both accuracies to it would cause
    (resolution² / 6) is raised to that. Columns: n, mean, std, low, high, p, df. A cell of one seed gets the interval
    that the pooled variance of the other cells gives; where there is no pool (fewer than three cells with two seeds)
    its interval is NaN.
    """
    arrays = [np.asarray(x, float) for x in differences]
    n = np.array([len(x) for x in arrays])
    s2 = np.array([x.var(ddof=1) if len(x) > 1 else np.nan for x in arrays])
    known = n > 1
    floor = max(resolution**2 / 6, 1e-5 * float(np.median(s2[known])) if known.any() else 0.0, 1e-12)
    s2 = np.where(known, np.maximum(s2, floor), np.nan)
    own = [baseline for baseline, use in zip(baselines, known, strict=True) if use]
    prior = estimate_prior(s2[known], n[known] - 1, own)
    posterior, df = _posterior(prior, s2, n - 1)
    mean = np.array([x.mean() if len(x) else np.nan for x in arrays])
    std = np.array([x.std(ddof=1) if len(x) > 1 else np.nan for x in arrays])
    low, high, p = _t_interval(mean, posterior, n, df, level)
    return pd.DataFrame({"n": n, "mean": mean, "std": std, "low": low, "high": high, "p": p, "df": df})


def holm(p_values: ArrayLike) -> Array:
    """Holm's step-down adjusted p-values [m], in the given order. NaN stays NaN and is not counted as a test."""
    p = np.asarray(p_values, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _posterior(prior: Prior, s2: Array, df: NDArray[np.int64]) -> tuple[Array, Array]:
    """Each cell's moderated variance and its degrees of freedom; NaN and 0 where neither cell nor prior has any."""
    own = np.maximum(df, 0)
    if prior.df == 0:
        return np.where(df > 0, s2, np.nan), own.astype(float)
    known = np.where(df > 0, s2, 0.0)
    weight = 0.0 if np.isinf(prior.df) else own / (prior.df + own)
    total = np.minimum(prior.df + own, prior.cap)
    return (1 - weight) * prior.variance + weight * known, np.where(df < 0, 0.0, total)


def _t_interval(mean: Array, variance: Array, n: ArrayLike, df: ArrayLike, level: float) -> tuple[Array, Array, Array]:
    """(low, high, p) of each mean; NaN where there is no degree of freedom."""
    error = np.sqrt(variance / np.maximum(n, 1))
    freedom = np.where(np.asarray(df) > 0, df, np.nan)
    half = special.stdtrit(freedom, (1 + level) / 2) * error
    return mean - half, mean + half, 2 * special.stdtr(freedom, -np.abs(mean) / error)
