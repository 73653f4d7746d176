"""What one unit of a study - a run that others wait for, a student's baselines, a cell - has done and can do. Pure.

A unit looks at its own runs and at those that it needs. What it takes from other cells (the settings of anchors, and
the best ones of its guests) comes with `draw` and `guests`, once it is known.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.schema import FROM, phase_of
from pat.starting import RUN
from sweeps.configs import default_options
from sweeps.planning.halving import Draw, search_cell
from sweeps.planning.search import complete
from sweeps.planning.units import ENDED_BADLY, Key, Row, Runs, Unit, as_text
from sweeps.planning.view import NOT_STARTED, RunState, View
from sweeps.study import SCRATCH, Cell, Study


def plan_needed(runs: Runs, key: Key, view: View) -> Unit:
    """One run that other units wait for, as a teacher that is trained here. It may itself wait for others."""
    unit, run = Unit(key.cell, key.kind), runs.awaited(key)
    state = view.get(run.run_id, NOT_STARTED)
    reason = _why_never(runs, key, view)
    if reason and not state.status:
        unit.outcome, unit.problem = "", f"{key} blocked: {reason}"
        return unit
    unit.train(run, state, run.config.recipe.epochs, key.kind)
    unit.outcome, unit.problem = state.status or None, reason
    return _held(runs, unit, key, view)


def plan_pretraining(runs: Runs, key: Key, view: View, settings: Sequence[Mapping[str, Any]], undrawn: int) -> Unit:
    """The runs that precede those of a cell: one for each of its `settings`, the default first. `undrawn`: how many
    more its search is still expected to draw."""
    unit, ends = Unit(key.cell, key.kind), list[str]()
    for place, options in enumerate(settings):
        run = runs.pretraining(key.cell, options)
        state = view.get(run.run_id, NOT_STARTED)
        if run.run_id not in unit.runs:
            unit.train(run, state, run.config.recipe.epochs, key.kind)
            ends += [state.status] if state.status else []
        if not place and state.status in ENDED_BADLY:
            unit.problem = f"{key} {state.status}: {state.message}"
    if not ends and (reason := _first_reason(runs, key, view)):
        return Unit(key.cell, key.kind, outcome="", problem=f"{key} blocked: {reason}")
    full = runs.awaited(key).config.recipe.epochs
    unit.unknown_runs, unit.left_later = undrawn, undrawn * full
    unit.longest += -(-undrawn // runs.study.search.wave) * full
    unit.outcome = " ".join(ends) or None
    return _held(runs, unit, key, view)


def plan_scratch(runs: Runs, student: str, view: View, draw: Draw) -> Unit:
    """The baselines of a student: once per seed, whatever the number of its pairs; where the recipe is searched, at the
    best setting that a search of their own has found."""
    key = Key("scratch", Cell("", student, SCRATCH))
    searched = runs.study.searches(SCRATCH)
    unit = Unit(key.cell, "search" if searched else "scratch")
    if reason := _first_reason(runs, key, view):
        return _blocked(runs.study, unit, ("scratch",), reason)
    if searched:
        _tune(runs, unit, "scratch", view, draw)
    else:
        _confirm(runs, unit, "scratch", default_options(runs.study, key.cell), view)
    return _judge(_held(runs, unit, key, view))


def plan_cell(runs: Runs, cell: Cell, view: View, draw: Draw, guests: Mapping[Cell, str | None]) -> Unit:
    """A cell: its search, then its best and the paper's default setting on the same fresh seeds, and on these the best
    settings of its `guests` (`Unit.best` of each).

    Without a search there is the default setting alone; where there is nothing to search, it is the best one too.
    """
    searched, key = bool(runs.study.search.trials), Key("cell", cell)
    unit = Unit(cell, "search" if searched else "confirm")
    waits = Key("pretrain", cell) if runs.study.pretrains(cell.method) else key
    if reason := _first_reason(runs, waits, view):
        own = ("default", "tuned") if searched else ("default",)
        return _blocked(runs.study, unit, (*own, *map(_name, guests)), reason)
    default = default_options(runs.study, cell)
    if searched and runs.study.space(cell.method):
        _tune(runs, unit, "tuned", view, draw)
    elif searched:
        unit.outcome = as_text(default)
        _confirm(runs, unit, "tuned", default, view)
    _confirm(runs, unit, "default", default, view)
    for guest, best in guests.items():
        _try(runs, unit, guest, best, view)
    return _judge(_held(runs, unit, key, view))


def _tune(runs: Runs, unit: Unit, setting: str, view: View, draw: Draw) -> None:
    """The search, and the confirmation of what it found under the name `setting`."""
    found = search_cell(runs, unit, view, draw)
    if found.best is not None:
        unit.best = as_text(found.best)
        _confirm(runs, unit, setting, found.best, view)
    elif found.closed:
        unit.best = ""
        _block(runs.study, unit, setting, found.closed)
    else:
        _await(runs.study, unit, setting, "search")


def _try(runs: Runs, unit: Unit, guest: Cell, best: str | None, view: View) -> None:
    """What the search of another cell has found, in this one: of each option that is searched the other's value, all
    else as it is here. It waits for the own search too, so that whose confirmations the runs are hangs on no timing."""
    study = runs.study
    if best is None or unit.best is None:
        _await(study, unit, _name(guest), f"search of {guest if best is None else unit.cell}")
    elif not best or not unit.best:
        _block(study, unit, _name(guest), f"no best setting of {unit.cell if best else guest}")
    else:
        found = json.loads(best)
        options = complete(study, unit.cell, {name: found[name] for name in study.space(unit.cell.method)})
        _confirm(runs, unit, _name(guest), options, view)


def _name(guest: Cell) -> str:
    return f"{FROM}{guest.teacher}:{guest.student}"


def _await(study: Study, unit: Unit, setting: str, reason: str) -> None:
    """Rows of a setting that is still to be found."""
    unit.rows += [Row(unit.cell, setting, seed, None, None, "waiting", reason) for seed in _seeds(study)]
    unit.unknown_runs += len(_seeds(study))
    unit.left_later += len(_seeds(study)) * study.epochs(unit.cell)


def _block(study: Study, unit: Unit, setting: str, reason: str) -> None:
    """Rows of a setting that will never be found."""
    unit.rows += [Row(unit.cell, setting, seed, None, None, "blocked", reason) for seed in _seeds(study)]


def _confirm(runs: Runs, unit: Unit, setting: str, options: Mapping[str, Any], view: View) -> None:
    """One setting on every confirmation seed; a run that another setting asked for is not asked for again."""
    phase = phase_of(setting)
    text, before = as_text(options), runs.preceded(unit.cell, options, view)
    if before.status in ENDED_BADLY:
        reason = f"{Key('pretrain', unit.cell)} {before.status}: {before.message}"
        unit.rows += [Row(unit.cell, setting, seed, text, None, "blocked", reason) for seed in _seeds(runs.study)]
        return
    for seed in _seeds(runs.study):
        run = runs.student(unit.cell, options, seed)
        state = view.get(run.run_id, NOT_STARTED)
        if run.run_id not in unit.runs:
            unit.train(run, state, run.config.recipe.epochs, phase)
        ended = state.status in ("finished", *ENDED_BADLY)
        status = state.status if ended else "running" if state.epochs else "waiting"
        unit.rows.append(Row(unit.cell, setting, seed, text, run.run_id, status, state.message))


def _state(runs: Runs, key: Key, view: View) -> RunState:
    return view.get(runs.awaited(key).run_id, NOT_STARTED)


def _held(runs: Runs, unit: Unit, key: Key, view: View) -> Unit:
    """Nothing of a unit is ready before every run that it needs has finished; of a cell with pre-trainings, no run
    before its own one has."""
    if key.kind == "cell" and runs.study.pretrains(key.cell.method):
        befores = [view.get(segment.config.initial.removeprefix(RUN), NOT_STARTED) for segment in unit.ready]
        done = [before.status == "finished" for before in befores]
        unit.ready = list(itertools.compress(unit.ready, done))
    elif any(_state(runs, other, view).status != "finished" for other in runs.needed(key)):
        unit.ready.clear()
    return unit


def _first_reason(runs: Runs, key: Key, view: View) -> str:
    """Why something that a unit needs will never be there; empty where all may."""
    return next((reason for other in runs.needed(key) if (reason := _why_never(runs, other, view))), "")


def _why_never(runs: Runs, key: Key, view: View) -> str:
    """Why a run that others wait for will never finish: how it ended, or why it cannot begin; empty where it may."""
    state = _state(runs, key, view)
    if state.status in ENDED_BADLY:
        return f"{key} {state.status}: {state.message}"
    return "" if state.status == "finished" else _first_reason(runs, key, view)


def _judge(unit: Unit) -> Unit:
    """Name the first row that can never be finished."""
    for row in unit.rows:
        if row.status in ("blocked", *ENDED_BADLY):
            unit.problem = f"{unit.cell} {row.setting} seed {row.seed} {row.status}: {row.reason}"
            break
    return unit


def _blocked(study: Study, unit: Unit, settings: Sequence[str], reason: str) -> Unit:
    for setting in settings:
        _block(study, unit, setting, reason)
    unit.problem = f"{unit.cell} blocked: {reason}"
    unit.outcome = unit.best = ""
    return unit


def _seeds(study: Study) -> tuple[int, ...]:
    return study.confirming
