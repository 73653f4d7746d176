"""Whole studies in this process, with runs that are replayed: what is written, shown and never done twice."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study

import sweeps.runs
from analysis import read_epochs, read_matrix, read_runs
from analysis.schema import EPOCH_VOLATILE, RUN_VOLATILE
from pat.config import ConfigError
from sweeps.driver import LOST_LIMIT, Driver, run_here
from sweeps.progress import duration
from sweeps.store import open_study
from sweeps.study import Search, Study, TeacherFile


def drive(storage: Path, study: Study) -> tuple[Path, Driver, str]:
    """Complete a study in this process; its folder, its driver, and what was said."""
    folder, grown = open_study(storage, study)
    said = io.StringIO()
    driver = Driver(folder, grown, study, storage, stream=said)
    run_here(driver)
    return folder, driver, said.getvalue()


def lasting(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The ledger without what may differ from one execution to the next."""
    runs, epochs = read_runs(folder), read_epochs(folder)
    return (
        runs.drop(columns=list(RUN_VOLATILE)),
        epochs.drop(columns=list(EPOCH_VOLATILE)),
        read_matrix(folder),
    )


def same(one: Path, other: Path) -> None:
    for left, right in zip(lasting(one), lasting(other), strict=True):
        pd.testing.assert_frame_equal(left, right)


@pytest.mark.usefixtures("replayed")
def test_a_study_is_complete_and_never_trains_twice(tmp_path: Path) -> None:
    folder, driver, said = drive(tmp_path, small_study())
    assert driver.planner.complete
    runs, matrix = read_runs(folder), read_matrix(folder)
    assert set(runs["status"]) == {"finished", "pruned"} and not runs["run_id"].duplicated().any()
    assert set(matrix["status"]) == {"finished"} and not matrix["run_id"].isna().any()
    assert said.count("finished") == (runs["status"] == "finished").sum()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    _, _, said = drive(tmp_path, small_study())
    assert said == "" and before == {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}


@pytest.mark.usefixtures("replayed")
def test_one_wave_extended_by_another_equals_two_at_once(tmp_path: Path) -> None:
    long = small_study(search=Search(trials=8, wave=4))
    one, _, _ = drive(tmp_path / "at once", long)
    drive(tmp_path / "extended", small_study())
    other, _, _ = drive(tmp_path / "extended", long)
    same(one, other)
    assert (other / "superseded").is_dir()


@pytest.mark.usefixtures("replayed")
def test_parts_of_a_study_add_up_to_it(tmp_path: Path) -> None:
    whole = small_study()
    one, _, _ = drive(tmp_path / "whole", whole)
    for pair in whole.pairs:
        for method in whole.methods:
            other, driver, _ = drive(tmp_path / "parts", small_study(pairs=(pair,), methods=(method,)))
            assert driver.planner.complete
    runs = [read_runs(folder).drop(columns=list(RUN_VOLATILE)) for folder in (one, other)]
    pd.testing.assert_frame_equal(*runs)


def test_a_killed_driver_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.runs, "train", fake_train)
    one, _, _ = drive(tmp_path / "undisturbed", small_study())
    for after in (3, 11, 4):
        count = iter(range(after))

        def dying(config: object, world: object, count: object = count, **rest: object) -> object:
            if next(count, None) is None:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return fake_train(config, world, **rest)  # type: ignore[arg-type]

        monkeypatch.setattr(sweeps.runs, "train", dying)
        with pytest.raises(KeyboardInterrupt):
            drive(tmp_path / "killed", small_study())
    monkeypatch.setattr(sweeps.runs, "train", fake_train)
    other, _, _ = drive(tmp_path / "killed", small_study())
    same(one, other)


def test_a_failed_run_is_recorded_and_tried_again_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: object, world: object, **rest: object) -> object:
        if config.student == VIT_TEACHER:  # type: ignore[attr-defined]
            raise ConfigError("no such pixels\nand more")
        return fake_train(config, world, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sweeps.runs, "train", failing)
    folder, driver, said = drive(tmp_path, small_study())
    assert not driver.planner.complete and f"teacher {VIT_TEACHER} failed: no such pixels" in driver.planner.problems[0]
    row = read_runs(folder).query("status == 'failed'").iloc[0]
    assert (row["failure_class"], row["message"]) == ("ConfigError", "no such pixels") and "no such pixels" in said
    assert set(read_matrix(folder)["status"]) == {"finished", "blocked"}
    monkeypatch.setattr(sweeps.runs, "train", fake_train)
    _, driver, _ = drive(tmp_path, small_study())
    assert driver.planner.complete and "failed" not in set(read_runs(folder)["status"])


@pytest.mark.usefixtures("replayed")
def test_a_run_whose_process_is_lost_too_often_fails(tmp_path: Path) -> None:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    for attempt in range(LOST_LIMIT):
        job = driver.next_job(1)
        assert job is not None and job.retries == attempt
        driver.ended(job.run.run_id, lost=True)
    row = read_runs(folder).iloc[0]
    assert (row["status"], row["failure_class"], row["message"]) == ("failed", "Lost", "its process was lost 3 times")
    run_here(driver)
    assert "lost 3 times" in driver.planner.problems[0]


@pytest.mark.usefixtures("replayed")
def test_jobs_name_the_teacher_bytes(tmp_path: Path) -> None:
    study = small_study(teachers={CNN_TEACHER: TeacherFile("/t.pt", "ab" * 32), VIT_TEACHER: RECIPE}, methods=("kd",))
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    jobs = {}
    while (job := driver.next_job(1)) is not None:
        jobs[job.run.teacher and job.run.teacher.name] = job
        sweeps.runs.execute(job)
        driver.ended(job.run.run_id)
    assert (jobs[CNN_TEACHER].teacher_file, jobs[CNN_TEACHER].teacher_sha256) == ("/t.pt", "ab" * 32)
    trained = jobs[VIT_TEACHER].run.teacher
    assert trained is not None and trained.weights.startswith("run:")
    assert jobs[VIT_TEACHER].teacher_sha256 == trained.weights.removeprefix("run:")
    assert jobs[VIT_TEACHER].teacher_file.endswith(f"{jobs[VIT_TEACHER].teacher_sha256}/student.safetensors")


@pytest.mark.usefixtures("replayed")
def test_the_status_line_says_what_a_person_wants_to_know(tmp_path: Path) -> None:
    study = small_study(pairs=((CNN_TEACHER, MLP_STUDENT),))
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    assert driver.progress.status() == "running nothing; 0 of 19 runs done, 0 failed; time left unknown yet"
    job = driver.next_job(1)
    assert job is not None and "running 1 teacher" in driver.progress.status()
    sweeps.runs.execute(job)
    driver.ended(job.run.run_id)
    assert "1 of 19 runs done" in driver.progress.status() and "left" in driver.progress.status()
    run_here(driver)
    assert "19 of 19 runs done, 0 failed; about 0 s left; best gain so far" in driver.progress.status()


@pytest.mark.parametrize(("seconds", "text"), [(48, "48 s"), (700, "12 min"), (11100, "3 h 05 min"), (4e5, "4 d 15 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.usefixtures("replayed")
def test_a_lost_table_of_epochs_is_written_again(tmp_path: Path) -> None:
    folder, _, _ = drive(tmp_path / "one", small_study())
    copy = tmp_path / "two" / "small"
    shutil.copytree(folder, copy)
    victim = next(copy.glob("runs/*/run.parquet")).parent
    shutil.rmtree(victim)
    other, _, _ = drive(tmp_path / "two", small_study(data=replace(small_study().data)))
    same(folder, other)
