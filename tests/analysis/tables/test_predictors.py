"""Which teacher: what the table reads of teachers, on a study in which better teachers help more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.frames import load
from analysis.ledger import read_run, write_run
from analysis.plots import NothingToShow, compose_plot
from analysis.predictors import FILE, as_text
from analysis.storage import write_file

Make = Callable[..., Any]
STUDENTS = ("resnet_nano", "vit_nano", "mixer_nano")
SCORES = {"resnet_tiny": 90.0, "vit_mini": 92.0, "mixer_mini": 96.0}


def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
    return 60.0 + seed + (SCORES[teacher] - 90 if method == "pat" else 90 - SCORES[teacher] if teacher else 0.0)


def test_better_teachers_help_pat_more_and_kd_less(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    folder = make_square(accuracy=accuracy, seeds=(1, 2), settings=("default",)).write(tmp_path)
    for run in (folder / "runs").iterdir():
        row = read_run(folder, run.name)
        assert row is not None
        if row["teacher"]:
            write_run(folder, row | {"teacher_score": SCORES[row["teacher"]]})
    names = {"phase": "teacher", "method": "scratch"}
    for i, teacher in enumerate(SCORES):
        write_run(folder, make_run(f"t{i}", student=teacher, student_params=1000 * (i + 1), **names))
    frames = load(folder)
    table = frames.table("predictors").set_index(["method", "predictor"])
    assert table.loc[("pat", "teacher_score"), "rho"] == pytest.approx(1)
    assert table.loc[("kd", "teacher_score"), "rho"] == pytest.approx(-1)
    assert table.loc[("pat", "teacher_size"), "rho"] == pytest.approx(1), "sizes rise in the same order"
    assert set(table["pairs"]) == {9} and abs(table.loc[("pat", "same_family"), "rho"]) < 0.5
    (drawing,) = compose_plot("predictors", frames)
    assert len(drawing.figure.axes) == 3 and "up to 9 pairs" in drawing.caption


def test_one_teacher_leaves_no_choice(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(("cnn",), seeds=(1, 2)).write(tmp_path))
    assert frames.table("predictors").empty
    with pytest.raises(NothingToShow, match="several teachers"):
        compose_plot("predictors", frames)


def test_what_was_measured_of_teachers_is_read(tmp_path: Path, make_square: Make) -> None:
    """A study in which teachers that are less sure give more: rho of the entropy is 1, of the logit ratio -1."""
    folder = make_square(accuracy=accuracy, seeds=(1, 2), settings=("default",)).write(tmp_path)
    sure = {name: {"params": 10.0, "score": 90.0, "alike": 0.1} for name in SCORES}
    for name, score in SCORES.items():
        sure[name] |= {"entropy": score, "logit_ratio": -score}
    pairs = [{"teacher": t, "student": s, "flop_ratio": 2.0, "similarity": None} for t in SCORES for s in STUDENTS]
    write_file(folder, FILE, as_text({"teachers": sure, "pairs": pairs}))
    frames = load(folder)
    rho = frames.table("predictors").set_index(["method", "predictor"])["rho"]
    assert rho["pat", "entropy"] == pytest.approx(1) and rho["pat", "logit_ratio"] == pytest.approx(-1)
    assert rho["kd", "entropy"] == pytest.approx(-1) and ("pat", "similarity") not in rho.index
    (drawing,) = compose_plot("predictors", frames)
    assert (
        len([ax for ax in drawing.figure.axes if ax.get_title()]) == frames.table("predictors")["predictor"].nunique()
    )
