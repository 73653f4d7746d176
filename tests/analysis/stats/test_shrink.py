"""What other cells say of a cell, how much pairs differ, and the four verdicts: by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from analysis.stats import shrink, spread
from analysis.verdicts import verdicts

GRID = pd.DataFrame(
    [(method, f"t{t}", f"s{s}") for method in ("kd", "pat") for t in range(3) for s in range(3)],
    columns=["method", "teacher", "student"],
)


def additive(rng: np.random.Generator) -> np.ndarray:
    effects = {name: dict(zip(sorted(set(GRID[name])), rng.normal(0, 1, 3), strict=False)) for name in GRID}
    return sum(GRID[name].map(effects[name]).to_numpy() for name in GRID)


def test_what_the_effects_explain_is_kept() -> None:
    """A gain that is a sum of effects is not drawn anywhere, however noisy it is said to be."""
    truth = additive(np.random.default_rng(1))
    np.testing.assert_allclose(shrink(truth, np.full(18, 2.0), GRID), truth)


def test_a_deviation_far_above_the_noise_is_kept_and_one_below_it_goes() -> None:
    rng = np.random.default_rng(2)
    effects, own = additive(rng), rng.normal(0, 1, 18)
    np.testing.assert_allclose(shrink(effects + own, np.full(18, 1e-3), GRID), effects + own, atol=1e-4)
    drawn = shrink(effects + own, np.full(18, 30.0), GRID)
    design = pd.get_dummies(GRID, dtype=float).to_numpy()
    np.testing.assert_allclose(drawn, design @ np.linalg.lstsq(design, effects + own, rcond=None)[0])


def test_it_is_nearer_to_the_truth() -> None:
    """300 studies of 18 cells with shared scratch runs at two seeds: mean squared errors."""
    rng, raw, drawn = np.random.default_rng(3), 0.0, 0.0
    student = GRID["student"].map({"s0": 0, "s1": 1, "s2": 2}).to_numpy()
    for _ in range(300):
        truth = additive(rng) + rng.normal(0, 0.4, 18)
        gains = truth + rng.normal(0, 0.7, 18) - rng.normal(0, 0.7, 3)[student]
        raw += float(np.mean((gains - truth) ** 2))
        drawn += float(np.mean((shrink(gains, np.full(18, np.sqrt(0.98)), GRID) - truth) ** 2))
    assert drawn < 0.85 * raw


def test_too_few_cells_say_nothing_of_each_other() -> None:
    gains = np.r_[np.arange(5.0), np.full(13, np.nan)]
    assert np.isnan(shrink(gains, np.ones(18), GRID)).all()
    some = shrink(np.r_[np.nan, np.arange(17.0)], np.ones(18), GRID)
    assert np.isnan(some[0]) and not np.isnan(some[1:]).any()


def test_the_spread_of_pairs_without_noise() -> None:
    """What all seeds add alike does not spread pairs; without any noise there is nothing to test against."""
    pairs = np.array([0.0, 1.0, 3.0, 4.0])
    found = spread(pairs[:, None] + np.array([0.0, 0.5, -0.5]), ["s"] * 4)
    assert np.isnan(found.sd) or found.sd == pytest.approx(pairs.std(ddof=1))
    assert np.isnan(spread(pairs[:2, None] + np.zeros(3), "ab").sd)


def test_of_pairs_that_share_nothing_it_is_one_way_analysis_of_variance() -> None:
    """But for the degrees of freedom within, of which those of one pair are given away."""
    x = np.random.default_rng(4).normal(np.arange(6.0)[:, None], 1, (6, 3))
    found = spread(x, range(6))
    within, between = x.var(axis=1, ddof=1).mean() / 3, x.mean(axis=1).var(ddof=1)
    assert found.sd == pytest.approx(np.sqrt(between - within))
    assert found.p == pytest.approx(scipy_stats.f.sf(scipy_stats.f_oneway(*x).statistic, 5, 5 * 2))


@pytest.mark.parametrize("true", [0.0, 2.0])
def test_spread_by_simulation(true: float) -> None:
    """12 pairs of 5 students, 3 seeds, scratch runs shared: the mean of the variance, and how often p is below 0.05."""
    rng, students = np.random.default_rng(5), np.repeat(range(5), [3, 3, 2, 2, 2])
    found = []
    for _ in range(300):
        noise = rng.standard_normal((12, 3)) - rng.standard_normal((5, 3))[students]
        found.append(spread(true * rng.standard_normal((12, 1)) + noise, students.tolist()))
    rejected = np.mean([one.p < 0.05 for one in found])
    assert rejected <= 0.09 if not true else rejected > 0.9
    if true:
        assert np.mean([one.sd**2 for one in found]) == pytest.approx(true**2, rel=0.12)


def test_verdicts() -> None:
    gain = pd.Series([2.0, -2.0, 0.2, 0.3, 1.0, np.nan, -0.3])
    low = pd.Series([1.0, -3.0, 0.1, -0.1, -1.0, np.nan, -0.7])
    high = pd.Series([3.0, -1.0, 0.4, 0.6, 3.0, np.nan, 0.1])
    p = pd.Series([0.01, 0.01, 0.01, 0.2, 0.2, np.nan, 0.2])
    words = ["helps", "hurts", "does not matter", "not known", "not known", "", "not known"]
    assert verdicts(gain, low, high, p).to_list() == words
