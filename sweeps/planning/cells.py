"""What one unit of a study - a teacher, a student's scratch baseline, a cell - has done and can do now. Pure.

A unit looks at its own runs and at its teacher's. What it takes from other cells (the settings of anchors) comes
with `draw`, once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.configs import default_options
from sweeps.planning.halving import Draw, search_cell
from sweeps.planning.units import ENDED_BADLY, Row, Runs, Unit, as_text
from sweeps.planning.view import NOT_STARTED, RunState, View
from sweeps.study import SCRATCH, SEARCH_SEED, Cell, Study


def plan_teacher(runs: Runs, teacher: str, view: View) -> Unit:
    """The run of a teacher that is trained here."""
    unit = Unit(Cell("", teacher, SCRATCH), "teacher")
    run = runs.teacher(teacher)
    assert run is not None
    state = view.get(run.run_id, NOT_STARTED)
    unit.train(run, state, run.config.recipe.epochs, "teacher")
    unit.outcome = state.status or None
    unit.problem = _why_never(teacher, state)
    return unit


def plan_scratch(runs: Runs, student: str, view: View) -> Unit:
    """The baselines of a student: once per seed, whatever the number of its pairs."""
    unit = Unit(Cell("", student, SCRATCH), "scratch")
    _confirm(runs, unit, "scratch", {}, view)
    return _judge(unit)


def plan_cell(runs: Runs, cell: Cell, view: View, draw: Draw | None) -> Unit:
    """A cell: its search, then its best and the paper's default setting on the same fresh seeds.

    Without a search there is the default setting alone. `draw` is None while the search waits for others.
    """
    searched = bool(runs.study.search.trials)
    unit = Unit(cell, "search" if searched else "confirm")
    teacher = runs.teacher(cell.teacher)
    state = view.get(teacher.run_id, NOT_STARTED) if teacher else None
    if reason := _why_never(cell.teacher, state) if state else "":
        return _blocked(runs.study, unit, ("default", "tuned") if searched else ("default",), reason)
    if searched:
        _tune(runs, unit, view, draw)
    _confirm(runs, unit, "default", default_options(runs.study, cell), view)
    if state and state.status != "finished":
        unit.ready.clear()
    return _judge(unit)


def _tune(runs: Runs, unit: Unit, view: View, draw: Draw | None) -> None:
    """The search, and the confirmation of what it found."""
    found = search_cell(runs, unit, view, draw)
    if found.best is not None:
        _confirm(runs, unit, "tuned", found.best, view)
        return
    study, status = runs.study, "blocked" if found.closed else "waiting"
    unit.rows += [Row(unit.cell, "tuned", seed, None, None, status, found.closed or "search") for seed in _seeds(study)]
    if not found.closed:
        unit.unknown_runs += study.seeds
        unit.left += study.seeds * study.recipe(unit.cell.student).epochs


def _confirm(runs: Runs, unit: Unit, setting: str, options: Mapping[str, Any], view: View) -> None:
    """One setting on every confirmation seed; a run that another setting asked for is not asked for again."""
    phase = "scratch" if setting == "scratch" else "confirm"
    text = as_text(options)
    for seed in _seeds(runs.study):
        run = runs.student(unit.cell, options, seed)
        state = view.get(run.run_id, NOT_STARTED)
        if run.run_id not in unit.runs:
            unit.train(run, state, run.config.recipe.epochs, phase)
        ended = state.status in ("finished", *ENDED_BADLY)
        status = state.status if ended else "running" if state.epochs else "waiting"
        unit.rows.append(Row(unit.cell, setting, seed, text, run.run_id, status, state.message))


def _why_never(teacher: str, state: RunState) -> str:
    """Why there will be no such teacher; empty where there may."""
    return f"teacher {teacher} {state.status}: {state.message}" if state.status in ENDED_BADLY else ""


def _judge(unit: Unit) -> Unit:
    """Name the first row that can never be finished."""
    for row in unit.rows:
        if row.status in ("blocked", *ENDED_BADLY):
            unit.problem = f"{unit.cell} {row.setting} seed {row.seed} {row.status}: {row.reason}"
            break
    return unit


def _blocked(study: Study, unit: Unit, settings: Sequence[str], reason: str) -> Unit:
    places = [(setting, seed) for setting in settings for seed in _seeds(study)]
    unit.rows = [Row(unit.cell, setting, seed, None, None, "blocked", reason) for setting, seed in places]
    unit.problem = f"{unit.cell} blocked: {reason}"
    unit.outcome = ""
    return unit


def _seeds(study: Study) -> range:
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + study.seeds)
