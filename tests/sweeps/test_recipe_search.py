"""The recipe is searched for every method and for scratch alike, where a study says so."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, simulate, small_study

from analysis import ledger
from analysis.report import write_report
from pat.config import ConfigError
from sweeps.commands.flags import parser, select
from sweeps.configs import default_options, student_run
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.looking.export_optuna import export_optuna
from sweeps.planning.planner import Planner
from sweeps.planning.units import Key
from sweeps.settings import complete_setting, parts, scaled
from sweeps.spaces import Log
from sweeps.store import open_study, read_study
from sweeps.study import Cell, Search
from tests.sweeps.test_forecast import foresee

LR = {"recipe": {"lr": Log(0.3, 3.0)}}
SCRATCH = Key("scratch", Cell("", MLP_STUDENT, "scratch"))


def test_a_setting_holds_multiples_of_the_recipe() -> None:
    study = small_study(spaces=LR)
    cell = Cell(CNN_TEACHER, MLP_STUDENT, "kd")
    assert list(study.space("kd")) == ["recipe.lr", "weight", "temperature"], "what matters most first"
    assert default_options(study, SCRATCH.cell) == {"recipe.lr": 1.0} and study.searches("scratch")
    assert not small_study().searches("scratch") and not small_study(spaces=LR, search=Search(trials=0)).searches("kd")
    setting = complete_setting("kd", {"recipe.lr": 0.5, "weight": 2.0})
    assert parts(setting) == ({"weight": 2.0, "temperature": 1.0, "standardise": False}, {"lr": 0.5})
    run = student_run(study, cell, setting, 3, "run:0123456789abcdef")
    assert run.recipe == replace(study.recipe(MLP_STUDENT), lr=0.05) and run.method.options == parts(setting)[0]
    assert scaled(RECIPE, {}) == RECIPE


def test_default_runs_are_those_of_a_study_without_it() -> None:
    """The same addresses: nothing is trained again where the recipe's own value is tried."""
    with_it, without = (simulate(small_study(spaces=spaces)) for spaces in (LR, {}))
    default = [{row.run_id for row in planner.rows() if row.setting == "default"} for planner in (with_it, without)]
    assert default[0] == default[1] and len(default[0]) == 8


@pytest.mark.parametrize("order", range(3))
def test_scratch_is_searched_like_every_method(order: int) -> None:
    """As many settings, the same rule; its best one is confirmed, and all gains are over that."""
    study = small_study(spaces=LR, search=Search(trials=8, wave=4))
    planner = simulate(study, order=order)
    assert planner.complete and not planner.problems
    confirmed = {row.run_id for row in planner.rows()}
    for key, unit in planner.units.items():
        if key.awaited:
            continue
        tried = [run_id for run_id in unit.runs if run_id not in confirmed]
        assert len(tried) == 8
        settings = planner.waves[key.cell, 0], planner.waves[key.cell, 1]
        assert [len(wave) for wave in settings] == [4, 4] and settings[0][0] == default_options(study, key.cell)
        assert len({setting["recipe.lr"] for wave in settings for setting in wave}) > 4
    rows = [row for row in planner.rows() if row.cell == SCRATCH.cell]
    assert [(row.setting, row.seed, row.status) for row in rows] == [
        ("scratch", 1, "finished"),
        ("scratch", 2, "finished"),
    ]
    found = {
        setting["recipe.lr"]: planner.runs.student(SCRATCH.cell, setting, 0)
        for wave in (0, 1)
        for setting in planner.waves[SCRATCH.cell, wave]
    }
    full = RECIPE.epochs
    scores = {
        lr: planner.view[run.run_id].score("ema", full)
        for lr, run in found.items()
        if planner.view[run.run_id].status == "finished"
    }
    best = max(scores, key=lambda lr: scores[lr] or 0)
    assert {row.options for row in rows} == {json.dumps({"recipe.lr": best})}


def test_scratch_whose_search_finds_nothing_blocks_its_rows() -> None:
    planner = simulate(small_study(spaces=LR), fate=lambda run: "failed" if run.method.name == "scratch" else "")
    assert planner.kind() is None and not planner.complete
    assert any("mixer_nano_patch8_32 scratch scratch seed 1 blocked" in problem for problem in planner.problems)


