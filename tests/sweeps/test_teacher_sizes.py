"""Teachers with an input size of their own, in a study: their runs, files, identity, costs, and how it is said."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study

import sweeps.costs.expect
import sweeps.engine.runs
import sweeps.teachers
from analysis import read_runs
from analysis.identity import difference, unite
from analysis.page.study import study as shown
from pat.config import ConfigError, RunConfig
from pat.models import pretrained_file as pretrained
from sweeps.__main__ import main
from sweeps.configs import student_run, teacher_run
from sweeps.costs.expect import configs
from sweeps.costs.flops import Count, Work
from sweeps.costs.plan_text import plan_text
from sweeps.costs.probe import probe
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver, unsynced_models
from sweeps.planning.units import Key, trained_on
from sweeps.store import open_study, read_study
from sweeps.study import SCRATCH, Cell, Search, TeacherFile
from sweeps.teachers import local_file, provide_used, recorded, resolve_used
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.tags import add_tag

SIZES = {VIT_TEACHER: 64}
VIT_CELL = Cell(VIT_TEACHER, CNN_STUDENT, "kd")


def test_a_teacher_is_trained_and_asked_at_its_own_size() -> None:
    plain, study = small_study(), small_study(teacher_sizes=SIZES)
    trained, before = (teacher_run(one, VIT_TEACHER) for one in (study, plain))
    assert trained is not None and before is not None
    assert trained == replace(before, data=replace(before.data, image_size=64))
    taught, old = (student_run(one, VIT_CELL, {}, 1, "run:0") for one in (study, plain))
    assert taught.teacher is not None and old.teacher is not None
    assert taught == replace(old, teacher=replace(old.teacher, image_size=64)) and taught.run_id != old.run_id
    assert teacher_run(study, CNN_TEACHER) == teacher_run(plain, CNN_TEACHER)
    scratch = Cell("", CNN_STUDENT, SCRATCH)
    assert student_run(study, scratch, {}, 1) == student_run(plain, scratch, {}, 1)
    spelled = small_study(teacher_sizes={VIT_TEACHER: 32, CNN_TEACHER: 0})
    assert {key: run.run_id for key, run in configs(spelled).items()} == {
        key: run.run_id for key, run in configs(plain).items()
    }
    assert trained_on(study, Key("teacher", Cell("", VIT_TEACHER, SCRATCH)))[1].image_size == 64
    assert trained_on(study, Key("scratch", scratch))[1].image_size == 32


def test_it_is_part_of_a_study_s_identity(tmp_path: Path) -> None:
    assert "teacher_sizes" not in small_study().to_dict()
    one_pair = {"teachers": {CNN_TEACHER: RECIPE}, "pairs": ((CNN_TEACHER, MLP_STUDENT),)}
    folder, _ = open_study(tmp_path, small_study(**one_pair))
    with pytest.raises(ConfigError, match=f"its teacher_sizes.{CNN_TEACHER} is None, not 64"):
        open_study(tmp_path, small_study(teacher_sizes={CNN_TEACHER: 64}, **one_pair))
    _, grown = open_study(tmp_path, small_study(teacher_sizes=SIZES))
    assert grown.teacher_sizes == SIZES and read_study(folder) == grown
    _, again = open_study(tmp_path, small_study(**one_pair))
    assert again.teacher_sizes == SIZES
    old, new = (json.loads(json.dumps(small_study(**one).to_dict())) for one in (one_pair, {"teacher_sizes": SIZES}))
    assert difference(old, new) is None and unite(old, new)["teacher_sizes"] == SIZES
    assert "teacher_sizes" not in unite(old, old)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher_sizes": {"convnext_micro_23": 64}}, "unknown teacher 'convnext_micro_23'.*; did you mean"),
        ({"teacher_sizes": {CNN_TEACHER: -3}}, "data.image_size = -3: a positive number of pixels"),
    ],
)
def test_bad_sizes_are_refused_when_made(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small_study(**change)


def test_dense_tasks_refuse_it() -> None:
    run = dense.config("segmentation", "kd")
    recipe, models = run.recipe, {dense.STUDENT: run.recipe}
    with pytest.raises(ConfigError, match="teacher.image_size = 96: segmentation compares maps cell by cell"):
        small_study(
            data=replace(run.data, validation=0.1), task=run.task, teachers={dense.TEACHER: recipe}, students=models,
            pairs=((dense.TEACHER, dense.STUDENT),), methods=("kd",), options={}, teacher_sizes={dense.TEACHER: 96},
        )  # fmt: skip


def test_a_file_that_is_given_is_fitted_to_that_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is part of the record's key."""
    tag = add_tag(monkeypatch, CNN_TEACHER, tmp_path / "timm.pth")
    study = small_study(
        teachers={CNN_TEACHER: TeacherFile(f"timm:{tag}"), VIT_TEACHER: RECIPE}, teacher_sizes={CNN_TEACHER: 64}
    )
    asked: list[int] = []
    monkeypatch.setattr(sweeps.teachers, "pretrained_file", lambda *given: asked.append(given[2]) or pretrained(*given))
    resolve_used(study, tmp_path / "study", 10)
    provide_used(study, tmp_path / "study", 10)
    (found,) = recorded(study, tmp_path / "study").given_teachers().values()
    assert local_file(found, tmp_path / "study").exists() and asked == [64]
    assert set(json.loads((tmp_path / "study" / "teachers" / "tags.json").read_text())) == {f"{tag} 64px"}


