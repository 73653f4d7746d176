"""Teachers under several seeds: their runs, their cells, what a study's ledger and report say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from siblings import drive, exporting_train
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, small_study

import sweeps.engine.runs
from analysis import read_matrix, read_runs
from analysis.frames import load
from pat.config import ConfigError, Recipe
from sweeps.checks import MOST_SEEDS
from sweeps.commands.flags import parser, select
from sweeps.configs import student_run, teacher_run
from sweeps.planning.anchors import anchors_of
from sweeps.planning.planner import Planner
from sweeps.study import Cell, Search, Study, TeacherFile
from sweeps.teacher_seeds import FURTHER, model_of, teacher_seed, with_teacher_seeds

ONCE_MORE = f"{CNN_TEACHER}@1"


def test_each_pair_has_each_teacher() -> None:
    study = small_study(
        initial={CNN_TEACHER: "run:0123456789abcdef"},
        teacher_sizes={VIT_TEACHER: 64},
        corrections={f"{CNN_TEACHER}:{MLP_STUDENT}": {"kd": {"temperature": 2.0}}},
    )
    twice = with_teacher_seeds(study, 2)
    assert twice.pairs == (*study.pairs, (ONCE_MORE, MLP_STUDENT), (f"{VIT_TEACHER}@1", CNN_STUDENT))
    assert twice.initial[ONCE_MORE] == study.initial[CNN_TEACHER] and twice.teacher_sizes[f"{VIT_TEACHER}@1"] == 64
    assert twice.corrections[f"{ONCE_MORE}:{MLP_STUDENT}"] == twice.corrections[f"{CNN_TEACHER}:{MLP_STUDENT}"]
    assert with_teacher_seeds(study, 1) == study and with_teacher_seeds(twice, 2) == twice
    assert with_teacher_seeds(twice, 3).pairs[:4] == twice.pairs and len(with_teacher_seeds(twice, 3).pairs) == 6
    assert Study.from_dict(twice.to_dict()) == twice


def test_one_of_them_can_be_asked_for() -> None:
    """`--pairs` and `--only` name it; what is said of the teacher is said of it."""
    study = small_study(teacher_sizes={CNN_TEACHER: 64})
    flags = parser().parse_args(["--pairs", f"{CNN_TEACHER}@2:{MLP_STUDENT}"])
    asked = select(study, flags)
    assert asked.pairs == ((f"{CNN_TEACHER}@2", MLP_STUDENT),) and asked.used_teachers() == [f"{CNN_TEACHER}@2"]
    whole = with_teacher_seeds(study, 3)
    for name in (f"{CNN_TEACHER}@2", CNN_TEACHER):
        assert teacher_run(asked, name) == teacher_run(whole, name)
    only = select(study, parser().parse_args(["--only", f"{CNN_TEACHER}@2:{MLP_STUDENT}:pat"]))
    assert only.cells() == [Cell(f"{CNN_TEACHER}@2", MLP_STUDENT, "pat")]
    with pytest.raises(ConfigError, match="resnet50@1"):
        select(study, parser().parse_args(["--pairs", f"resnet50@1:{MLP_STUDENT}"]))


def test_only_the_seed_is_another() -> None:
    """That of no student; and a cell's own runs differ in whose weights teach them alone."""
    study = with_teacher_seeds(small_study(), 2)
    first, second = (teacher_run(study, name) for name in (CNN_TEACHER, ONCE_MORE))
    assert first is not None and second is not None and second == replace(first, seed=FURTHER + 1)
    assert FURTHER >= MOST_SEEDS and teacher_seed(CNN_TEACHER) == 0 and model_of(ONCE_MORE) == CNN_TEACHER
    runs = [student_run(study, Cell(name, MLP_STUDENT, "kd"), {}, 1, "run:0") for name in (CNN_TEACHER, ONCE_MORE)]
    assert runs[0] == runs[1], "as long as the weights are called the same"
    units = Planner(study, {}).units
    assert sum(key.kind == "scratch" for key in units) == 2, "baselines are shared"
    assert sum(key.kind == "teacher" for key in units) == 4


def test_a_further_teacher_is_of_the_same_family() -> None:
    study = with_teacher_seeds(small_study(anchors=((CNN_TEACHER, MLP_STUDENT),)), 2)
    assert anchors_of(study, Cell(ONCE_MORE, MLP_STUDENT, "kd")) == [Cell(CNN_TEACHER, MLP_STUDENT, "kd")]


@pytest.mark.parametrize("name", [f"{CNN_TEACHER}@0", f"{CNN_TEACHER}@x", f"{CNN_TEACHER}@", f"{CNN_TEACHER}@1@2"])
def test_what_stands_behind_the_mark_is_a_number(name: str) -> None:
    recipe = Recipe(epochs=2, batch_size=32, lr=0.1)
    with pytest.raises(ConfigError, match="behind @ stands which further seed it is, from 1 to 99"):
        small_study(teachers={name: recipe}, pairs=((name, MLP_STUDENT),))


def test_a_given_teacher_has_no_seeds() -> None:
    given = small_study(teachers={CNN_TEACHER: TeacherFile("t.pth", "0" * 64)}, pairs=((CNN_TEACHER, MLP_STUDENT),))
    with pytest.raises(ConfigError, match=f"teacher {CNN_TEACHER!r} is given, and has no seeds"):
        with_teacher_seeds(given, 2)
    for count in ("0", "101"):
        with pytest.raises(ConfigError, match=f"teacher_seeds = {count}: 1 to 100"):
            select(small_study(), parser().parse_args(["--teacher-seeds", count]))


def test_the_ledger_tells_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the report says how much of a gain is a teacher's luck."""
    monkeypatch.setattr(sweeps.engine.runs, "train", exporting_train)
    study = with_teacher_seeds(small_study(methods=("kd",), search=Search(trials=0)), 2)
    folder, _ = drive(tmp_path, study)
    runs = read_runs(folder)
    taught = runs[runs["method"] == "kd"]
    assert set(taught["teacher"]) == set(study.teachers) and set(taught["teacher_family"]) == {"cnn", "vit"}
    trained = runs[runs["phase"] == "teacher"].set_index("student")
    assert set(trained.index) == set(study.teachers) and trained.loc[ONCE_MORE, "student_family"] == "cnn"
    assert trained["student_sha256"].nunique() == 4
    matrix = read_matrix(folder)
    assert set(matrix["teacher"]) == {"", *study.teachers} and (matrix["status"] == "finished").all()
    frames = load(folder)
    table = frames.table("teacher_seeds")
    assert list(table["teacher"]) == [CNN_TEACHER, VIT_TEACHER] and set(table["teachers"]) == {2}
    gains = frames.seed_gains.set_index(["teacher", "seed"])["gain_over_scratch"]
    means = [gains[name].mean() for name in (CNN_TEACHER, ONCE_MORE)]
    assert table["least"][0] == pytest.approx(min(means)) and table["most"][0] == pytest.approx(max(means))
    again, said = drive(tmp_path, study)
    assert again == folder and "trained" not in said and len(read_runs(folder)) == len(runs)
