"""Cells whose runs begin with what a pre-training has learnt: in virtual time, and with runs that are replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siblings import KILLS, MASKED, SPARSE, TOKENS, drive, pretrained
from small import RECIPE, simulate
from test_driver import same

from analysis import ledger, read_runs
from pat.config import ConfigError, Data, Method, RunConfig, Task
from sweeps.configs import student_run
from sweeps.costs.expect import configs
from sweeps.planning.planner import Planner, plan
from sweeps.planning.units import Key, Runs, keys
from sweeps.pretraining import Pretraining
from sweeps.study import Cell, Search, Study

HERE = Path(__file__).parent
HGKD, SPARK = Cell(TOKENS, SPARSE, "hgkd"), Cell("", SPARSE, "spark")
RESNET = "resnet_nano_32"
OTHER = HGKD._replace(teacher="mixer_micro_patch4_32")


def test_a_study_with_one_survives_its_file_and_changes_no_other() -> None:
    study = pretrained()
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    assert "pretraining" not in replace(study, methods=("kd",), pretraining=None).to_dict()


def test_it_is_one_run_a_cell_from_which_all_seeds_begin() -> None:
    """Of the task of generation; the cell's runs are those of scratch but for what they begin with."""
    study = pretrained()
    runs = Runs(study)
    before = runs.awaited(Key("pretrain", HGKD)).config
    assert (before.task, before.method.name, before.seed, before.recipe.epochs) == (MASKED, "hgkd", 0, 4)
    assert before.teacher is not None and before.teacher.weights == f"run:{runs.teacher(TOKENS).run_id}"  # type: ignore[union-attr]
    one, two = (runs.student(HGKD, {}, seed).config for seed in (1, 2))
    assert one.initial == two.initial == f"run:{before.run_id}"
    assert replace(one, initial="") == runs.student(Cell("", SPARSE, "scratch"), {}, 1).config
    assert {runs.awaited(Key("pretrain", cell)).run_id for cell in (HGKD, OTHER, SPARK)} != {before.run_id}
    spark = runs.awaited(Key("pretrain", SPARK)).config
    assert spark.teacher is None and spark.method == Method("spark")


def test_the_control_is_scratch_for_as_much_longer_as_the_study_says() -> None:
    run = student_run(pretrained(), Cell("", SPARSE, "longer"), {}, 1)
    assert run.recipe == replace(RECIPE, epochs=round(1.5 * RECIPE.epochs)) and not run.initial and not run.teacher


def test_teacher_pre_training_and_cell_come_one_after_the_other() -> None:
    study = pretrained()
    first = {(s.phase, s.cell) for s in plan(study, {}).ready}
    assert ("pretrain", SPARK) in first and ("pretrain", HGKD) not in first
    assert {phase for phase, _ in first} == {"teacher", "pretrain", "scratch", "confirm"}
    assert {cell.method for phase, cell in first if phase == "confirm"} == {"longer"}, "it waits for nothing"
    planner = simulate(study)
    assert planner.complete and len([key for key in keys(study) if key.kind == "pretrain"]) == 3
    assert Counter(row.cell.method for row in planner.rows()) == {
        "hgkd": 4, "spark": 2, "longer": 2, "kd": 4, "scratch": 2,
    }  # fmt: skip
    searched = simulate(replace(study, search=Search(trials=2, wave=2)))
    assert searched.complete, "there is nothing to search: the default setting is also the tuned one"


@pytest.mark.parametrize("fate", ["failed", "diverged"])
def test_what_fails_blocks_its_own_cell_alone(fate: str) -> None:
    study = pretrained()
    doomed = Runs(study).awaited(Key("pretrain", HGKD)).run_id
    planner = simulate(study, fate=lambda config: fate if config.run_id == doomed else "")
    blocked = {row.cell for row in planner.rows() if row.status == "blocked"}
    assert blocked == {HGKD} and all(row.status == "finished" for row in planner.rows() if row.cell != HGKD)
    assert planner.problems[0] == f"pretrain {TOKENS} -> {SPARSE} {fate}: made to fail"


