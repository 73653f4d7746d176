"""The planner's picture of a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import VIT_TEACHER, fake_train, small_study
from test_driver import drive

import sweeps.engine.runs
from analysis import ledger
from pat.config import RunConfig
from pat.train import Outcome
from sweeps.engine.records import epoch_rows
from sweeps.planning.planned import rungs_of
from sweeps.planning.planner import plan
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


def test_raw_and_ema_scores_are_kept_apart(tmp_path: Path) -> None:
    study = small_study()
    segment = plan(study, {}).ready[0]
    rows = epoch_rows(segment.config, fake_train(segment.config, None, until=2).history)  # type: ignore[arg-type]
    ledger.write_epochs(tmp_path, segment.run_id, [{**row, "val_score_raw": 7.0, "val_score_ema": 9.0} for row in rows])
    view = read_view(tmp_path)
    assert view == {segment.run_id: RunState("", 2, {"raw": {1: 7.0, 2: 7.0}, "ema": {1: 9.0, 2: 9.0}})}


def test_scores_that_are_not_there_or_not_finite() -> None:
    state = RunState("", 3, {"raw": {1: 50.0, 2: float("nan"), 3: None}})
    assert [state.score("raw", epoch) for epoch in (1, 2, 3, 4)] == [50.0, None, None, None]
    assert state.score("ema", 1) is None
