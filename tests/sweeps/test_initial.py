"""Weights that the training of a teacher starts from: fetched once, by the driver."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import CNN_TEACHER, MLP_STUDENT, small_study

from pat.config import ConfigError
from pat.models import create_student
from sweeps.engine.driver import Driver
from sweeps.planning.units import Run, Segment
from sweeps.store import open_study
from sweeps.study import Cell, teacher_run
from sweeps.teachers import initial_file, provide_used
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
    provide_used(study, folder, 10)  # fetches nothing
    file.unlink()
    with pytest.raises(ConfigError):
        provide_used(study, folder, 10)
    (tmp_path / "gone.pth").rename(timms)
    torch.save(create_student(CNN_TEACHER, 10, 32, seed=9).state_dict(), timms)
    with pytest.raises(ConfigError, match="this study began with"):
        provide_used(study, folder, 10)
