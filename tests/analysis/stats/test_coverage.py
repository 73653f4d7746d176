"""The intervals hold what they should: small seeded simulations, within 2 points of 95 % plus what chance allows.

The figures of 2,000 studies each stand in `analysis.stats.offered`; `python -m tests.bench coverage` makes them.
"""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from analysis.stats import bca, interquartile_mean, mean_gain_of_pairs, moderated_t, offered, performance_profile
from tests.bench import coverage

GAINS = np.random.default_rng(1).normal(1, 1, (40, 40))


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("kind", ["equal", "unequal", "heavy"])
def test_of_cells(kind: str, n: int) -> None:
    """2,250 intervals of 250 studies, those of a study not independent: one standard error is 0.6 points."""
    found = coverage.of_cells(kind, 3, 3, n, studies=250)
    assert found["moderated t"] == pytest.approx(95, abs=2.5)
    assert found["paired t"] == pytest.approx(95, abs=2.5)


def test_accuracies_are_multiples_of_one_image() -> None:
    """Digits has 360 test images: rounding to 0.28 points does not break the interval."""
    rng, hits, step = np.random.default_rng(8), [], 100 / 360
    for _ in range(200):
        method, scratch = rng.standard_normal((9, 2)), rng.standard_normal((3, 2)).repeat(3, axis=0)
        gains = step * (np.round(method / step) - np.round(scratch / step))
        table = moderated_t(gains, np.repeat(range(3), 3).tolist(), step)
        hits += ((table["low"] <= 0) & (table["high"] >= 0)).tolist()
    assert 100 * np.mean(hits) == pytest.approx(95, abs=2.5)


def test_of_seeds_and_images() -> None:
    """Seeds alone answer another question, and hold the answer to this one too rarely."""
    found = coverage.of_images("equal", 3, 3, 3, studies=250, images=300)
    assert found["seeds x images"] == pytest.approx(95, abs=2.5)
    assert found["seeds alone"] < 92.5
    more = coverage.of_images("equal", 3, 3, 10, studies=60, images=300)
    assert more["seeds alone"] < 88 < more["seeds x images"]


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_of_aggregates(kind: str) -> None:
    """200 intervals each: one standard error is 1.5 points."""
    found = coverage.of_aggregates(kind, [3] * 3, 5, studies=200)
    assert set(found) == {"mean", "mean of such pairs", "interquartile mean", "profile"}
    for name, percent in found.items():
        assert percent == pytest.approx(95, abs=4), name


def test_of_corrections() -> None:
    for null in (1.0, 0.75):
        found = coverage.of_corrections("equal", 3, 3, 5, 250, null)
        assert found["Holm, any false"] <= 8 and found["BH, share false"] <= 8
    assert found["true found"] > 90


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 19, 20, 30])
def test_only_what_is_offered(n: int) -> None:
    """Each interval exists from the number of seeds and cells on that the table says, and not below."""
    x, students = GAINS[:36, :n], [i // 6 for i in range(36)]
    shown = {
        "BCA_SEEDS": bca(x[0])[0],
        "PAIR_SEEDS": mean_gain_of_pairs(x, students).low,
        "QUARTILE_SEEDS": interquartile_mean(x, students).low,
        "PROFILE_SEEDS": performance_profile(x, students, [1.0])["low"][0],
    }
    for name, low in shown.items():
        assert math.isnan(low) == (n < getattr(offered, name)), name
    assert math.isnan(mean_gain_of_pairs(x[: offered.PAIR_CELLS - 1], students[: offered.PAIR_CELLS - 1]).low)


def test_statistics_need_neither_torch_nor_ray() -> None:
    program = (
        "import sys, analysis.stats; print(sorted({'torch', 'ray', 'statsmodels', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