@settings(max_examples=6, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 30))
def test_it_is_the_same_in_any_order(order: int, stop: int) -> None:
    study = pretrained()
    whole, first = simulate(study), simulate(study, order=order, stop_after=stop)
    again = simulate(study, dict(first.view), order=order + 1)
    assert again.complete and again.rows() == whole.rows() and again.view == whole.view


def test_its_runs_stand_in_the_ledger_under_its_method(tmp_path: Path, exporting: list[str]) -> None:
    """Its hours are those of its cell; what trained begins with the bytes that were exported."""
    folder, _ = drive(tmp_path, pretrained())
    rows = read_runs(folder)
    of_cell = rows[(rows["teacher"] == TOKENS) & (rows["method"] == "hgkd")]
    assert sorted(of_cell["phase"]) == ["confirm", "confirm", "pretrain"]
    assert set(rows[rows["phase"] == "pretrain"]["metric"]) == {"explained"}
    assert set(of_cell[of_cell["phase"] == "confirm"]["metric"]) == {"top1"}
    (before,) = of_cell[of_cell["phase"] == "pretrain"]["run_id"]
    for config in of_cell[of_cell["phase"] == "confirm"]["config"]:
        assert RunConfig.from_json(config).initial == f"run:{before}"
    assert len(set(of_cell["options"])) == 1 and json.loads(of_cell["options"].iloc[0])["loss"] == "smooth_l1"
    matrix = ledger.read_matrix_rows(folder)
    assert all(row["status"] == "finished" for row in matrix)
    assert {row["teacher"] for row in matrix if row["method"] == "spark"} == {TOKENS, OTHER.teacher}


def test_a_sibling_takes_over_what_has_been_pre_trained(tmp_path: Path, exporting: list[str]) -> None:
    """Three studies of other recipes, one pre-training."""
    drive(tmp_path, pretrained(name="donor"))
    trained = {Runs(pretrained()).awaited(Key("pretrain", cell)).run_id for cell in (HGKD, OTHER, SPARK)}
    assert trained <= set(exporting)
    for name, epochs in (("second", 7), ("third", 8)):
        exporting.clear()
        study = pretrained(name=name, students={SPARSE: replace(RECIPE, epochs=epochs)})
        folder, said = drive(tmp_path, study)
        assert "adopted 3 finished pretrains from study" in said and not trained & set(exporting)
        assert trained <= set(read_runs(folder)["run_id"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_before_between_and_after_a_pre_training_all_goes_on(tmp_path: Path, exporting: list[str]) -> None:
    command = [sys.executable, str(HERE / "kill_between.py"), str(tmp_path), "pretrained"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.stdout.split() == [word for where in KILLS for word in (where, "-9")], done.stderr
    whole, _ = drive(tmp_path / "whole", pretrained())
    for where in KILLS:
        folder, _ = drive(tmp_path / where, pretrained())
        same(whole, folder)


def test_what_it_costs_is_counted_run_by_run() -> None:
    study = pretrained()
    found = configs(study)
    assert found[Key("pretrain", HGKD)].task == MASKED and found[Key("pretrain", HGKD)].recipe.epochs == 4
    assert found[Key("cell", HGKD)].task == Task() and found[Key("cell", HGKD)].method.name == "scratch"
    assert Planner(study, {}).left()[Key("pretrain", SPARK)] == 4


def test_what_does_not_suit_is_one_line() -> None:
    for changes, message in (
        ({"pretraining": None}, "method 'hgkd': only for generation; for classification there are"),
        ({"pretraining": None, "methods": ("longer",)}, "method 'longer': the control of a pre-training"),
        ({"students": {RESNET: RECIPE}, "pairs": ((TOKENS, RESNET),)}, f"'{RESNET}' has stages of stride 4, 8, 16, 32"),
        ({"task": Task("generation", {"cell": 8, "stride": 4})}, "method 'scratch': only for tasks that a model can"),
    ):
        with pytest.raises(ConfigError, match=message):
            pretrained(**changes)
    with pytest.raises(ConfigError, match="pretraining.task 'classification': generation is needed"):
        Pretraining(Data("digits", 32), RECIPE, Task())
    with pytest.raises(ConfigError, match="pretraining.longer = 1.0: more than 1"):
        Pretraining(Data("digits", 32), RECIPE, longer=1.0)
