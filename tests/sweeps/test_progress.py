"""One line for each event, and what a line costs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from simulate import Timeline, steps
from small import CNN_TEACHER, simulate, small_study

from analysis import read_runs
from pat.config import Task
from sweeps.configs import default_options
from sweeps.engine.progress import COLUMNS, Progress
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Run, Segment, keys
from sweeps.planning.view import NOT_STARTED
from sweeps.study import SEARCH_SEED

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
    assert stream.getvalue()


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


@pytest.mark.parametrize("devices", [1, 3, 64])
def test_the_time_left_is_a_bound_at_any_moment_and_exact_at_the_end(
    devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch takes just what is expected of it. No schedule is shorter than what is said, and the planner's own
    takes at most twice as long (Graham 1966); where one run is left, it is what is left of that run."""
    study = small_study()
    paces = {key: 1.0 + place for place, key in enumerate(keys(study))}
    planner, timeline, since, said = Planner(study, {}, speeds=Speeds(paces)), Timeline(devices), {}, []
    progress = Progress(planner, pd.DataFrame(columns=list(COLUMNS)), slots=devices)
    progress.since = since
    monkeypatch.setattr("sweeps.engine.progress.time", SimpleNamespace(time=lambda: moment))

    def clock(segment: Segment, done: int) -> float:
        since[segment.run_id] = timeline.makespan
        return paces[segment.key] * (segment.until - done)

    default = [planner.runs.student(cell, default_options(study, cell), SEARCH_SEED).run_id for cell in study.cells()]

    def score(run: Run, epoch: int) -> float:
        """The default is never the best, so that no confirmation stands for two settings."""
        return 0.0 if run.run_id in default else 1 + int(run.run_id[:4], 16) / 1000

    for _ in steps(planner, timeline, clock, score):
        flying = list(planner.flying.values())
        ends = [since[one.run_id] + clock_of(planner, paces, one) for one in flying]
        between = [(timeline.makespan + min(ends)) / 2] if ends and planner.kind() is None else []
        for moment in (timeline.makespan, *between):
            left = progress.seconds_left()
            said.append((moment, left))
            if len(flying) == planner.counts()[1] - planner.counts()[0] == 1:
                assert left == pytest.approx(ends[0] - moment)
    assert len(said) > 40
    assert all(left <= timeline.makespan - moment + 1e-6 <= 2 * left + 1e-6 for moment, left in said)


def clock_of(planner: Planner, paces: Mapping[Key, float], segment: Segment) -> float:
    """The seconds that a segment takes from its start."""
    return paces[segment.key] * (segment.until - planner.view.get(segment.run_id, NOT_STARTED).epochs)


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
