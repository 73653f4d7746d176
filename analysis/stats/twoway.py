"""Two-way layouts: how much of what differs is due to the rows, with the same columns in each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Rows(NamedTuple):
    """`sd`: standard deviation of the rows' own effects; `rest`: of what is left once rows and columns are taken off;
    `p`: of Fisher's test that the rows are equal."""

    sd: float
    rest: float
    p: float


def row_effect(values: ArrayLike) -> Rows:
    """Of values [rows, columns], one each, rows and columns drawn at random (model II of the analysis of variance,
    without repetition); all NaN with fewer than two of either. The estimate of a variance below zero is taken as 0."""
    table = np.asarray(values, float)
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return Rows(*[float("nan")] * 3)
    means = table.mean(axis=1)
    left = table - means[:, None] - table.mean(axis=0) + table.mean()
    df = (rows - 1) * (columns - 1)
    rest, between = float((left**2).sum()) / df, columns * float(means.var(ddof=1))
    p = float(stats.f.sf(between / rest, rows - 1, df)) if rest > 0 else float("nan")
    return Rows(float(np.sqrt(max(0.0, between - rest) / columns)), float(np.sqrt(rest)), p)
