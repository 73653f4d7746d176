"""A ratio of two mean gains over the same cells and seeds, with Fieller's interval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from analysis.stats.aggregates import Estimate, freedom, variance_parts
from analysis.stats.paired import LEVEL, ROUNDING, Array

_NAN = float("nan")


def ratio(upper: ArrayLike, lower: ArrayLike, students: Sequence[Hashable], level: float = LEVEL) -> Estimate:
    """The mean of `upper` over that of `lower` (both [cells, seeds] in points; `students` [cells] names each one's):
    these pairs, other seeds. `p` is that of the ratio against 0, which is the test of `upper`.

    The interval is the set of all r at which the mean of upper - r lower cannot be told from 0 by `mean_gain`'s t
    (Fieller 1954, "Some problems in interval estimation"). It is bounded only where the mean of `lower` itself is told
    from 0; elsewhere nothing can be said of the ratio, and all is NaN, as with fewer than two complete seeds.
    """
    x, y = np.asarray(upper, float), np.asarray(lower, float)
    known = ~(np.isnan(x) | np.isnan(y)).any(axis=0)
    x, y = x[:, known], y[:, known]
    if not x.size or x.shape[1] < 2:
        return Estimate(_NAN, _NAN, _NAN, _NAN)
    a, b, df = float(x.mean()), float(y.mean()), freedom(students, x.shape[1])
    var_a, var_b, both = (_variance(part, students) for part in (x, y, x + y))
    between, square = (both - var_a - var_b) / 2, float(special.stdtrit(df, (1 + level) / 2)) ** 2
    second = b**2 - square * var_b
    if second < ROUNDING**2 or var_b < ROUNDING**2:
        return Estimate(_NAN, _NAN, _NAN, _NAN)
    first, free = a * b - square * between, a**2 - square * var_a
    half = np.sqrt(max(0.0, first**2 - second * free))
    p = 2 * special.stdtr(df, -abs(a) / np.sqrt(var_a)) if var_a >= ROUNDING**2 else _NAN
    return Estimate(a / b, float((first - half) / second), float((first + half) / second), float(p))


def _variance(x: Array, students: Sequence[Hashable]) -> float:
    return float(variance_parts(x, students).sum())