def test_a_probe_is_made_at_its_size(tmp_path: Path) -> None:
    config = tiny.config(method="kd", epochs=1)
    assert config.teacher is not None
    larger = replace(config, teacher=replace(config.teacher, image_size=64))
    assert probe(larger, tmp_path, None, torch.device("cpu"), steps=2, seconds=0.1).fits


def test_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Count(Work(1e9, 0), Work(1e8, 0), 300, 100)
    monkeypatch.setattr(sweeps.costs.expect, "counts", lambda runs, say: dict.fromkeys(runs, one))
    study = small_study(teacher_sizes=SIZES)
    text = plan_text(study, study, tmp_path, data_root=tmp_path)
    assert f"data digits at 32 px (teachers of their own size: {VIT_TEACHER} 64 px), methods" in text
    assert (f"teacher {VIT_TEACHER} sees images of", "64 px") in shown(study.to_dict())["facts"]


def test_statistics_of_a_teacher_are_looked_at_at_its_size() -> None:
    """A model that can only be made at its own size."""
    study = small_study(workers=2, teacher_sizes={VIT_TEACHER: 64})
    assert unsynced_models(study, gpus=False) == {CNN_STUDENT}


def test_a_study_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", fake_train)
    study = small_study(teacher_sizes=SIZES, search=Search(trials=0), methods=("kd",), seeds=1)
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    run_here(driver)
    assert driver.planner.complete
    runs = [RunConfig.from_json(text) for text in read_runs(folder)["config"]]
    assert len(runs) == 6 and all(run.data.image_size == (64 if run.student == VIT_TEACHER else 32) for run in runs)
    assert {run.teacher.name: run.teacher.image_size for run in runs if run.teacher} == {CNN_TEACHER: 0, **SIZES}


def test_one_pair_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["train", "--student", MLP_STUDENT, "--data", "tiny", "--method", "kd", "--epochs", "1"]
    given += ["--batch-size", "16", "--storage", str(tmp_path)]
    assert main([*given, "--teacher", VIT_TEACHER, "--teacher-size", "40"]) == 0
    assert f"{VIT_TEACHER}:" in capsys.readouterr().out
    assert (
        main(["train", "--student", MLP_STUDENT, "--data", "tiny", "--method", "scratch", "--teacher-size", "40"]) == 2
    )
    assert "--teacher-size: only with --teacher" in capsys.readouterr().err
