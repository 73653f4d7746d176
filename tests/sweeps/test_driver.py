"""Whole studies in this process, with runs that are replayed: what is written, shown and never done twice."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pyarrow.parquet import read_table
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study

import sweeps.engine.runs
from analysis import read_epochs, read_matrix, read_runs, storage
from analysis.schema import EPOCH_VOLATILE, RUN_VOLATILE
from pat.config import ConfigError, RunConfig
from pat.io import IO
from pat.train import Outcome
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.health import LOST_LIMIT, UNBEGUN_LIMIT, Failure
from sweeps.engine.jobs import WHERE
from sweeps.engine.keep import retry
from sweeps.engine.kept import KEEP, Keep
from sweeps.engine.progress import duration
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
    monkeypatch.setattr(sweeps.engine.runs, "train", fake_train)
    one, _, _ = drive(tmp_path / "undisturbed", small_study())
    for after in (3, 11, 4):
        count = iter(range(after))

        def dying(config: object, world: object, count: object = count, **rest: object) -> object:
            if next(count, None) is None:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return fake_train(config, world, **rest)  # type: ignore[arg-type]

        monkeypatch.setattr(sweeps.engine.runs, "train", dying)
        with pytest.raises(KeyboardInterrupt):
            drive(tmp_path / "killed", small_study())
    monkeypatch.setattr(sweeps.engine.runs, "train", fake_train)
    other, _, _ = drive(tmp_path / "killed", small_study())
    same(one, other)


def failing(student: str, error: Exception) -> Any:
    """In the place of `train`: the runs of one student fail."""

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        if config.student == student:
            raise error
        return fake_train(config, world, **rest)

    return train


def test_a_failed_run_stays_failed_until_it_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", failing(VIT_TEACHER, ConfigError("no such pixels\nand more")))
    folder, driver, said = drive(tmp_path, small_study())
    assert not driver.planner.complete and f"teacher {VIT_TEACHER} failed: no such pixels" in driver.planner.problems[0]
    row = read_runs(folder).query("status == 'failed'").iloc[0]
    assert (row["failure_class"], row["message"]) == ("bug", "no such pixels") and "no such pixels" in said
    assert set(read_matrix(folder)["status"]) == {"finished", "blocked"}
    monkeypatch.setattr(sweeps.engine.runs, "train", fake_train)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    _, driver, _ = drive(tmp_path, small_study())
    assert not driver.planner.complete and before == {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    assert retry(folder, "diverged") == [] and retry(folder, "failed") == [row["run_id"]]
    assert read_table(folder / "set_aside" / f"{row['run_id']}-1" / "run.parquet")["message"].to_pylist() == [
        "no such pixels"
    ]
    _, driver, _ = drive(tmp_path, small_study())
    assert driver.planner.complete and "failed" not in set(read_runs(folder)["status"])


def test_a_run_is_retried_by_its_id_as_often_as_one_likes(tmp_path: Path, replayed: None) -> None:
    folder, _, _ = drive(tmp_path, small_study())
    run_id = read_runs(folder).query("phase == 'confirm'")["run_id"].iloc[0]
    before = lasting(folder)
    for number in (1, 2):
        assert retry(folder, run_id) == [run_id] and not (folder / "runs" / run_id / "epochs.parquet").exists()
        assert {path.name for path in (folder / "set_aside" / f"{run_id}-{number}").iterdir()} >= {"run.parquet"}
        drive(tmp_path, small_study())
    for left, right in zip(before, lasting(folder), strict=True):
        pd.testing.assert_frame_equal(left, right)
    with pytest.raises(ConfigError, match="--retry 'nobody': failed, diverged, changed, or the id of a run"):
        retry(folder, "nobody")


def lose(driver: Driver, run_id: str, begun: bool = True, preempted: bool = False) -> None:
    """The process of a run dies, while it trains or before, alone or with its machine."""
    if begun:
        storage.write_file(driver.folder, f"runs/{run_id}/{WHERE}", b"{}")
    driver.lost(run_id, Failure("killed", preempted=preempted))


@pytest.mark.usefixtures("replayed")
def test_a_process_that_dies_before_the_run_begins_is_no_fault_of_the_run(tmp_path: Path) -> None:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    for _ in range(UNBEGUN_LIMIT):
        job = driver.next_job(1)
        assert job is not None and not (folder / "runs" / job.run.run_id / "run.parquet").exists()
        lose(driver, job.run.run_id, begun=False)
    assert read_runs(folder)["message"].tolist() == ["its process was lost 20 times: killed"]


@pytest.mark.usefixtures("replayed")
def test_a_run_whose_process_is_lost_too_often_fails(tmp_path: Path) -> None:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    for attempt in range(LOST_LIMIT):
        for preemption in range(2):
            job = driver.next_job(1)
            assert job is not None and (job.retries, job.preemptions) == (attempt, 2 * attempt + preemption)
            lose(driver, job.run.run_id, begun=bool(preemption), preempted=True)
        job = driver.next_job(1)
        assert job is not None and job.retries == attempt
        lose(driver, job.run.run_id)
    row = read_runs(folder).iloc[0]
    assert (row["status"], row["failure_class"]) == ("failed", "lost")
    assert row["message"] == "its process was lost 3 times: killed"
    run_here(driver)
    assert "lost 3 times" in driver.planner.problems[0]


@pytest.mark.usefixtures("replayed")
def test_losses_of_a_run_that_gets_on_do_not_add_up(tmp_path: Path) -> None:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    first = driver.planner.take(1)
    assert first is not None

    def again() -> sweeps.engine.runs.Job:
        segment = driver.planner.flying.get(first.run_id) or driver.planner.take_on(first.run_id)
        assert segment is not None
        return driver.job(segment)

    for epoch in range(1, 6):
        for _ in range(LOST_LIMIT - 1):
            again()
            lose(driver, first.run_id)
        sweeps.engine.runs.execute(replace(again(), until=epoch))
    lose(driver, first.run_id)
    sweeps.engine.runs.execute(again())
    rows = read_runs(folder)
    assert rows["status"].tolist() == ["finished"] and rows["retries"].tolist() == [11]


@pytest.mark.parametrize("keep", KEEP)
def test_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep) -> None:
    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        outcome = fake_train(config, world, **rest)
        if outcome.status == "finished":
            world.export({"weight": torch.zeros(1)})
        return outcome

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO(), keep=keep)
    run_here(driver)
    runs = read_runs(folder).set_index("run_id")
    kept = runs.loc[[path.parent.name for path in folder.glob("runs/*/student.safetensors")]]
    phases = kept["phase"].value_counts().to_dict()
    finished = runs[runs["status"] == "finished"]["phase"].value_counts().to_dict()
    if keep == "all":
        assert phases == finished
    elif keep == "none":
        assert phases == {"teacher": 2}
    else:
        assert phases["teacher"] == 2 and phases["scratch"] == 2 and "search" not in phases
        assert 4 <= phases["confirm"] <= 8  # a cell whose best is the default has one setting
        scores = {
            run_id: driver.planner.view[run_id].score("raw", 6) for run_id in runs.query("phase == 'scratch'").index
        }
        for _, group in runs.query("phase == 'scratch'").groupby("student"):
            assert max(group.index, key=lambda run_id: scores[run_id]) in kept.index


@pytest.mark.usefixtures("replayed")
def test_jobs_name_the_teacher_bytes(tmp_path: Path) -> None:
    study = small_study(teachers={CNN_TEACHER: TeacherFile("/t.pt", "ab" * 32), VIT_TEACHER: RECIPE}, methods=("kd",))
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    jobs = {}
    while (job := driver.next_job(1)) is not None:
        jobs[job.run.teacher and job.run.teacher.name] = job
        sweeps.engine.runs.execute(job)
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
    sweeps.engine.runs.execute(job)
    driver.ended(job.run.run_id)
    assert "1 of 19 runs done" in driver.progress.status() and "left" in driver.progress.status()
    run_here(driver)
    _, total = driver.planner.counts()  # 19, or 17 where the best setting is the default
    assert f"{total} of {total} runs done, 0 failed; about 0 s left; best gain so far" in driver.progress.status()


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
