"""Weights that the training of a teacher or student starts from: fetched once, by the driver."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, small_study

from pat.config import ConfigError
from pat.models import create_student
from pat.weights import sha256
from sweeps.configs import student_run, teacher_run
from sweeps.engine.driver import Driver
from sweeps.planning.units import Run, Segment
from sweeps.store import open_study
from sweeps.study import Cell
from sweeps.teachers import initial_file, provide_used
from tests import tiny
from tests.tags import add_tag


def test_training_starts_from_weights_that_the_driver_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker never asks timm: with timm's source gone the training starts from the same bits."""
    tag = add_tag(monkeypatch, CNN_TEACHER, tmp_path / "timm.pth")
    study = small_study(initial={CNN_TEACHER: f"timm:{tag}"}, pairs=((CNN_TEACHER, MLP_STUDENT),), methods=("kd",))
    config = teacher_run(study, CNN_TEACHER)
    assert config is not None
    direct = create_student(CNN_TEACHER, 10, 32, 0, config.initial).state_dict()
    folder, _ = open_study(tmp_path / "runs", study)
    provide_used(study, folder, 10)
    file = initial_file(tag, folder)
    timms = tmp_path / "timm.pth"
    timms.rename(tmp_path / "gone.pth")
    fetched = create_student(CNN_TEACHER, 10, 32, 0, config.initial, file).state_dict()
    assert all(torch.equal(tensor, fetched[name]) for name, tensor in direct.items())
    job = Driver(folder, study, study, tmp_path).job(
        Segment(Run(config.run_id, config), 1, "teacher", Cell("", CNN_TEACHER, "scratch"), 1)
    )
    assert job.initial_file == str(file)
    begun = tiny.config(CNN_TEACHER, epochs=1, recipe={"warmup_epochs": 0}, initial=config.initial)
    assert tiny.run(begun, tmp_path / "trained", initial_file=file).initial_sha256 == sha256(file)
    provide_used(study, folder, 10)  # fetches nothing
    file.unlink()
    with pytest.raises(ConfigError):
        provide_used(study, folder, 10)
    (tmp_path / "gone.pth").rename(timms)
    torch.save(create_student(CNN_TEACHER, 10, 32, seed=9).state_dict(), timms)
    with pytest.raises(ConfigError, match="this study began with"):
        provide_used(study, folder, 10)


def test_all_runs_of_a_student_start_from_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines too; no run of its teacher or of another student changes its identity."""
    tag = add_tag(monkeypatch, MLP_STUDENT, tmp_path / "timm.pth")
    plain, initial = small_study(), small_study(initial={f":{MLP_STUDENT}": f"timm:{tag}"})
    assert teacher_run(initial, CNN_TEACHER) == teacher_run(plain, CNN_TEACHER)
    cells = [Cell("", MLP_STUDENT, "scratch"), Cell(CNN_TEACHER, MLP_STUDENT, "kd"), Cell("", CNN_STUDENT, "scratch")]
    for cell in cells:
        one, other = (student_run(study, cell, {}, 1, "run:ab") for study in (plain, initial))
        started = cell.student == MLP_STUDENT
        assert (one.run_id != other.run_id) == started and other.initial == (f"timm:{tag}" if started else "")
    folder, _ = open_study(tmp_path / "runs", initial)
    provide_used(initial, folder, 10)
    baseline = student_run(initial, cells[0], {}, 1)
    job = Driver(folder, initial, initial, tmp_path).job(
        Segment(Run(baseline.run_id, baseline), 1, "scratch", cells[0], 1)
    )
    assert job.initial_file == str(initial_file(tag, folder))
    fetched = create_student(MLP_STUDENT, 10, 32, 1, baseline.initial, Path(job.initial_file)).state_dict()
    direct = torch.load(tmp_path / "timm.pth", weights_only=True)
    assert all(torch.equal(tensor, fetched[name]) for name, tensor in direct.items())


def test_a_model_on_both_sides_starts_from_weights_on_the_side_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = add_tag(monkeypatch, CNN_TEACHER, tmp_path / "timm.pth")
    both = {"students": {CNN_TEACHER: RECIPE}, "pairs": ((CNN_TEACHER, CNN_TEACHER),), "methods": ("kd",)}
    scratch = Cell("", CNN_TEACHER, "scratch")
    for key, teacher_starts in ((CNN_TEACHER, True), (f":{CNN_TEACHER}", False)):
        study = small_study(**both, initial={key: f"timm:{tag}"})
        teacher, student = teacher_run(study, CNN_TEACHER), student_run(study, scratch, {}, 1)
        assert teacher is not None and bool(teacher.initial) == teacher_starts != bool(student.initial)
