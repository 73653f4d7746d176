"""From ledger to cells: which seeds are paired with which, and what is said where numbers are missing."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from analysis import LedgerError, read_matrix, read_runs
from analysis.cells import cells, seed_gains, setting_gains
from analysis.ledger import write_matrix
from analysis.stats import benjamini_hochberg, holm, moderated_t, paired_t

Make = Callable[..., Any]
CELL = ["teacher", "student", "method", "setting"]
SCRATCH = {101: 80.0, 102: 82.0, 103: 84.0}
GAIN = {("kd", "default"): 1.0, ("kd", "tuned"): 2.0, ("pat", "default"): 4.0, ("pat", "tuned"): 8.0}


def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
    """Scratch differs by seed, a gain by method and setting, and by 0.1 per seed after the first."""
    return SCRATCH[seed] + (GAIN[method, setting] + 0.1 * (seed - 101) if method != "scratch" else 0.0)


def table(folder: Path) -> pd.DataFrame:
    return cells(read_matrix(folder), read_runs(folder))


def cell(frame: pd.DataFrame, *key: str) -> pd.Series:
    rows = frame[(frame[["teacher", "student", "method", "setting"]] == list(key)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_gains_by_hand(tmp_path: Path, make_square: Make) -> None:
    frame = table(make_square(("cnn", "vit"), accuracy=accuracy).write(tmp_path))
    assert len(frame) == 4 * 2 * 2
    pat = cell(frame, "resnet_tiny", "vit_nano", "pat", "tuned")
    assert pat["n"] == pat["gain_over_kd_n"] == pat["seeds_planned"] == 3
    assert pat["scratch_mean"] == 82.0 and pat["scratch_std"] == 2.0
    assert pat["score_mean"] == pytest.approx(90.1) and pat["score_std"] == pytest.approx(2.1)
    assert pat["gain_over_scratch"] == pytest.approx(8.1) and pat["gain_over_scratch_std"] == pytest.approx(0.1)
    assert pat["gain_over_kd"] == pytest.approx(6.0), "tuned against tuned"
    assert cell(frame, "resnet_tiny", "vit_nano", "pat", "default")["gain_over_kd"] == pytest.approx(3.0)
    expected = scipy_stats.ttest_1samp([8.0, 8.1, 8.2], 0).confidence_interval(0.95)
    assert pat["gain_over_scratch_plain_low"] == pytest.approx(expected.low)
    kd = cell(frame, "resnet_tiny", "vit_nano", "kd", "tuned")
    assert math.isnan(kd["gain_over_kd"]) and kd["gain_over_kd_n"] == 0
    assert pat["teacher_score"] == 95.0 and pat["options"] == '{"weight": 2.0}'
    for _, rows in frame.groupby("setting"):
        p = rows["gain_over_scratch_p"]
        np.testing.assert_allclose(rows["gain_over_scratch_p_holm"], holm(p), err_msg="tuned apart from default")
        np.testing.assert_allclose(rows["gain_over_scratch_p_bh"], benjamini_hochberg(p))
    assert frame["gain_over_kd_p_holm"].notna().sum() == 8


def test_only_seeds_that_both_sides_have(tmp_path: Path, make_square: Make) -> None:
    states = {
        ("", "resnet_nano", "scratch", "scratch", 102): ("running", ""),
        ("resnet_tiny", "resnet_nano", "pat", "tuned", 103): ("diverged", "loss became nan"),
    }
    frame = table(make_square(("cnn",), accuracy=accuracy, states=states).write(tmp_path))
    pat = cell(frame, "resnet_tiny", "resnet_nano", "pat", "tuned")
    assert (pat["n"], pat["seeds_finished"], pat["gain_over_kd_n"]) == (1, 2, 2)
    assert pat["gain_over_scratch"] == 8.0 and pat["score_mean"] == 88.0 and pat["scratch_mean"] == 80.0
    assert (pat["status"], pat["reason"]) == ("diverged", "1 of 3 seeds: loss became nan")
    kd = cell(frame, "resnet_tiny", "resnet_nano", "kd", "tuned")
    assert (kd["status"], kd["reason"], kd["n"]) == ("finished", "no finished scratch run for 1 of 3 seeds", 2)


def test_cells_without_numbers_say_why(tmp_path: Path, make_square: Make) -> None:
    pair = ("resnet_tiny", "resnet_nano")
    states = {
        (*pair, "pat", "tuned"): ("waiting", "search"),
        (*pair, "pat", "default"): ("failed", "out of memory"),
        (*pair, "kd", "tuned"): ("blocked", ""),
    }
    frame = table(make_square(("cnn",), accuracy=accuracy, states=states).write(tmp_path))
    for key, (status, reason) in states.items():
        row = cell(frame, *key)
        assert (row["status"], row["reason"], row["n"]) == (status, reason, 0)
        assert math.isnan(row["gain_over_scratch"]) and math.isnan(row["score_mean"])


def test_the_run_is_right_where_the_matrix_is_old(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn",), accuracy=accuracy).write(tmp_path)
    matrix = read_matrix(tmp_path).astype(object)
    matrix = matrix.where(matrix.notna(), None)
    matrix["status"] = "running"
    write_matrix(tmp_path, matrix.to_dict("records"))
    assert (table(tmp_path)["status"] == "finished").all()
    lost = matrix.assign(status="finished", run_id=matrix["run_id"].where(matrix["setting"] == "scratch", "0" * 16))
    write_matrix(tmp_path, lost.to_dict("records"))
    frame = table(tmp_path)
    assert set(frame["status"]) == {"waiting"} and set(frame["reason"]) == {"its run is not in this folder"}


def test_two_settings_that_are_the_same_runs_count_once(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn", "vit")).write(tmp_path)
    matrix = read_matrix(tmp_path)
    default = matrix[matrix["setting"] == "default"]
    separate = cells(matrix, read_runs(tmp_path))
    same = matrix.copy()
    same.loc[same["setting"] == "tuned", "run_id"] = default["run_id"].to_numpy()
    both = cells(same, read_runs(tmp_path))
    alone = cells(matrix[matrix["setting"] != "tuned"], read_runs(tmp_path))
    columns = [name for name in both.columns if name.startswith("gain_over_scratch")]
    for setting in ("tuned", "default"):
        found = both[both["setting"] == setting].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[columns], alone[columns])
    assert not separate[columns].equals(both[columns])


STATISTICS = (
    "", "_std", "_error", "_low", "_high", "_p", "_df", "_p_holm", "_p_bh", "_plain_low", "_plain_high", "_plain_p",
    "_flip_p", "_bca_low", "_bca_high", "_images_low", "_images_high", "_images_p",
)  # fmt: skip


def test_columns(tmp_path: Path, make_square: Make) -> None:
    frame = table(make_square(("cnn",)).write(tmp_path))
    over_scratch, over_kd = (tuple(g + part for part in STATISTICS) for g in ("gain_over_scratch", "gain_over_kd"))
    more = ("gain_over_scratch_shrunk", "verdict")
    assert tuple(frame.columns[-40:]) == ("n", *over_scratch, "gain_over_kd_n", *over_kd, *more)
    for part in ("flip_p", "bca_low", "bca_high", "images_low", "images_high", "images_p"):
        assert frame[f"gain_over_scratch_{part}"].isna().all(), "three seeds, no images: not offered"


def test_the_cells_of_a_student_share_its_scratch_runs(tmp_path: Path, make_square: Make) -> None:
    """And no others do: so many independent cells are there for the moderated t."""
    frame = table(make_square().write(tmp_path))
    gains = seed_gains(read_matrix(tmp_path), read_runs(tmp_path))
    for name, shared in (("gain_over_scratch", ["student"]), ("gain_over_kd", ["teacher", "student", "setting"])):
        wide = gains.dropna(subset=name).pivot(index=CELL, columns="seed", values=name)
        baselines = wide.index.to_frame()[shared].agg(" ".join, axis=1)
        expected = moderated_t(wide.to_numpy(float), list(baselines), 100 / 360)
        found = frame.set_index(CELL).loc[wide.index]
        for part in ("low", "high", "df"):
            np.testing.assert_allclose(found[f"{name}_{part}"], expected[part])


def test_no_variance_is_below_that_of_rounding_to_whole_images(tmp_path: Path, make_square: Make) -> None:
    """Gains that differ by a tenth of a point on 360 images: two accuracies, each rounded to 100 / 360 points."""
    pat = cell(table(make_square(accuracy=accuracy).write(tmp_path)), "resnet_tiny", "vit_nano", "pat", "tuned")
    half = scipy_stats.t.ppf(0.975, pat["gain_over_scratch_df"]) * math.sqrt((100 / 360) ** 2 / 6 / 3)
    assert pat["gain_over_scratch_high"] - pat["gain_over_scratch"] == pytest.approx(half)


def test_sign_flips_and_bca_where_seeds_are_many(tmp_path: Path, make_square: Make) -> None:
    study = make_square(("cnn",), seeds=range(20), methods=("kd",), settings=("default",))
    row = table(study.write(tmp_path)).iloc[0]
    assert 0 < row["gain_over_scratch_flip_p"] <= 1 and row["gain_over_kd_n"] == 0
    assert row["gain_over_scratch_bca_low"] < row["gain_over_scratch"] < row["gain_over_scratch_bca_high"]
    assert math.isnan(row["gain_over_kd_flip_p"])


def test_sign_flips_stand_where_they_can_pass_the_correction(tmp_path: Path, make_square: Make) -> None:
    """Six seeds: 2 / 2^6 is below 0.05, but not below 0.05 / 2."""
    for methods, offered in ((("kd",), True), (("kd", "pat"), False)):
        study = make_square(("cnn",), seeds=range(6), methods=methods, settings=("default",))
        frame = table(study.write(tmp_path / str(len(methods))))
        assert (frame["gain_over_scratch_flip_p"].notna() == offered).all()


def test_the_gain_of_each_seed(tmp_path: Path, make_square: Make) -> None:
    states = {("resnet_tiny", "resnet_nano", "kd", "tuned", 103): ("running", "")}
    make_square(("cnn",), accuracy=accuracy, states=states).write(tmp_path)
    found = seed_gains(read_matrix(tmp_path), read_runs(tmp_path))
    assert list(found.columns) == [
        "teacher",
        "student",
        "method",
        "setting",
        "seed",
        "gain_over_scratch",
        "gain_over_kd",
    ]
    assert len(found) == 11
    pat = found[(found["method"] == "pat") & (found["setting"] == "tuned")]
    np.testing.assert_allclose(pat["gain_over_scratch"], [8.0, 8.1, 8.2])
    np.testing.assert_allclose(pat["gain_over_kd"], [6.0, 6.0, np.nan])


def test_tuned_minus_default(tmp_path: Path, make_square: Make) -> None:
    """Of eight cells one chose the default; it is no test, has no interval, and is not in the pool."""
    make_square(("cnn", "vit")).write(tmp_path)
    matrix, runs = read_matrix(tmp_path), read_runs(tmp_path)
    key = ("resnet_tiny", "vit_nano", "pat")
    chosen = (matrix[["teacher", "student", "method"]] == list(key)).all(axis=1)
    matrix.loc[chosen & (matrix["setting"] == "tuned"), "run_id"] = matrix["run_id"][
        chosen & (matrix["setting"] == "default")
    ].tolist()
    found = setting_gains(matrix, runs)
    assert list(found.columns) == [
        "teacher", "student", "method", "n", "same_setting", "tuned_minus_default", "tuned_minus_default_std",
        "tuned_minus_default_low", "tuned_minus_default_high", "tuned_minus_default_p", "tuned_minus_default_p_holm",
        "tuned_minus_default_plain_low", "tuned_minus_default_plain_high",
    ]  # fmt: skip
    assert len(found) == 8 and (found["n"] == 3).all() and found["same_setting"].sum() == 1
    same = found[found["same_setting"]].iloc[0]
    assert tuple(same[["teacher", "student", "method"]]) == key and same["tuned_minus_default"] == 0.0
    assert same[found.columns[6:]].isna().all()
    rest = found[~found["same_setting"]].reset_index(drop=True)
    results = matrix.join(runs.set_index("run_id")["test_last_raw"], on="run_id").pivot_table(
        index=["teacher", "student", "method", "seed"], columns="setting", values="test_last_raw"
    )
    by_cell = (
        (results["tuned"] - results["default"])
        .unstack("seed")
        .loc[rest[["teacher", "student", "method"]].to_records(index=False).tolist()]
    )
    expected = moderated_t(by_cell.to_numpy(float), range(7), 100 / 360)
    for ours, theirs in (("", "mean"), ("_std", "std"), ("_low", "low"), ("_high", "high"), ("_p", "p")):
        np.testing.assert_allclose(rest["tuned_minus_default" + ours], expected[theirs])
    np.testing.assert_allclose(rest["tuned_minus_default_p_holm"], holm(expected["p"]))
    plain = np.array([paired_t(row) for row in by_cell.to_numpy(float)])
    np.testing.assert_allclose(rest[["tuned_minus_default_plain_low", "tuned_minus_default_plain_high"]], plain[:, :2])


def test_tuned_minus_default_needs_both(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn",), settings=("tuned",)).write(tmp_path)
    assert setting_gains(read_matrix(tmp_path), read_runs(tmp_path)).empty
    waiting = {("resnet_tiny", "resnet_nano", "pat", "tuned"): ("waiting", "search")}
    make_square(("cnn",), states=waiting).write(tmp_path / "waiting")
    found = setting_gains(read_matrix(tmp_path / "waiting"), read_runs(tmp_path / "waiting")).set_index("method")
    assert found.loc["pat", "n"] == 0 and not found.loc["pat", "same_setting"]
    assert math.isnan(found.loc["pat", "tuned_minus_default"]) and found.loc["kd", "n"] == 3


def test_many_cells_are_fast() -> None:
    """500 cells of three seeds in two settings among 20,000 runs; 4 s are asked for, 0.2 s measured."""
    teachers, students = ([f"{kind}{i}" for i in range(10)] for kind in "ts")
    keys = [("", s, "scratch", "scratch") for s in students]
    keys += itertools.product(teachers, students, ("kd", "a", "b", "c", "pat"), ("default", "tuned"))
    matrix = pd.DataFrame(
        [(*key, seed) for key in keys for seed in range(3)], columns=["teacher", "student", "method", "setting", "seed"]
    )
    matrix["run_id"] = [f"{i:016x}" for i in range(len(matrix))]
    matrix = matrix.assign(study="x", data="d", options="{}", status="finished", reason="", rule="last", weights="raw")
    matrix = matrix.assign(teacher_family="cnn", student_family="vit", metric="top1")
    runs = pd.DataFrame({"run_id": [f"{i:016x}" for i in range(20_000)], "status": "finished", "message": ""})
    runs = runs.assign(test_images=10_000, teacher_score=90.0, failure_class=None, memory_measures=None)
    runs["test_last_raw"] = np.random.default_rng(0).normal(80, 1, 20_000)
    started = time.process_time()
    frame = cells(matrix, runs)
    assert time.process_time() - started < 4 and len(frame) == 1000
    assert frame["gain_over_scratch_p_holm"].notna().all() and frame["gain_over_kd_p"].notna().sum() == 800


def test_rules_are_never_mixed(tmp_path: Path, make_square: Make) -> None:
    """A student whose scratch baseline is shown under other weights has no pair, not a wrong one."""
    make_square(("cnn",), accuracy=accuracy).write(tmp_path)
    matrix = read_matrix(tmp_path)
    matrix.loc[matrix["setting"] == "scratch", "weights"] = "ema"
    frame = cells(matrix, read_runs(tmp_path))
    assert (frame["n"] == 0).all() and frame["gain_over_scratch"].isna().all()
    assert frame["score_mean"].notna().all()


def test_order_of_rows_does_not_matter_but_families_have_one(tmp_path: Path, make_square: Make) -> None:
    make_square().write(tmp_path)
    matrix, runs = read_matrix(tmp_path), read_runs(tmp_path)
    frame = cells(matrix, runs)
    shuffled = cells(matrix.sample(frac=1, random_state=1), runs.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(frame, shuffled)
    assert list(frame["teacher_family"].unique()) == ["cnn", "vit", "mlp"]
    assert list(frame["student_family"].unique()) == ["cnn", "vit", "mlp"]


def test_a_seed_that_stands_twice_is_refused(tmp_path: Path, make_square: Make) -> None:
    make_square(("cnn",)).write(tmp_path)
    matrix = read_matrix(tmp_path)
    with pytest.raises(LedgerError, match=r"resnet_tiny / resnet_nano / pat / tuned has seed 103 twice"):
        cells(pd.concat([matrix, matrix.tail(1)], ignore_index=True), read_runs(tmp_path))


def test_a_study_that_has_just_begun(tmp_path: Path, make_square: Make) -> None:
    """No run has ended: every cell is there and says nothing."""
    make_square(("cnn",)).write(tmp_path)
    matrix, runs = read_matrix(tmp_path), read_runs(tmp_path)
    matrix = matrix.assign(status="waiting", run_id=None)
    frame = cells(matrix, runs.head(0), {})
    assert len(frame) == 4 and (frame["status"] == "waiting").all() and (frame["n"] == 0).all()
    assert frame[[f"gain_over_scratch{part}" for part in STATISTICS if part != "_df"]].isna().all(axis=None)
    assert seed_gains(matrix, runs.head(0)).empty
    assert setting_gains(matrix, runs.head(0))["tuned_minus_default"].isna().all()
