"""What one unit of a study - a teacher, a student's scratch baseline, a cell - has done and can do now. Pure.

A unit looks at its own runs and at its teacher's, never at another cell: cells search side by side, and inside a
cell every decision waits for all of its runs, so that timing decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pat.config import RunConfig
from sweeps.search import Result
from sweeps.study import (
    SCRATCH,
    SEARCH_SEED,
    Cell,
    Study,
    TeacherFile,
    default_options,
    run_id_of,
    student_run,
    teacher_run,
)
from sweeps.view import NOT_STARTED, RunState, View

Draw = Callable[[Study, Cell, int, Sequence[Result]], list[dict[str, Any]]]
ENDED_BADLY = ("diverged", "failed")


@dataclass(frozen=True)
class Segment:
    """A run to be trained from its checkpoint to `until` epochs done."""

    config: RunConfig
    until: int
    phase: str
    cell: Cell

    @property
    def run_id(self) -> str:
        return run_id_of(self.config)


@dataclass(frozen=True)
class Row:
    """One line of the matrix: a setting of a cell under one seed. What is not decided yet is None."""

    cell: Cell
    setting: str
    seed: int
    options: str | None
    run_id: str | None
    status: str
    reason: str


@dataclass
class Unit:
    """The plan of one unit. `needs`: the runs it looked at. `left`: epochs it is still expected to train."""

    cell: Cell
    phase: str
    ready: list[Segment] = field(default_factory=list)
    prune: list[Segment] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    runs: dict[str, str] = field(default_factory=dict)
    unknown_runs: int = 0
    left: int = 0
    problem: str = ""

    def train(self, config: RunConfig, state: RunState, until: int, phase: str) -> None:
        """Count a run of this unit, and make it ready where it has not come to `until` yet."""
        self.needs.add(run_id_of(config))
        self.runs[run_id_of(config)] = state.status
        full = until == config.recipe.epochs
        if state.status not in ("finished", *ENDED_BADLY) and (state.epochs < until or full):
            self.left += max(0, until - state.epochs)
            self.ready.append(Segment(config, until, phase, self.cell))


def plan_teacher(study: Study, teacher: str, view: View, unsynced: frozenset[str]) -> Unit:
    """The run of a teacher that is trained here."""
    unit = Unit(Cell("", teacher, SCRATCH), "teacher")
    config = teacher_run(study, teacher, _unsynced(study, SCRATCH, teacher, unsynced))
    assert config is not None
    state = view.get(run_id_of(config), NOT_STARTED)
    unit.train(config, state, config.recipe.epochs, "teacher")
    if state.status in ENDED_BADLY:
        unit.problem = f"teacher {teacher} {state.status}: {state.message}"
    return unit


def plan_scratch(study: Study, student: str, view: View, unsynced: frozenset[str]) -> Unit:
    """The baselines of a student: once per seed, whatever the number of its pairs."""
    unit = Unit(Cell("", student, SCRATCH), "scratch")
    count = _unsynced(study, SCRATCH, student, unsynced)
    _confirm(study, unit, "scratch", {}, view, lambda seed: student_run(study, unit.cell, {}, seed, "", count))
    return _judge(unit)


def plan_cell(study: Study, cell: Cell, view: View, unsynced: frozenset[str], draw: Draw) -> Unit:
    """A cell: its search, then its best and the paper's default setting on the same fresh seeds.

    Without a search there is the default setting alone.
    """
    unit = Unit(cell, "search" if study.search.trials else "confirm")
    settings = ("default", "tuned") if study.search.trials else ("default",)
    weights, waiting, reason = _teacher(study, cell.teacher, view, unsynced, unit)
    if reason:
        return _blocked(study, unit, settings, reason)
    count = _unsynced(study, cell.method, cell.student, unsynced)

    def run(options: Mapping[str, Any], seed: int) -> RunConfig:
        return student_run(study, cell, options, seed, weights, count)

    if study.search.trials:
        _tune(study, unit, view, run, draw)
    default = default_options(study, cell)
    _confirm(study, unit, "default", default, view, lambda seed: run(default, seed))
    if waiting:
        unit.ready.clear()
    return _judge(unit)


def _tune(study: Study, unit: Unit, view: View, run: Callable[[Mapping[str, Any], int], RunConfig], draw: Draw) -> None:
    """The search, and the confirmation of what it found."""
    best, searching = _search(study, unit, view, run, draw)
    if best is not None:
        _confirm(study, unit, "tuned", best, view, lambda seed: run(best, seed))
        return
    status, reason = ("waiting", "search") if searching else ("blocked", "no trial finished")
    unit.rows += [Row(unit.cell, "tuned", seed, None, None, status, reason) for seed in _seeds(study)]
    if searching:
        unit.unknown_runs += study.seeds
        unit.left += study.seeds * study.recipe(unit.cell.student).epochs


def _teacher(study: Study, teacher: str, view: View, unsynced: frozenset[str], unit: Unit) -> tuple[str, bool, str]:
    """The identity of the teacher's weights, whether they are still to come, and why they never will."""
    source = study.teachers[teacher]
    if isinstance(source, TeacherFile):
        return f"sha256:{source.sha256}", False, ""
    config = teacher_run(study, teacher, _unsynced(study, SCRATCH, teacher, unsynced))
    assert config is not None
    unit.needs.add(run_id_of(config))
    state = view.get(run_id_of(config), NOT_STARTED)
    reason = f"teacher {teacher} {state.status}: {state.message}" if state.status in ENDED_BADLY else ""
    return f"run:{run_id_of(config)}", state.status != "finished", reason


