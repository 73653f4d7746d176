"""Methods against each other, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.frames import Frames, load
from analysis.stats import holm
from analysis.tables.duels import BEST_OTHER, improvement

Make = Callable[..., Any]
WORTH = {"kd": 1.0, "dist": 1.5, "pat": 4.0}


def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
    """Scratch differs widely by seed; DIST is worse than KD with the ViT teacher; PAT adds 0.1 a seed."""
    if method == "scratch":
        return 60.0 + 7 * seed
    turned = -2.0 if method == "dist" and teacher == "vit_mini" else 0.0
    return 60.0 + 7 * seed + WORTH[method] + turned + (0.1 * seed if method == "pat" else 0.0)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    states = {("vit_mini", "vit_nano", "dist", "tuned"): ("failed", "x")}
    study = make_square(
        ("cnn", "vit"), methods=tuple(WORTH), settings=("tuned",), seeds=(1, 2, 3), accuracy=accuracy, states=states
    )
    return load(study.write(tmp_path_factory.mktemp("study")))


def test_differences_are_paired_and_scratch_cancels(frames: Frames) -> None:
    table = frames.table("duels").set_index(["method", "other"])
    row = table.loc[("pat", "kd")]
    assert row["difference"] == pytest.approx(3.2) and (row["pairs"], row["seeds"]) == (4, 3)
    half = stats.t.ppf(0.975, 4) * np.sqrt(2 * (0.5 * 0.1) ** 2 / 3)
    assert (row["low"], row["high"]) == pytest.approx((3.2 - half, 3.2 + half)), "two students with a half each"
    assert row["won"] == 1 and ("kd", "pat") not in table.index, "the better one stands first"
    assert row["probability"] == 1, "of gains: seeds whose scratch runs lie 7 points apart do not matter"


def test_each_two_methods_have_the_pairs_that_both_have(frames: Frames) -> None:
    """KD and DIST: +0.5, +0.5 with the CNN teacher, -1.5 with the ViT one, whose other pair has failed."""
    table = frames.table("duels").set_index(["method", "other"])
    row = table.loc[("kd", "dist")]
    assert row["pairs"] == 3 and row["difference"] == pytest.approx(0.5 / 3) and row["won"] == pytest.approx(1 / 3)
    assert np.isnan(row["low"]), "without any difference between seeds there is no interval"
    corrected = table.drop(index=BEST_OTHER, level="other")
    np.testing.assert_allclose(corrected["p_holm"], holm(corrected["p"]))


def test_against_the_best_of_all_others(frames: Frames) -> None:
    """The best other of PAT is DIST with the CNN teacher, KD with the ViT one, by validation; of all others PAT."""
    table = frames.table("duels").set_index(["method", "other"])
    assert table.loc[("pat", BEST_OTHER), "difference"] == pytest.approx((2 * 2.7 + 2 * 3.2) / 4)
    assert table.loc[("kd", BEST_OTHER), "difference"] == pytest.approx(-3.2)
    assert np.isnan(table.loc[("pat", BEST_OTHER), "p_holm"])


def test_probability_of_improvement() -> None:
    a, b = np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([[2.0, 2.0], [5.0, 4.0]])
    assert improvement(a, b) == pytest.approx((0.5 + 0.75) / 2) and improvement(b, a) == 1 - improvement(a, b)


def test_one_method_has_no_rival(tmp_path: Path, make_square: Make) -> None:
    table = load(make_square(("cnn",), methods=("kd",), seeds=(1, 2)).write(tmp_path)).table("duels")
    assert table.empty and "difference" in table