def test_the_forecast_counts_the_searches_of_scratch() -> None:
    """Two students and four cells are searched, each with four trials."""
    planner = Planner(small_study(spaces=LR), {})
    phases = {one.name: one.runs for one in foresee(planner).phases}
    assert phases == {"teacher": 2, "search": 6 * 4, "scratch": 4, "confirm": 16}
    assert sum(phases.values()) == planner.counts()[1] and foresee(planner).total.epochs == 6 * sum(phases.values())
    kept = foresee(planner).disk
    assert kept is not None and kept.end["all"] > 40 * 1000 and kept.peak["all"] >= kept.end["all"]


def test_the_ledger_says_what_was_tried(replayed: None, tmp_path: Path) -> None:
    """The multiples stand with the options, in waves, runs, matrix, exports and the report."""
    study = small_study(spaces=LR)
    folder, grown = open_study(tmp_path, study)
    run_here(driver := Driver(folder, grown, study, tmp_path, stream=io.StringIO()))
    driver.finish()
    assert driver.planner.complete and read_study(folder) == study
    runs = ledger.read_runs(folder, ("run_id", "method", "phase", "options", "config"))
    trained = runs[~runs["phase"].isin(["teacher"])]
    for row in trained.to_dict("records"):
        recipe, multiple = json.loads(row["config"])["recipe"], json.loads(row["options"])["recipe.lr"]
        assert recipe["lr"] == multiple * RECIPE.lr
    assert (trained["method"].eq("scratch") & trained["phase"].eq("search")).sum() == 2 * 4
    again = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    assert again.kind() is None and again.planner.complete
    assert export_optuna(folder, str(tmp_path / "optuna.log")) == len(study.cells()) + 2
    write_report(folder)
    trials = pd.read_parquet(folder / "report" / "tables" / "trials.parquet")
    assert trials["options"].str.contains("recipe.lr").all() and (trials["method"] == "scratch").sum() == 8
    with pytest.raises(ConfigError, match="recipe"):
        open_study(tmp_path, small_study())
    with pytest.raises(ConfigError, match="recipe"):
        open_study(tmp_path, small_study(spaces={"recipe": {"lr": Log(0.3, 4.0)}}))


def test_a_study_that_has_begun_without_it_stays_so(tmp_path: Path) -> None:
    open_study(tmp_path, small_study())
    with pytest.raises(ConfigError, match="recipe"):
        open_study(tmp_path, small_study(spaces=LR))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lt": Log(0.3, 3.0)}, "unknown number 'lt' of a recipe to search; did you mean lr"),
        ({"epochs": (1, 2)}, "unknown number 'epochs' of a recipe to search"),
        ({"warmup_lr": (1.0, 2.0)}, "it is 0 in the recipe of 'mixer_nano_patch8_32'"),
        ({"lr": (1.0, -1.0)}, "positive multiples"),
        ({"lr": (1.0, float("nan"))}, "positive multiples"),
        ({"lr": ()}, "positive multiples"),
    ],
)
def test_what_is_no_multiple_is_refused(space: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_study(spaces={"recipe": space})


def test_the_flag() -> None:
    study = small_study()
    asked = select(study, parser().parse_args(["--search-recipe", "lr=0.3:3,momentum=0.5:1"]))
    assert asked.name == "small-lr-momentum" and asked.spaces["recipe"]["lr"] == Log(0.3, 3.0)
    assert asked == small_study(spaces=asked.spaces, name=asked.name)
    assert (
        select(study, parser().parse_args(["--search-recipe", "lr=0.3:3", "--workers", "2"])).name
        == "small-lr-2workers"
    )
    for text in ("lr", "lr=", "lr=1", "lr=a:b", "lr=1:2:3", "lr=3:0.3", ""):
        with pytest.raises(ConfigError, match=r"--search-recipe|range"):
            select(study, parser().parse_args(["--search-recipe", text]))
