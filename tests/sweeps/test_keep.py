"""Which students outlive a study, and what a run of it is trained and told with."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import CNN_STUDENT, VIT_TEACHER, fake_train, simulate, small_study

import sweeps.engine.runs
from analysis import read_runs
from analysis.schema import PHASES
from pat.config import RunConfig
from pat.io import IO, STUDENT
from pat.train import Outcome
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import run_folder
from sweeps.engine.keep import drop_students
from sweeps.engine.kept import KEEP, outlives
from sweeps.planning.unsynced import unsynced_models
from sweeps.store import open_study


def driver_of(tmp_path: Path, **rest: Any) -> Driver:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    return Driver(folder, grown, study, tmp_path, stream=io.StringIO(), **rest)


def test_what_outlives_its_run() -> None:
    """Others need the teachers; the students of a search are of no use to `best`."""
    kept = {keep: [phase for phase in PHASES if outlives(keep, phase)] for keep in KEEP}
    assert kept == {
        "all": list(PHASES),
        "best": ["teacher", "pretrain", "scratch", "confirm"],
        "none": ["teacher", "pretrain"],
    }


def test_the_best_is_that_of_the_weights_that_are_exported(tmp_path: Path) -> None:
    """By EMA where the recipe keeps one, whatever the raw weights say; by the raw weights where there is none."""
    planner = simulate(small_study())
    for run_id, state in planner.view.items():
        scores = state.scores["ema"]
        other = {epoch: -(score or 0) for epoch, score in scores.items()}
        planner.view[run_id] = replace(state, scores={"ema": scores, "raw": other})
        (place := run_folder(tmp_path, run_id)).mkdir(parents=True)
        (place / STUDENT).touch()
    plain = {str(row.run_id) for row in planner.rows() if row.cell.student == CNN_STUDENT}
    for run_id in plain:
        scores = planner.view[run_id].scores
        planner.view[run_id] = replace(planner.view[run_id], scores={**scores, "ema": dict.fromkeys(scores["raw"])})
    drop_students(tmp_path, planner, "best")
    groups: dict[object, list[str]] = defaultdict(list)
    for row in planner.rows():
        groups[row.cell, row.setting].append(str(row.run_id))
    for runs in groups.values():
        weights = "raw" if runs[0] in plain else "ema"
        best = max(runs, key=lambda run_id: planner.view[run_id].scores[weights][6] or 0)
        assert (run_folder(tmp_path, best) / STUDENT).exists()
    assert len(list(tmp_path.glob("runs/*/*"))) < len(planner.view)


def test_an_incomplete_study_drops_no_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        if config.student == VIT_TEACHER:
            raise ValueError("made to fail")
        outcome = fake_train(config, world, **rest)
        if outcome.status == "finished":
            world.export({"weight": torch.zeros(1)})
        return outcome

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    driver = driver_of(tmp_path, keep="best")
    run_here(driver)
    assert not driver.planner.complete
    wanted = read_runs(driver.folder).query("status == 'finished' and phase != 'search'")["run_id"]
    assert {path.parent.name for path in driver.folder.glob(f"runs/*/{STUDENT}")} >= set(wanted)


def test_batchnorm_is_part_of_the_identity_only_where_workers_cannot_share_it() -> None:
    assert unsynced_models(small_study(workers=2), gpus=False) == {CNN_STUDENT}
    assert unsynced_models(small_study(workers=2), gpus=True) == frozenset()
    assert unsynced_models(small_study(), gpus=False) == frozenset()


def test_a_run_is_trained_with_the_bytes_of_its_teacher_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the teacher's own record says its file hashes to is what `train` must find."""
    asked: dict[str, tuple[str, str]] = {}

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        if config.teacher is not None:
            asked[config.run_id] = config.teacher.weights.removeprefix("run:"), rest["teacher_sha256"]
        return replace(fake_train(config, world, **rest), student_sha256=f"hash of {config.run_id}")

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    run_here(driver_of(tmp_path))
    assert asked and all(sha256 == f"hash of {teacher}" for teacher, sha256 in asked.values())
