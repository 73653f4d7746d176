"""Training starts from runs: those of the study itself, and those of another one under its storage."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from siblings import DONOR, KILLS, chained, drive, of_teacher, small
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER
from test_driver import same

import sweeps.engine.runs
from analysis import ledger, read_runs
from analysis.schema import LedgerError
from pat.config import ConfigError, Data
from pat.io import STUDENT
from pat.models import create_student, sha256
from sweeps.commands.grid import main
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import run_folder
from sweeps.engine.siblings import provide_initial_runs
from sweeps.planning.units import Run, Segment
from sweeps.presets import PRESETS
from sweeps.store import grow, open_study
from sweeps.study import Cell, Search, Study, TeacherFile

HERE = Path(__file__).parent


def test_the_command_refuses_initial_weights_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "small", lambda: small(initial={CNN_TEACHER: "run:0123456789abcdef"}))
    assert main(["--preset", "small", "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: initial weights run:0123456789abcdef of {CNN_TEACHER!r}: no study in {str(tmp_path)!r} has that run\n"
    )


def refusal(folder: Path, study: Study) -> str:
    with pytest.raises(ConfigError) as found:
        drive(folder.parent, study)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_initial_weights_that_cannot_be_used(tmp_path: Path, exporting: list[str]) -> None:
    """Nothing is trained before."""
    donor, _ = drive(tmp_path, DONOR)
    runs = read_runs(donor)
    baseline = runs[(runs["student"] == CNN_STUDENT) & (runs["method"] == "scratch")]["run_id"].iloc[0]
    start, place, exporting[:] = f"run:{baseline}", run_folder(donor, baseline), []
    other = small(name="other", initial={f":{MLP_STUDENT}": start})
    assert f"that run trained {CNN_STUDENT!r}" in refusal(tmp_path / "other", other)
    study = small(initial={f":{CNN_STUDENT}": start})
    student = (place / STUDENT).read_bytes()
    (place / STUDENT).write_bytes(student[:-1] + b"x")
    with pytest.raises(LedgerError, match=f"{STUDENT}' has another SHA-256 than its run recorded"):
        drive(tmp_path, study)
    (place / STUDENT).unlink()
    assert "study 'donor' has not kept its student's file" in refusal(tmp_path / "small", study)
    row = ledger.read_run(donor, baseline)
    assert row is not None
    ledger.write_run(donor, {**row, "status": "diverged"})
    assert "study 'donor' has it as diverged" in refusal(tmp_path / "small", study)
    (place / "run.parquet").unlink()
    assert "study 'donor' has not finished it" in refusal(tmp_path / "small", study)
    shutil.rmtree(place)
    assert f"no study in {str(tmp_path)!r} has that run" in refusal(tmp_path / "small", study)
    pairs = ((CNN_TEACHER, CNN_TEACHER), (VIT_TEACHER, CNN_TEACHER))
    own = small(name="own", students={CNN_TEACHER: RECIPE}, pairs=pairs)
    own = replace(own, initial={f":{CNN_TEACHER}": f"run:{of_teacher(own, VIT_TEACHER)}"})
    assert f"that run trained {VIT_TEACHER!r}" in refusal(tmp_path / "own", own), "a teacher of the study itself"
    assert not exporting


def test_initial_weights_are_kept_where_the_study_is(tmp_path: Path, exporting: list[str]) -> None:
    """What they were taken from may go; other bytes of the same run are refused."""
    donor, _ = drive(tmp_path, DONOR)
    runs = read_runs(donor)
    baseline = runs[(runs["student"] == CNN_STUDENT) & (runs["method"] == "scratch")]["run_id"].iloc[0]
    study = small(initial={f":{CNN_STUDENT}": f"run:{baseline}"})
    folder, _ = drive(tmp_path, study)
    file, digest = folder / "teachers" / f"initial-run-{baseline}.safetensors", read_runs(donor).set_index("run_id")
    assert sha256(file) == digest.loc[baseline, "student_sha256"]
    driver = Driver(folder, study, study, tmp_path)
    config = replace(driver.planner.runs.student(Cell("", CNN_STUDENT, "scratch"), {}, 1).config)
    job = driver.job(Segment(Run(config.run_id, config), 1, "scratch", Cell("", CNN_STUDENT, "scratch"), 1))
    assert (job.initial_file, job.initial_sha256) == (str(file), sha256(file))
    plain = driver.job(Segment(driver.planner.runs.student(Cell("", MLP_STUDENT, "scratch"), {}, 1), 1, "scratch",
                               Cell("", MLP_STUDENT, "scratch"), 1))  # fmt: skip
    assert (plain.initial_file, plain.initial_sha256) == ("", "")
    own = run_folder(donor, baseline)
    (own / STUDENT).write_bytes(b"others")
    row = ledger.read_run(donor, baseline)
    assert row is not None
    ledger.write_run(donor, {**row, "student_sha256": sha256(own / STUDENT)})
    drive(tmp_path, replace(study, seeds=3))
    file.unlink()
    drive(tmp_path, replace(study, seeds=3))  # needs it no more
    assert "but this study began with" in refusal(folder, replace(study, seeds=4))


def test_what_starts_from_a_run_of_its_study_is_given_its_bytes(tmp_path: Path, exporting: list[str]) -> None:
    study = chained()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    provide_initial_runs(folder, driver.planner)
    needed, given = of_teacher(study, CNN_STUDENT), {}
    while (kind := driver.kind()) is not None:
        job = driver.next_job(kind)
        assert job is not None
        given[job.run.run_id] = job.run, job.initial_file, job.initial_sha256
        sweeps.engine.runs.execute(job)
        driver.ended(job.run.run_id)
    file = run_folder(folder, needed) / STUDENT
    for run, initial_file, digest in given.values():
        own = run.student == CNN_STUDENT and run.run_id != needed
        assert (initial_file, digest) == ((str(file), sha256(file)) if own else ("", ""))
    assert driver.planner.complete and not list((folder / "teachers").glob("*"))


def test_a_killed_driver_goes_on_around_the_run_that_others_wait_for(tmp_path: Path, exporting: list[str]) -> None:
    alone, _ = drive(tmp_path / "alone", chained())
    command = [sys.executable, str(HERE / "kill_between.py"), str(tmp_path), "chained"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.stdout.split("\n")[:-1] == [f"{where} {-signal.SIGKILL}" for where in KILLS], done.stderr
    needed = of_teacher(chained(), CNN_STUDENT)
    for where in KILLS:
        folder = tmp_path / where / "small"
        assert (ledger.read_run(folder, needed) is None) == (where == "before")
        exporting.clear()
        drive(tmp_path / where, chained())
        assert (needed in exporting) == (where == "before") and len(exporting) > 5
        same(alone, folder)


def tiny_study(name: str, **changes: Any) -> Study:
    """Trained for real: `resnet_nano_32` as its own student, which the teacher's weights begin. It learns nothing
    more, but counts its running averages anew."""
    recipe = replace(RECIPE, epochs=2, batch_size=16, lr=1e-3)
    study = Study(
        name=name,
        data=Data("tiny", 32),
        teachers={CNN_STUDENT: recipe},
        students={CNN_STUDENT: replace(recipe, epochs=1, optimizer="sgd", lr=1e-12, weight_decay=0.0)},
        pairs=((CNN_STUDENT, CNN_STUDENT),),
        methods=("kd",),
        search=Search(trials=0),
        seeds=1,
    )
    return replace(study, **changes)


def learnt(folder: Path, run_id: str) -> dict[str, torch.Tensor]:
    """The parameters of an exported student."""
    state = load_file(run_folder(folder, run_id) / STUDENT)
    return {key: tensor for key, tensor in state.items() if "running" not in key and "tracked" not in key}


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(tensor, other[key], atol=1e-7) for key, tensor in one.items())


def test_real_runs_start_from_a_teacher_and_from_another_study(tmp_path: Path) -> None:
    study = tiny_study("first")
    study = replace(study, initial={f":{CNN_STUDENT}": f"run:{of_teacher(study, CNN_STUDENT)}"})
    folder, _ = drive(tmp_path, study)
    runs = read_runs(folder).set_index("phase")
    assert set(runs["status"]) == {"finished"} and len(runs) == 3
    teacher = learnt(folder, runs.loc["teacher", "run_id"])
    for phase in ("scratch", "confirm"):
        assert alike(learnt(folder, runs.loc[phase, "run_id"]), teacher)
        assert json.loads(runs.loc[phase, "config"])["initial"] == f"run:{runs.loc['teacher', 'run_id']}"
    plain, _ = drive(tmp_path / "plain", tiny_study("first"))
    scratch = read_runs(plain).set_index("phase").loc["scratch", "run_id"]
    assert not alike(learnt(plain, scratch), teacher)

    start = runs.loc["confirm", "run_id"]
    second = tiny_study("second", initial={f":{CNN_STUDENT}": f"run:{start}"})
    other, said = drive(tmp_path, second)
    assert said.startswith("adopted 1 finished teacher from study 'first'\n")
    found = read_runs(other).set_index("phase")
    assert alike(learnt(other, found.loc["scratch", "run_id"]), learnt(folder, start))
    assert found.loc["scratch", "run_id"] != runs.loc["scratch", "run_id"]


def test_a_student_starts_from_a_file(tmp_path: Path, exporting: list[str]) -> None:
    """All of its runs, by the digest of the file; where the file lies is no part of what the study is."""
    file = tmp_path / "mine.safetensors"
    save_file(create_student(CNN_STUDENT, 3, 32, 5).state_dict(), file)  # of other classes, as from elsewhere
    given = TeacherFile(str(file), sha256(file))
    study = small(initial={f":{CNN_STUDENT}": given})
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    assert study.starts_from(f":{CNN_STUDENT}") == f"sha256:{sha256(file)}" and study.starts_from(":other") == ""
    folder, _ = drive(tmp_path / "runs", study)
    runs = read_runs(folder).set_index("run_id")
    starts = {run_id: json.loads(text).get("initial", "") for run_id, text in runs["config"].items()}
    begun = {run_id for run_id, start in starts.items() if start == f"sha256:{sha256(file)}"}
    assert begun == set(runs.index[runs["student"] == CNN_STUDENT]) and not {*starts.values()} - {
        "",
        starts[min(begun)],
    }
    driver = Driver(folder, study, study, tmp_path)
    run = driver.planner.runs.student(Cell("", CNN_STUDENT, "scratch"), {}, 1)
    job = driver.job(Segment(run, 1, "scratch", Cell("", CNN_STUDENT, "scratch"), 1))
    assert (job.initial_file, job.initial_sha256) == (str(file), sha256(file))
    file.rename(tmp_path / "moved.safetensors")
    moved = replace(study, initial={f":{CNN_STUDENT}": replace(given, path=str(tmp_path / "moved.safetensors"))})
    assert grow(study, moved, folder).initial == moved.initial
    with pytest.raises(ConfigError, match="holds another study of this name: its initial"):
        grow(study, replace(study, initial={f":{CNN_STUDENT}": replace(given, sha256="0" * 64)}), folder)
    exporting[:] = []
    missing = small(name="missing", initial={f":{CNN_STUDENT}": given})
    assert "mine.safetensors" in refusal(tmp_path / "missing", missing)
    other = replace(
        moved, name="other", initial={f":{CNN_STUDENT}": TeacherFile(str(tmp_path / "moved.safetensors"), "0" * 64)}
    )
    assert f"have SHA-256 {given.sha256}, but {'0' * 64} is expected" in refusal(tmp_path / "other", other)
    unfit = replace(moved, name="unfit", initial={f":{MLP_STUDENT}": moved.initial[f":{CNN_STUDENT}"]})
    assert "do not fit" in refusal(tmp_path / "unfit", unfit)
    assert not exporting
    with pytest.raises(ConfigError, match="a tag is no file; write 'timm:x.y'"):
        small(initial={f":{CNN_STUDENT}": TeacherFile("timm:x.y")})
