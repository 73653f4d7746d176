"""Methods compared across cells by rank: all that a critical-difference diagram needs.

Friedman's test with the F of Iman and Davenport, and Nemenyi's critical difference, after Demšar 2006, "Statistical
comparisons of classifiers over multiple data sets", section 3.2.2. The test takes the blocks (pairs of teacher and
student) as independent. Pairs that share a student share its scratch runs and much of its character, so with few
students the p-value is too small; within a block that share cancels, as every method has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from analysis.stats.paired import LEVEL, Array


@dataclass(frozen=True)
class Ranking:
    """`mean_ranks` [methods] in the given order, 1 is best; `blocks` that were complete; Friedman's `chi2`, corrected
    for ties; Iman and Davenport's `f` with its `p`; Nemenyi's `critical_difference` of two mean ranks; and `groups` of
    methods (positions, best first), each as large as can be, inside which no two mean ranks differ by that much."""

    mean_ranks: Array
    blocks: int
    chi2: float
    f: float
    p: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]


def ranking(scores: ArrayLike, level: float = LEVEL) -> Ranking:
    """The Ranking of methods from `scores` [blocks, methods], in any unit, higher is better; equal scores share a rank.

    Blocks with a NaN are left out. Raises ValueError for fewer than two complete blocks or fewer than two methods.
    Where all blocks rank the methods alike F is infinite, and p the exact chance of that, 1 / methods!^(blocks - 1).
    """
    x = np.asarray(scores, float)
    x = x[~np.isnan(x).any(axis=1)]
    n, k = x.shape
    if n < 2 or k < 2:
        raise ValueError(f"ranking of {n} complete blocks and {k} methods: at least 2 of each")
    ranks = scipy_stats.rankdata(-x, axis=1)
    mean_ranks = ranks.mean(axis=0)
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2)) / (n * (k - 1))
    between = n * float(np.sum((mean_ranks - (k + 1) / 2) ** 2))
    chi2 = between / spread if spread > 0 else 0.0
    most = n * (k - 1)
    if most - chi2 > 1e-9 * most:
        f = (n - 1) * chi2 / (most - chi2)
        p = float(scipy_stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    else:
        f, p = math.inf, math.exp(-(n - 1) * math.lgamma(k + 1))
    gap = critical_difference(k, n, level)
    return Ranking(mean_ranks, n, chi2, f, p, gap, alike(mean_ranks, gap))


def critical_difference(methods: int, blocks: int, level: float = LEVEL) -> float:
    """Nemenyi's: two of the `methods` differ when their mean ranks over `blocks` are further apart (Demšar 2006,
    equation of section 3.2.2, with the quantile of the studentized range over the square root of 2)."""
    q = float(scipy_stats.studentized_range.ppf(level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def alike(mean_ranks: ArrayLike, gap: float) -> tuple[tuple[int, ...], ...]:
    """The largest groups of at least two methods whose `mean_ranks` [methods] all lie within `gap`: the bars of a
    critical-difference diagram, as positions in `mean_ranks`, best first."""
    x = np.asarray(mean_ranks, float)
    order = np.argsort(x, kind="stable")
    ends = np.searchsorted(x[order], x[order] + gap + 1e-12, side="right")
    groups, last = [], 0
    for start, end in enumerate(ends):
        if end > last and end - start > 1:
            groups.append(tuple(int(position) for position in order[start:end]))
        last = max(last, int(end))
    return tuple(groups)