def _search(
    study: Study, unit: Unit, view: View, run: Callable[[Mapping[str, Any], int], RunConfig], draw: Draw
) -> tuple[dict[str, Any] | None, bool]:
    """The best setting once the search has ended, and whether it still goes on.

    A wave in which every trial failed ends the search.
    """
    results: list[Result] = []
    waves = study.search.trials // study.search.wave
    for wave in range(waves):
        settings = draw(study, unit.cell, wave, results)
        configs = [run(options, SEARCH_SEED) for options in settings]
        ended = _wave(study, unit, view, settings, configs)
        if ended is None:
            unit.unknown_runs += (waves - wave - 1) * study.search.wave
            unit.left += (waves - wave - 1) * wave_epochs(study, unit.cell.student)
            return None, True
        results += ended
        if all(result.status == "failed" for result in ended):
            break
    finished = [result for result in results if result.status == "finished"]
    best = max(finished, key=lambda result: result.scores[-1][1], default=None)
    return (dict(best.options) if best else None), False


def _wave(
    study: Study, unit: Unit, view: View, settings: Sequence[Mapping[str, Any]], configs: Sequence[RunConfig]
) -> list[Result] | None:
    """Synchronous successive halving over one wave; None while it goes on."""
    weights = study.weights(unit.cell.student)
    states = [view.get(run_id_of(config), NOT_STARTED) for config in configs]
    rungs = study.search.epochs(configs[0].recipe.epochs) if configs else ()
    alive, failed = list(range(len(configs))), set[int]()
    reached: list[list[tuple[int, float]]] = [[] for _ in configs]
    for config, state in zip(configs, states, strict=True):
        unit.needs.add(run_id_of(config))
        unit.runs[run_id_of(config)] = state.status
    for place, rung in enumerate(rungs):
        last = place == len(rungs) - 1
        before = len(unit.ready)
        for index in alive:
            unit.train(configs[index], states[index], rung, "search")
        if len(unit.ready) > before:
            unit.left += _later_epochs(study, rungs[place:], len(alive))
            return None
        scores = {index: states[index].score(weights, rung) for index in alive}
        for index, score in scores.items():
            if score is None or (last and states[index].status != "finished"):
                failed.add(index)
            else:
                reached[index].append((rung, score))
        ranked = sorted((index for index in alive if index not in failed), key=lambda index: (-scores[index], index))  # type: ignore[operator]
        kept = ranked if last else ranked[: max(1, len(alive) // study.search.eta)]
        dropped = [index for index in alive if index not in kept and not states[index].status]
        unit.prune += [Segment(configs[index], states[index].epochs, "search", unit.cell) for index in dropped]
        alive = kept
    return [
        Result(options, _status(index, alive, failed), tuple(reached[index])) for index, options in enumerate(settings)
    ]


def _status(index: int, alive: Sequence[int], failed: set[int]) -> str:
    return "failed" if index in failed else "finished" if index in alive else "pruned"


def _later_epochs(study: Study, rungs: Sequence[int], entrants: int) -> int:
    """Epochs expected after the first of `rungs`, which `entrants` runs have begun."""
    total, alive = 0, entrants
    for low, high in zip(rungs, rungs[1:], strict=False):
        alive = max(1, alive // study.search.eta)
        total += alive * (high - low)
    return total


def wave_epochs(study: Study, student: str) -> int:
    """Epochs of one whole wave with its pruning."""
    rungs = study.search.epochs(study.recipe(student).epochs)
    return study.search.wave * rungs[0] + _later_epochs(study, rungs, study.search.wave)


def _confirm(
    study: Study,
    unit: Unit,
    setting: str,
    options: Mapping[str, Any],
    view: View,
    run: Callable[[int], RunConfig],
) -> None:
    """One setting on every confirmation seed; a run that another setting asked for is not asked for again."""
    phase = "scratch" if setting == "scratch" else "confirm"
    text = json.dumps(options, sort_keys=True)
    for seed in _seeds(study):
        config = run(seed)
        state = view.get(run_id_of(config), NOT_STARTED)
        if run_id_of(config) not in unit.runs:
            unit.train(config, state, config.recipe.epochs, phase)
        ended = state.status in ("finished", *ENDED_BADLY)
        status = state.status if ended else "running" if state.epochs else "waiting"
        unit.rows.append(Row(unit.cell, setting, seed, text, run_id_of(config), status, state.message))


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
    return unit


def _seeds(study: Study) -> range:
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + study.seeds)


def _unsynced(study: Study, method: str, model: str, unsynced: frozenset[str]) -> int:
    return study.workers_of(method) if model in unsynced else 1
