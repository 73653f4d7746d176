"""From ledger to cells: which seeds are paired with which, and what is said where numbers are missing."""

from __future__ import annotations

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
from analysis.ledger import write_matrix
from analysis.stats import holm

Make = Callable[..., Any]
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
    assert pat["accuracy_mean"] == pytest.approx(90.1) and pat["accuracy_std"] == pytest.approx(2.1)
    assert pat["gain_over_scratch"] == pytest.approx(8.1) and pat["gain_over_scratch_std"] == pytest.approx(0.1)
    assert pat["gain_over_kd"] == pytest.approx(6.0), "tuned against tuned"
    assert cell(frame, "resnet_tiny", "vit_nano", "pat", "default")["gain_over_kd"] == pytest.approx(3.0)
    expected = scipy_stats.ttest_1samp([8.0, 8.1, 8.2], 0).confidence_interval(0.95)
    assert pat["gain_over_scratch_plain_low"] == pytest.approx(expected.low)
    kd = cell(frame, "resnet_tiny", "vit_nano", "kd", "tuned")
    assert math.isnan(kd["gain_over_kd"]) and kd["gain_over_kd_n"] == 0
    assert pat["teacher_top1"] == 95.0 and pat["options"] == '{"weight": 2.0}'
    np.testing.assert_allclose(frame["gain_over_scratch_p_holm"], holm(frame["gain_over_scratch_p"]))
    assert frame["gain_over_kd_p_holm"].notna().sum() == 8


def test_only_seeds_that_both_sides_have(tmp_path: Path, make_square: Make) -> None:
    states = {
        ("", "resnet_nano", "scratch", "scratch", 102): ("running", ""),
        ("resnet_tiny", "resnet_nano", "pat", "tuned", 103): ("diverged", "loss became nan"),
    }
    frame = table(make_square(("cnn",), accuracy=accuracy, states=states).write(tmp_path))
    pat = cell(frame, "resnet_tiny", "resnet_nano", "pat", "tuned")
    assert (pat["n"], pat["seeds_finished"], pat["gain_over_kd_n"]) == (1, 2, 2)
    assert pat["gain_over_scratch"] == 8.0 and pat["accuracy_mean"] == 88.0 and pat["scratch_mean"] == 80.0
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
        assert math.isnan(row["gain_over_scratch"]) and math.isnan(row["accuracy_mean"])


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


def test_rules_are_never_mixed(tmp_path: Path, make_square: Make) -> None:
    """A student whose scratch baseline is shown under other weights has no pair, not a wrong one."""
    make_square(("cnn",), accuracy=accuracy).write(tmp_path)
    matrix = read_matrix(tmp_path)
    matrix.loc[matrix["setting"] == "scratch", "weights"] = "ema"
    frame = cells(matrix, read_runs(tmp_path))
    assert (frame["n"] == 0).all() and frame["gain_over_scratch"].isna().all()
    assert frame["accuracy_mean"].notna().all()


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
