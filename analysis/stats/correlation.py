"""Does what is known of a teacher say which teacher helps a student most: rank correlation within students."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from analysis.stats.paired import LEVEL

PERMUTATIONS = 999
FEWEST = 4
"""Pairs beyond one for each student below which nothing is said."""


class Correlation(NamedTuple):
    """Spearman's correlation within students, its interval, its p against none, and on how many pairs it stands."""

    rho: float
    low: float
    high: float
    p: float
    pairs: int


def within(known: ArrayLike, gains: ArrayLike, students: Sequence[Hashable], level: float = LEVEL) -> Correlation:
    """Of `known` (of the teacher) with `gains`, both [pairs], over the teachers of each student alike: both are ranked
    within each student and their means taken off, so that neither an easy student nor its shared scratch runs count.

    The interval is Fisher's on pairs - students + 1 observations, with Fieller's factor 1.06 for ranks (Fieller,
    Hartley and Pearson 1957); p is that of PERMUTATIONS orders of the teachers within each student, the same at each
    call. NaN below FEWEST, and where either does not vary within any student.
    """
    frame = pd.DataFrame({"known": known, "gain": gains, "student": list(students)}).dropna()
    grouped = frame.groupby("student", sort=True)
    frame = frame[grouped["gain"].transform("size") > 1].sort_values("student", kind="stable")
    free = len(frame) - frame["student"].nunique()
    nothing = Correlation(*(float("nan"),) * 4, len(frame))
    if free < FEWEST:
        return nothing
    ranks = frame.groupby("student")[["known", "gain"]].rank()
    ranks -= ranks.groupby(frame["student"]).transform("mean")
    x, y = ranks["known"].to_numpy(), ranks["gain"].to_numpy()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if not size:
        return nothing
    rho = float((x * y).sum()) / size
    half = float(special.ndtri((1 + level) / 2)) * np.sqrt(1.06 / max(free + 1 - 3, 1))
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh(centre - half), np.tanh(centre + half)
    return Correlation(rho, float(low), float(high), _p(x, y, frame["student"], rho, size), len(frame))


def _p(x: np.ndarray, y: np.ndarray, student: pd.Series, rho: float, size: float) -> float:
    """How often a random order of the teachers within each student correlates as much, the observed one among them."""
    rng = np.random.default_rng(0)
    shuffled = np.empty((PERMUTATIONS, len(x)))
    for places in student.reset_index(drop=True).groupby(student.to_numpy()).indices.values():
        shuffled[:, places] = rng.permuted(np.tile(x[places], (PERMUTATIONS, 1)), axis=1)
    chance = shuffled @ y / size
    return float((1 + np.count_nonzero(np.abs(chance) >= abs(rho) - 1e-9)) / (1 + PERMUTATIONS))
