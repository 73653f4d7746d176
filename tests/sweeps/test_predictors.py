"""What is measured of teachers when a study is complete: once, from weights that are there, and read by the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, small_study

from analysis import ledger
from analysis.predictors import FILE, PAIR, TEACHER, as_frame, read_predictors, united
from analysis.schema import MATRIX_SCHEMA, LedgerError
from pat import create_task
from sweeps.configs import teacher_run
from sweeps.engine.jobs import student_path
from sweeps.predictors import write_predictors
from sweeps.study import Study


def keep(folder: Path, study: Study, name: str, run_id: str, seed: int) -> None:
    path = student_path(folder, run_id)
    path.parent.mkdir(parents=True)
    save_file(create_task(study.task, study.data, 10).student(name, seed).state_dict(), path)


@pytest.fixture
def complete(tmp_path: Path) -> tuple[Path, Study]:
    """Two teachers' weights, the scratch runs of one of the two students."""
    study = small_study()
    for seed, name in enumerate((CNN_TEACHER, VIT_TEACHER)):
        run = teacher_run(study, name)
        assert run is not None
        keep(tmp_path, study, name, run.run_id, seed)
    keep(tmp_path, study, MLP_STUDENT, "scratch1", 3)
    row = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "small", "data": "digits", "metric": "top1", "teacher": ""}
    row |= {"method": "scratch", "setting": "scratch", "status": "finished", "rule": "last", "weights": "raw"}
    rows = [
        row | {"student": name, "seed": 1, "run_id": run}
        for name, run in ((MLP_STUDENT, "scratch1"), (CNN_STUDENT, "gone"))
    ]
    ledger.write_matrix(tmp_path, rows)
    return tmp_path, study


def test_teachers_are_measured_once(complete: tuple[Path, Study], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, study = complete
    said: list[str] = []
    write_predictors(folder, study, Path("data"), said.append)
    found = as_frame(read_predictors(folder)).set_index("teacher")
    assert list(found["student"]) == [MLP_STUDENT, CNN_STUDENT] and len(said) == 1
    assert found[["params", "score", "entropy", "alike", "flop_ratio"]].notna().all(axis=None)
    assert found.loc[CNN_TEACHER, "logit_ratio"] > 0
    assert found["logit_ratio"].isna()[VIT_TEACHER]  # a head of zeros has no ratio
    assert 0 < found.loc[CNN_TEACHER, "similarity"] <= 1 and found["similarity"].isna()[VIT_TEACHER]
    before = (folder / FILE).read_bytes()
    monkeypatch.setattr("sweeps.predictors.load", None)
    write_predictors(folder, study, Path("data"), said.append)
    assert (folder / FILE).read_bytes() == before and len(said) == 1


def test_weights_that_are_gone(complete: tuple[Path, Study]) -> None:
    folder, study = complete
    run = teacher_run(study, CNN_TEACHER)
    assert run is not None
    student_path(folder, run.run_id).unlink()
    write_predictors(folder, study, Path("data"), lambda line: None)
    found = read_predictors(folder)
    assert found["teachers"][CNN_TEACHER] == dict.fromkeys(TEACHER)
    assert [pair["similarity"] for pair in found["pairs"]] == [None, None]


def test_a_file_that_is_not_ours(tmp_path: Path) -> None:
    for text in ("[1]", "{", json.dumps({"teachers": {}, "pairs": [{"teacher": "t", "student": "s"}]})):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(LedgerError, match=r"predictors.json: cannot be read as what is known of teachers"):
            read_predictors(tmp_path)


def test_two_measurements_are_one() -> None:
    def known(teacher: str, value: float) -> dict[str, Any]:
        pair = {"teacher": teacher, "student": "s", **dict.fromkeys(PAIR, value)}
        return {"teachers": {teacher: dict.fromkeys(TEACHER, value)}, "pairs": [pair]}

    both = united(united(known("a", 1.0), known("b", 2.0)), known("a", 3.0))
    assert as_frame(both)["entropy"].tolist() == [1.0, 2.0]
