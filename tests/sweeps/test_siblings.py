"""Studies under one storage: finished teachers are taken over."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from siblings import DONOR, drive, of_teacher, small
from small import CNN_TEACHER, VIT_TEACHER, small_study
from test_driver import same

import sweeps.engine.runs
from analysis import ledger, read_runs
from analysis.merge import merge
from pat.io import CHECKPOINT, CONFIG, STUDENT
from pat.models import sha256
from sweeps.commands.grid import main
from sweeps.costs.plan_text import plan_text
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import run_folder
from sweeps.engine.keep import retry
from sweeps.engine.lock import locked
from sweeps.presets import PRESETS
from sweeps.store import open_study

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
        assert files == {STUDENT, CONFIG, "epochs.parquet", "run.parquet"}
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
    monkeypatch.setattr("sweeps.commands.grid.write_report", lambda folder: "")
    drive(tmp_path, DONOR)
    folder, _ = drive(tmp_path, small())
    for run_id in TEACHERS:
        shutil.rmtree(run_folder(folder, run_id))
    assert main(["--preset", "small", "--storage", str(tmp_path)]) == 0
    assert "adopted 2 finished teachers from study 'donor'\n" in capsys.readouterr().out
