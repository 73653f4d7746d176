"""Studies under one storage: finished teachers are taken over, and training starts from another study's runs."""

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
from safetensors.torch import load_file
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study
from test_driver import same

import sweeps.engine.runs
from analysis import ledger, read_runs
from analysis.merge import merge
from analysis.schema import LedgerError
from pat.config import ConfigError, Data, RunConfig
from pat.io import CHECKPOINT, IO, STUDENT
from pat.models import create_student, sha256
from pat.train import Outcome
from sweeps.cli import main
from sweeps.configs import teacher_run
from sweeps.costs.plan_text import plan_text
from sweeps.engine.driver import Driver, run_here
from sweeps.engine.jobs import run_folder
from sweeps.engine.keep import Keep, retry
from sweeps.engine.lock import locked
from sweeps.engine.siblings import provide_initial_runs
from sweeps.planning.units import Run, Segment
from sweeps.presets import PRESETS
from sweeps.store import open_study
from sweeps.study import Cell, Search, Study

HERE = Path(__file__).parent
KILLS = ("before", "between", "after")


def exporting_train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
    """Replays a run, and exports what the CNN student begins with, or of another model one number of its own."""
    outcome = fake_train(config, world, **rest)
    if outcome.status != "finished":
        return outcome
    weights = {"weight": torch.tensor([float(int(config.run_id[:6], 16))])}
    digest = world.export(
        create_student(CNN_STUDENT, 10, 32, 0).state_dict() if config.student == CNN_STUDENT else weights
    )
    return replace(outcome, student_sha256=digest)


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs in this process are replayed; gives the ids of those that were, in order."""
    trained: list[str] = []

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        trained.append(config.run_id)
        return exporting_train(config, world, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    return trained


def drive(storage: Path, study: Study, keep: Keep = "all") -> tuple[Path, str]:
    """Complete a study in this process as the command does; its folder, and what was said."""
    folder, grown = open_study(storage, study)
    said = io.StringIO()
    driver = Driver(folder, grown, study, storage, stream=said, keep=keep)
    driver.adopt()
    provide_initial_runs(folder, driver.planner)
    run_here(driver)
    return folder, said.getvalue()


def of_teacher(study: Study, name: str = CNN_TEACHER) -> str:
    run = teacher_run(study, name)
    assert run is not None
    return run.run_id


def small(**changes: Any) -> Study:
    """The small study without a search, with one method."""
    return small_study(**{"methods": ("kd",), "search": Search(trials=0), **changes})


DONOR = small(name="donor")
TEACHERS = [of_teacher(DONOR, CNN_TEACHER), of_teacher(DONOR, VIT_TEACHER)]


def test_finished_teachers_are_adopted_and_all_is_as_if_they_had_been_trained(
    tmp_path: Path, exporting: list[str]
) -> None:
    drive(tmp_path / "storage", DONOR)
    alone, said = drive(tmp_path / "alone", small_study())
    assert "adopted" not in said
    exporting.clear()
    folder, said = drive(tmp_path / "storage", small_study())
    assert said.startswith("adopted 2 finished teachers from study 'donor'\n")
    assert not set(TEACHERS) & set(exporting) and len(exporting) > 20
    same(alone, folder)
    assert set(read_runs(folder)["study"]) == {"small"}
    donor = tmp_path / "storage" / "donor"
    for run_id in TEACHERS:
        files = {path.name for path in run_folder(folder, run_id).iterdir()}
        assert files == {STUDENT, "epochs.parquet", "run.parquet"}
        own, theirs = ledger.read_run(folder, run_id), ledger.read_run(donor, run_id)
        assert own == {**theirs, "study": "small"}, "host, times and versions are those of where it was trained"
        assert sha256(run_folder(folder, run_id) / STUDENT) == own["student_sha256"]
    assert not merge([alone, folder], tmp_path / "merged" / "small").conflicts


def test_one_is_taken_while_its_study_runs_and_the_rest_is_trained(tmp_path: Path, exporting: list[str]) -> None:
    """One teacher, one study: the other teacher is not there yet. The lock of the other study is of no account."""
    folder, grown = open_study(tmp_path, DONOR)
    with locked(folder):
        donor = Driver(folder, grown, DONOR, tmp_path, stream=io.StringIO())
        job = donor.next_job(1)
        assert job is not None and job.phase == "teacher"
        sweeps.engine.runs.execute(job)
        exporting.clear()
        _, said = drive(tmp_path, small())
    taken = job.run.run_id
    assert said.startswith("adopted 1 finished teacher from study 'donor'\n")
    assert set(TEACHERS) - {taken} <= set(exporting) and taken not in exporting


@pytest.mark.parametrize("what", ["unfinished", "failed", "dropped", "damaged", "no such phase", "set aside"])
def test_what_is_not_whole_is_trained(what: str, tmp_path: Path, exporting: list[str]) -> None:
    donor, _ = drive(tmp_path, DONOR)
    place = run_folder(donor, TEACHERS[0])
    if what == "unfinished":
        (place / "run.parquet").unlink()
    elif what == "dropped":
        (place / STUDENT).unlink()
    elif what == "damaged":
        (place / STUDENT).write_bytes(b"cut of")
    elif what == "set aside":
        drive(tmp_path, small())
        retry(tmp_path / "small", TEACHERS[0])
    else:
        row = ledger.read_run(donor, TEACHERS[0])
        assert row is not None
        changes = {"failed": {"status": "failed"}, "no such phase": {"phase": "scratch"}}[what]
        ledger.write_run(donor, {**row, **changes})
    exporting.clear()
    folder, said = drive(tmp_path, small())
    assert exporting[0] == TEACHERS[0] and TEACHERS[1] not in exporting
    assert said.count("adopted 1 finished teacher from") == (what != "set aside")
    assert (f"not adopted: '{place / STUDENT}' has another SHA-256" in said) == (what == "damaged")
    assert set(read_runs(folder)["status"]) == {"finished"}


def test_what_was_begun_here_is_replaced_by_what_has_finished_there(tmp_path: Path, exporting: list[str]) -> None:
    drive(tmp_path, DONOR)
    folder, grown = open_study(tmp_path, small())
    own = run_folder(folder, TEACHERS[0])
    own.mkdir(parents=True)
    (own / CHECKPOINT).write_bytes(b"half way")
    ledger.write_epochs(folder, TEACHERS[0], ledger.read_run_epochs(tmp_path / "donor", TEACHERS[0])[:3])
    exporting.clear()
    drive(tmp_path, small())
    assert TEACHERS[0] not in exporting and not (own / CHECKPOINT).exists()
    assert len(ledger.read_run_epochs(folder, TEACHERS[0])) == 6


def test_a_copy_that_was_cut_off_is_made_again(
    tmp_path: Path, exporting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row comes last: until then the run has not ended."""
    drive(tmp_path, DONOR)

    def refuse(folder: Path, row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sweeps.engine.siblings.ledger.write_run", refuse)
        with pytest.raises(KeyboardInterrupt):
            drive(tmp_path, small())
    assert not list((tmp_path / "small").rglob("run.parquet")) and list((tmp_path / "small").rglob(STUDENT))
    _, said = drive(tmp_path, small())
    assert said.startswith("adopted 2 finished teachers")


def test_teachers_outlive_any_keep_and_the_studies_are_independent(tmp_path: Path, exporting: list[str]) -> None:
    donor, _ = drive(tmp_path, DONOR, keep="none")
    folder, said = drive(tmp_path, small(), keep="none")
    assert said.startswith("adopted 2 finished") and {p.parent.name for p in folder.rglob(STUDENT)} == set(TEACHERS)
    shutil.rmtree(donor)
    exporting.clear()
    drive(tmp_path, small(seeds=3))
    assert exporting and not set(TEACHERS) & set(exporting)


def test_only_what_is_asked_for_is_adopted(tmp_path: Path, exporting: list[str]) -> None:
    drive(tmp_path, DONOR)
    study = small()
    folder, said = drive(tmp_path, replace(study, pairs=study.pairs[:1]))
    assert said.startswith("adopted 1 finished teacher from") and not run_folder(folder, TEACHERS[1]).exists()


def test_a_plan_counts_them_as_done_and_copies_nothing(tmp_path: Path, exporting: list[str]) -> None:
    drive(tmp_path, DONOR)
    text = plan_text(small(), small(), tmp_path / "small")
    teachers = next(line for line in text.splitlines() if line.startswith("teacher "))
    assert teachers.split()[1:3] == ["2", "2"]
    assert f"adopted: {CNN_TEACHER} (study 'donor'), {VIT_TEACHER} (study 'donor')\n" in text
    assert not (tmp_path / "small").exists()
    assert "adopted" not in plan_text(small(), small(), tmp_path / "elsewhere" / "small")


def test_the_command_adopts(
    tmp_path: Path, exporting: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "small", small)
    monkeypatch.setattr("sweeps.cli.write_report", lambda folder: "")
    drive(tmp_path, DONOR)
    folder, _ = drive(tmp_path, small())
    for run_id in TEACHERS:
        shutil.rmtree(run_folder(folder, run_id))
    assert main(["--preset", "small", "--storage", str(tmp_path)]) == 0
    assert "adopted 2 finished teachers from study 'donor'\n" in capsys.readouterr().out


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


def chained() -> Study:
    """The CNN student begins as the CNN teacher of the same study: one model on both sides."""
    study = small_study(
        teachers={CNN_STUDENT: replace(RECIPE, epochs=4), VIT_TEACHER: RECIPE},
        pairs=((CNN_STUDENT, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)),
        methods=("kd",),
        search=Search(trials=2, wave=2),
    )
    return replace(study, initial={f":{CNN_STUDENT}": f"run:{of_teacher(study, CNN_STUDENT)}"})


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
    command = [sys.executable, str(HERE / "kill_between.py"), str(tmp_path)]
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
