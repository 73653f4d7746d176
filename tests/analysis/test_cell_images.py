"""The interval for other seeds and other test images, from each image's correctness to the table of cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from analysis import LedgerError, read_matrix, read_runs
from analysis.cells import cells
from analysis.ledger import read_correct, write_run
from analysis.schema import CORRECT_COLUMNS, RULES, WEIGHTS

Make = Callable[..., Any]


def by_cell(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index(["teacher", "student", "method", "setting"])


def draw_bits(matrix: pd.DataFrame, images: int = 360) -> dict[str, bytes]:
    """Of each run; what an arm makes of an image is the same for its seeds."""
    rng = np.random.default_rng(5)
    bits = {}
    for _, arm in matrix.groupby(["teacher", "student", "method", "setting"]):
        ease = rng.normal(1, 1, images)
        bits |= {run: np.packbits(ease + rng.normal(0, 0.5, images) > 0).tobytes() for run in arm["run_id"]}
    return bits


def literal_images(matrix: pd.DataFrame, correct: dict[str, bytes], key: tuple[str, ...]) -> tuple[float, float]:
    """Variance of the mean from the images, and its degrees of freedom, by the two-way table, in percentage points."""
    rows = matrix.set_index(["teacher", "student", "method", "setting", "seed"])["run_id"]
    bits = {run: np.unpackbits(np.frombuffer(found, np.uint8))[:360].astype(float) for run, found in correct.items()}
    seeds = sorted(matrix["seed"].unique())
    scratch = ("", key[1], "scratch", "scratch")
    x = 100 * np.array([bits[rows[(*key, seed)]] - bits[rows[(*scratch, seed)]] for seed in seeds])
    rest = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
    ms_rest = (rest**2).sum() / ((len(x) - 1) * 359)
    ms_images = len(x) * x.mean(axis=0).var(ddof=1)
    gap = ms_images - ms_rest
    return gap / x.size, gap**2 / (ms_images**2 / 359 + ms_rest**2 / ((len(x) - 1) * 359))


def test_images_by_hand(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn", "vit")).write(tmp_path)
    matrix, runs = read_matrix(tmp_path), read_runs(tmp_path)
    correct = draw_bits(matrix)
    frame = cells(matrix, runs, correct)
    key = ("resnet_tiny", "vit_nano", "pat", "tuned")
    row, (part, part_df) = by_cell(frame).loc[key], literal_images(matrix, correct, key)
    df, mean = row["gain_over_scratch_df"], row["gain_over_scratch"]
    seeds = ((row["gain_over_scratch_high"] - mean) / scipy_stats.t.ppf(0.975, df)) ** 2
    total_df = (seeds + part) ** 2 / (seeds**2 / df + part**2 / part_df)
    half = scipy_stats.t.ppf(0.975, total_df) * math.sqrt(seeds + part)
    assert row["gain_over_scratch_images_low"] == pytest.approx(mean - half)
    assert row["gain_over_scratch_images_high"] == pytest.approx(mean + half)
    assert row["gain_over_scratch_images_p"] == pytest.approx(
        2 * scipy_stats.t.sf(abs(mean) / math.sqrt(seeds + part), total_df)
    )
    assert frame["gain_over_scratch_images_p"].notna().all() and frame["gain_over_kd_images_p"].notna().sum() == 8
    without = [name for name in frame if "_images_" not in name]
    pd.testing.assert_frame_equal(frame[without], cells(matrix, runs)[without])


def test_a_cell_that_lacks_a_run_has_no_image_interval(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn", "vit")).write(tmp_path)
    matrix, runs = read_matrix(tmp_path), read_runs(tmp_path)
    correct = draw_bits(matrix)
    rows = matrix.set_index(["teacher", "student", "method", "setting", "seed"])["run_id"]
    del correct[rows["", "vit_nano", "scratch", "scratch", 102]]
    del correct[rows["resnet_tiny", "resnet_nano", "kd", "tuned", 101]]
    frame = cells(matrix, runs, correct)
    known = by_cell(frame)
    assert known.xs("vit_nano", level="student")["gain_over_scratch_images_p"].isna().all()
    assert known.xs("vit_nano", level="student")["gain_over_kd_images_p"].notna().sum() == 4
    assert math.isnan(known.loc[("resnet_tiny", "resnet_nano", "kd", "tuned"), "gain_over_scratch_images_p"])
    pat = known.loc[("resnet_tiny", "resnet_nano", "pat", "tuned")]
    assert math.isnan(pat["gain_over_kd_images_p"]) and pat["gain_over_scratch_images_p"] > 0
    few = runs.assign(
        test_images=runs["test_images"].where(
            runs["run_id"] != rows["vit_mini", "resnet_nano", "pat", "tuned", 103], 352
        )
    )
    correct |= {
        run: found[:44] for run, found in correct.items() if run == rows["vit_mini", "resnet_nano", "pat", "tuned", 103]
    }
    row = by_cell(cells(matrix, few, correct)).loc[("vit_mini", "resnet_nano", "pat", "tuned")]
    assert math.isnan(row["gain_over_scratch_images_p"]) and row["n"] == 3, "one of its runs saw fewer images"


def test_bits_are_those_of_the_rule_and_the_weights_that_are_shown(tmp_path: Path, make_run: Make) -> None:
    stored = {name: bytes([place]) for place, name in enumerate(CORRECT_COLUMNS)}
    write_run(tmp_path, make_run("a", **stored))
    row = {"run_id": "a", "status": "finished"}
    for rule, weights in itertools.product(RULES, WEIGHTS):
        name = f"test_correct_{rule}_{weights}"
        found = read_correct(tmp_path, pd.DataFrame([row | {"rule": rule, "weights": weights}]))
        assert found == ({"a": stored[name]} if name in stored else {})


def test_bits_of_other_images_are_refused(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn",)).write(tmp_path)
    matrix = read_matrix(tmp_path)
    correct = draw_bits(matrix)
    run = matrix["run_id"].iloc[-1]
    correct[run] = correct[run][:-1]
    with pytest.raises(LedgerError, match=f"run {run}: bits of 352 test images, not of 360"):
        cells(matrix, read_runs(tmp_path), correct)
