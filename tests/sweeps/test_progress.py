"""One line for each event, and what a line costs."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from simulate import Timeline
from small import CNN_TEACHER, simulate, small_study

from analysis import read_runs
from pat.config import Task
from sweeps.engine.progress import Progress
from sweeps.planning.planner import Planner
from sweeps.planning.units import Segment, keys

ROW: dict[str, Any] = {
    "status": "finished",
    "metric": "top1",
    "exported": "raw",
    "test_last_raw": 91.5,
    "test_last_ema": None,
    "seconds": 12.0,
    "epochs_done": 6,
    "failure_class": None,
    "message": None,
}


def begun(tmp_path: Path, verbose: bool = False) -> tuple[Progress, Segment, io.StringIO]:
    """The progress of a study of which the first segment, a teacher, has been handed out."""
    stream = io.StringIO()
    progress = Progress(Planner(small_study(), {}), read_runs(tmp_path), stream, verbose=verbose)
    segment = progress.planner.take(1)
    assert segment is not None
    progress.began(segment)
    return progress, segment, stream


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "finished {}: accuracy 91.50 % on test (12 s)"),
        ({"metric": "miou"}, "finished {}: mean IoU 91.50 % on test (12 s)"),
        ({"metric": "map"}, "finished {}: box AP 91.50 on test (12 s)"),
        ({"status": "pruned", "exported": None}, "pruned   {} (12 s)"),
        (
            {"status": "failed", "exported": None, "failure_class": "oom", "message": "2 workers would fit"},
            "failed   {}, oom: 2 workers would fit (12 s)",
        ),
        (
            {"status": "diverged", "exported": None, "failure_class": "diverged", "message": "loss is nan"},
            "diverged {}: loss is nan (12 s)",
        ),
    ],
)
def test_every_end_is_one_line_with_its_run(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    progress, segment, stream = begun(tmp_path)
    progress.ended(segment, {"run_id": segment.run_id, **ROW, **change})
    run = f"teacher {CNN_TEACHER} scratch seed 0 {segment.run_id}"
    assert stream.getvalue() == f"[0/38] {line.format(run)}\n"


def test_losses_are_said_and_starts_only_on_request(tmp_path: Path) -> None:
    for verbose in (False, True):
        progress, segment, stream = begun(tmp_path, verbose)
        started = stream.getvalue()
        assert (
            f"started  teacher convnext_micro_32 scratch seed 0 {segment.run_id} to epoch 6 of 6" in started
        ) == verbose
        assert bool(started) == verbose
        progress.lost(segment, "killed", 2, 3)
        progress.lost(segment, "the machine is gone", 0, 3)
        lines = stream.getvalue().removeprefix(started).splitlines()
        assert lines[0].endswith(f"{segment.run_id}: killed (2 of 3)") and "lost" in lines[0]
        assert lines[1].endswith("the machine is gone (does not count)") and len(lines) == 2


def test_a_line_walks_no_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, segment, stream = begun(tmp_path)
    monkeypatch.setattr(progress.planner, "units", None)
    progress.ended(segment, {"run_id": segment.run_id, **ROW})
    assert stream.getvalue() and progress.time_left().startswith("about")


def test_the_time_left_comes_from_the_speeds(tmp_path: Path) -> None:
    progress, segment, _ = begun(tmp_path)
    assert progress.time_left() == "time left unknown yet"
    progress.ended(segment, {"run_id": segment.run_id, **ROW})
    assert progress.planner.speeds.seconds(segment.key) == 2.0
    epochs = sum(progress.planner.left().values())
    assert progress.seconds_left() == pytest.approx(2.0 * epochs)
    progress.slots = 4
    assert progress.seconds_left() == pytest.approx(2.0 * epochs / 4)
    assert progress.planner.left().keys() == set(keys(small_study()))


@pytest.mark.parametrize(
    ("task", "points"),
    [("classification", "percentage points"), ("detection", "AP points"), ("segmentation", "mIoU points")],
)
def test_the_best_gain_is_the_largest_mean_over_seeds(task: str, points: str) -> None:
    """Not the largest single one, and paired by seed: scratch has 80 and 70."""
    planner = simulate(small_study())
    steady, lucky = (cell for cell in planner.study.cells() if cell.method == "kd")
    gains = {(steady, 1): 2.0, (steady, 2): 3.0, (lucky, 1): 9.0, (lucky, 2): -5.0}
    ended = [
        {"run_id": row.run_id, "exported": "raw", "test_last_ema": None}
        | {"test_last_raw": {1: 80.0, 2: 70.0}[row.seed] + gains.get((row.cell, row.seed), 0.0)}
        for row in planner.rows()
    ]
    planner.study = SimpleNamespace(task=Task(task))  # type: ignore[assignment]
    found = Progress(planner, pd.DataFrame(ended)).best_gain()
    assert found.startswith(f"best gain so far +2.50 {points} ({steady}, ") and found.endswith("n = 2)")


def test_idle_shares_of_a_timeline() -> None:
    timeline = Timeline(2, [(0.0, 4.0, None), (0.0, 2.0, None), (4.0, 6.0, None)])  # type: ignore[list-item]
    assert timeline.makespan == 6 and timeline.work == 8
    assert timeline.idle_share() == pytest.approx(1 - 8 / 12)
    assert timeline.idle_share(0.5) == pytest.approx(0.0), "4 of 8 are done at 2"
    assert timeline.idle_share(0.75) == pytest.approx(1 - 6 / 8), "6 of 8 are done at 4"
