"""The planner's picture of a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import VIT_TEACHER, fake_train, small_study
from test_driver import drive

import sweeps.engine.runs
from pat.config import RunConfig
from pat.train import Outcome
from sweeps.planning.planner import rungs_of
from sweeps.planning.view import RunState, read_state, read_view


def test_all_runs_at_once_are_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig, io: object, **rest: object) -> Outcome:
        if config.student == VIT_TEACHER:
            raise ValueError("made to fail")
        return fake_train(config, io, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    study = small_study()
    folder, driver, _ = drive(tmp_path, study)
    view = read_view(folder)
    assert view == {run_id: read_state(folder, run_id) for run_id in view} and len(view) > 10
    assert read_view(folder, rungs_of(study)) == {run_id: state.at({2, 6}) for run_id, state in view.items()}
    assert read_view(folder, rungs_of(study)) == driver.planner.view
    assert {len(state.scores["raw"]) for state in driver.planner.view.values()} == {0, 1, 2}
    failed = [state for state in view.values() if state.status == "failed"]
    assert [(state.failure_class, state.message) for state in failed] == [("bug", "made to fail")]


def test_scores_that_are_not_there_or_not_finite() -> None:
    state = RunState("", 3, {"raw": {1: 50.0, 2: float("nan"), 3: None}})
    assert [state.score("raw", epoch) for epoch in (1, 2, 3, 4)] == [50.0, None, None, None]
    assert state.score("ema", 1) is None
