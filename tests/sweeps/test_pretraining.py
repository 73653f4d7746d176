"""Cells whose runs begin with what a pre-training has learnt: in virtual time, and with runs that are replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siblings import KILLS, MASKED, SPARSE, TOKENS, drive, pretrained
from small import RECIPE, simulate
from test_driver import same

from analysis import ledger, read_runs
from pat.config import ConfigError, Data, Method, RunConfig, Task
from sweeps.configs import default_options, student_run
from sweeps.costs.expect import Expected, configs
from sweeps.costs.forecast import forecast
from sweeps.costs.plan_text import _before, _matrix
from sweeps.planning.planner import Planner, plan
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Runs, as_text, keys
from sweeps.pretraining import Pretraining
from sweeps.spaces import Log
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


def searching(**changes: Any) -> Study:
    """Two waves of three settings in each of its cells; the control has nothing to search."""
    return pretrained(**{"search": Search(trials=6, wave=3), "methods": ("hgkd", "spark", "longer"), **changes})


def settings_of(planner: Planner, cell: Cell) -> list[Mapping[str, Any]]:
    return [options for wave in range(2) for options in planner.waves[cell, wave]]


def test_each_setting_that_is_searched_has_a_pre_training_of_its_own() -> None:
    """From which its search run begins, and those of its confirmation on all seeds."""
    planner = simulate(searching())
    assert planner.complete and not planner.failed()
    for cell in (HGKD, OTHER, SPARK):
        drawn, runs = settings_of(planner, cell), planner.runs
        assert drawn[0] == default_options(searching(), cell) and len({as_text(options) for options in drawn}) == 6
        before = {runs.pretraining(cell, options).run_id for options in drawn}
        unit = planner.units[Key("pretrain", cell)]
        assert unit.runs == dict.fromkeys(before, "finished") and len(before) == 6 and not unit.left
        for options in drawn:
            config, search = runs.pretraining(cell, options).config, runs.student(cell, options, 0)
            assert (config.method, config.seed) == (Method(cell.method, options), 0)
            assert search.config.initial == f"run:{config.run_id}"
            assert search.run_id in planner.units[Key("cell", cell)].runs
        rows = [row for row in planner.rows() if row.cell == cell]
        tuned = {row.options for row in rows if row.setting == "tuned"}
        assert len(rows) == 4 and len(tuned) == 1 and tuned <= {as_text(options) for options in drawn}
        for row in rows:
            state = planner.runs.student(cell, json.loads(row.options or ""), row.seed)
            assert state.run_id == row.run_id
    done, total = planner.counts()
    assert done == total


def test_the_control_is_searched_where_the_recipe_is() -> None:
    """At the rungs of its own length; settings that differ in the recipe alone begin with one pre-training."""
    lr = {"recipe": {"lr": Log(0.3, 3.0)}, "spark": {"ratio": (0.5, 0.6)}}
    study = searching(methods=("spark", "longer"), spaces=lr)
    planner = simulate(study)
    assert planner.complete and not planner.failed()
    longer = Cell("", SPARSE, "longer")
    tried = [planner.runs.student(longer, options, 0) for options in settings_of(planner, longer)]
    assert {run.config.recipe.epochs for run in tried} == {9} and len({run.config.recipe.lr for run in tried}) == 6
    assert [planner.view[run.run_id].status for run in tried].count("finished") == 2
    before = planner.units[Key("pretrain", SPARK)].runs
    settings = settings_of(planner, SPARK)
    assert len(settings) == 6 and len(before) == 2
    assert {planner.runs.student(SPARK, options, 0).config.initial.removeprefix("run:") for options in settings} == {
        *before
    }
    assert len({planner.runs.student(SPARK, options, 0).run_id for options in settings}) == 6


def test_what_is_left_of_a_search_counts_its_pre_trainings() -> None:
    """Of settings that are not drawn yet too; in the end as many have run as were expected."""
    study, key = searching(), Key("pretrain", SPARK)
    planner = Planner(study, {})
    unit = planner.units[key]
    assert (len(unit.runs), unit.unknown_runs, unit.left, unit.longest) == (3, 3, 6 * 4, 2 * 4)
    phases = {part.name: part for part in forecast(planner, Expected(Speeds(), {}, 0, {})).phases}
    assert (phases["pretrain"].runs, phases["pretrain"].epochs) == (3 * 6, 3 * 6 * 4)
    whole = simulate(study)
    assert whole.counts()[1] == planner.counts()[1] and whole.units[key].longest == 0


@settings(max_examples=6, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 60))
def test_a_search_of_pre_trainings_is_the_same_in_any_order(order: int, stop: int) -> None:
    study = searching(methods=("hgkd",))
    whole, first = simulate(study), simulate(study, order=order, stop_after=stop)
    again = simulate(study, dict(first.view), order=order + 1)
    assert again.complete and again.rows() == whole.rows() and again.view == whole.view


@pytest.mark.parametrize("fate", ["failed", "diverged"])
def test_a_pre_training_that_fails_is_a_trial_that_fails(fate: str) -> None:
    study = searching(methods=("hgkd",))
    drawn = settings_of(simulate(study), HGKD)
    doomed = Runs(study).pretraining(HGKD, drawn[1]).run_id
    planner = simulate(study, fate=lambda config: fate if config.run_id == doomed else "")
    assert planner.complete and not planner.problems
    lost = planner.runs.student(HGKD, drawn[1], 0).run_id
    assert lost not in planner.view and planner.units[Key("cell", HGKD)].runs[lost] == fate
    doomed = Runs(study).pretraining(HGKD, drawn[0]).run_id
    planner = simulate(study, fate=lambda config: fate if config.run_id == doomed else "")
    reason = f"pretrain {TOKENS} -> {SPARSE} {fate}: made to fail"
    of = {row.setting: (row.status, row.reason) for row in planner.rows() if row.cell == HGKD}
    assert of == {"default": ("blocked", reason), "tuned": ("finished", "")}, "another setting is the best"
    assert planner.problems[0] == reason


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


def test_searched_settings_stand_in_the_ledger(tmp_path: Path, exporting: list[str]) -> None:
    """A run that begins with a pre-training has that one's options, and its bytes."""
    folder, _ = drive(tmp_path, searching(methods=("spark",)))
    rows = read_runs(folder)
    before = rows[rows["phase"] == "pretrain"].set_index("run_id")
    after = rows[rows["phase"].isin(["search", "confirm"])]
    assert len(before) == 6 and set(after["method"]) == {"spark"} and len(after) == 6 + 2 * 2
    for options, config in zip(after["options"], after["config"], strict=True):
        assert before.loc[RunConfig.from_json(config).initial.removeprefix("run:"), "options"] == options


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


def test_the_plan_says_what_precedes() -> None:
    study = searching()
    speeds = Speeds({key: 7.0 if key.kind == "pretrain" else 3.0 for key in keys(study)})
    lines = _matrix(study, "seconds an epoch", lambda key: f"{speeds.seconds(key):g}")
    assert [line for line in lines if "pre-training" in line] == ["      pre-training: hgkd 7, spark 7"] * 2
    assert "4 epochs on digits at 32 px, once a setting of hgkd, spark; longer is scratch for 1.5" in _before(study)[0]


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
