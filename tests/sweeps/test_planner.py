"""The planner on simulated ledgers: what it decides is a function of the study alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import fake_run
from small import (
    CNN_STUDENT,
    CNN_TEACHER,
    MLP_STUDENT,
    VIT_TEACHER,
    simulate,
    small_study,
)

from pat.config import RunConfig
from sweeps.configs import default_options, student_run
from sweeps.planning.planner import Planner, plan
from sweeps.planning.search import Result, draw_wave
from sweeps.planning.units import Key
from sweeps.planning.view import RunState
from sweeps.study import Cell, Search, TeacherFile

TEACHERS = (CNN_TEACHER, VIT_TEACHER)
CELL = Cell(CNN_TEACHER, MLP_STUDENT, "pat")


def outcome(planner: Planner) -> tuple[dict[str, RunState], list[object]]:
    return planner.view, planner.rows()


@cache
def undisturbed(trials: int = 4) -> Planner:
    """The small study run in one go."""
    return simulate(small_study(search=Search(trials=trials, wave=4)))


def test_first_plan_holds_teachers_and_scratch_only() -> None:
    first = plan(small_study(), {})
    assert {segment.phase for segment in first.ready} == {"teacher", "scratch"}
    assert [segment.phase for segment in first.ready][:2] == ["teacher", "teacher"]
    assert len(first.ready) == 2 + 2 * 2 and not first.complete and not first.problems


def test_a_cell_starts_when_its_own_teacher_is_there() -> None:
    study = small_study()
    teacher = plan(study, {}).ready[0]
    ready = plan(study, {teacher.run_id: fake_run(teacher.run, 6, lambda run, epoch: 50.0)}).ready
    cells = {segment.cell.teacher for segment in ready if segment.phase in ("search", "confirm")}
    assert cells == {CNN_TEACHER}
    assert all(
        s.config.teacher and s.config.teacher.weights == f"run:{teacher.run_id}" for s in ready if s.cell.teacher
    )


def test_a_complete_study() -> None:
    study = small_study()
    planner = simulate(study)
    assert planner.complete and not planner.problems and not list(planner.ready())
    settings = Counter((row.cell, row.setting) for row in planner.rows())
    assert set(settings.values()) == {study.seeds}
    assert len(settings) == 2 + 2 * len(study.cells())
    waves = [draw_wave(study, cell, 0, []) for cell in study.cells()]
    teachers = {s.config.student: s.run_id for s in plan(study, {}).ready if s.phase == "teacher"}
    drawn = [
        student_run(study, cell, options, 0, f"run:{teachers[cell.teacher]}").run_id
        for cell, wave in zip(study.cells(), waves, strict=True)
        for options in wave
    ]
    assert len(set(drawn)) == 4 * len(study.cells()) and planner.view.keys() >= set(drawn)


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.sampled_from([1, 7, 64]))
def test_timing_decides_nothing(order: int, devices: int) -> None:
    study = small_study()
    assert outcome(simulate(study, order=order, devices=devices)) == outcome(undisturbed())


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 60))
def test_stopping_and_going_on_changes_nothing(order: int, stop: int) -> None:
    study = small_study()
    first = simulate(study, order=order, stop_after=stop)
    assert outcome(simulate(study, dict(first.view), order=order + 1)) == outcome(undisturbed())


@settings(max_examples=4, deadline=None)
@given(order=st.integers(0, 10**6))
def test_a_longer_search_extends_a_shorter_one(order: int) -> None:
    short = small_study()
    long = small_study(search=replace(short.search, trials=8))
    at_once = simulate(long, order=order)
    extended = simulate(long, dict(undisturbed().view), order=order)
    assert extended.rows() == at_once.rows()
    superseded = extended.view.keys() - at_once.view.keys()
    assert {run_id: extended.view[run_id] for run_id in at_once.view} == at_once.view
    assert superseded == extended.superseded()


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 10**6), bad=st.integers(0, 15))
def test_failures_decide_the_same_whatever_the_order(order: int, bad: int) -> None:
    def fate(config: RunConfig) -> str:
        digit = int(config.run_id[0], 16)
        return "diverged" if config.teacher and config.seed == 0 and digit <= bad else ""

    study = small_study(search=Search(trials=8, wave=4))
    one, other = simulate(study, order=order, fate=fate), simulate(study, devices=9, fate=fate)
    assert outcome(one) == outcome(other)


def test_the_default_comes_first_and_nothing_twice() -> None:
    study = small_study(search=Search(trials=8, wave=8))
    drawn = draw_wave(study, CELL, 0, [])
    assert drawn[0] == default_options(study, CELL) and drawn[0]["region_dim"] == 64
    results = [Result(options, "finished", ((2, 50.0), (6, 60.0 + i))) for i, options in enumerate(drawn)]
    drawn += draw_wave(study, CELL, 1, results)
    assert len({json.dumps(options, sort_keys=True) for options in drawn}) == len(drawn) == 16
    assert draw_wave(study, CELL, 1, results) == drawn[8:]


def test_a_small_space_gives_a_smaller_wave() -> None:
    options = {"pat": {name: 1.0 for name in ("kd_weight", "feature_weight", "regularisation_weight", "temperature")}}
    study = small_study(options=options, choices={"pat": {"prompt_depth": (0, 4), "regions": (16,)}})
    drawn = draw_wave(study, CELL, 0, [])
    assert len(drawn) == 3
    assert simulate(study).complete


def test_halving_keeps_the_best_and_prunes_the_rest() -> None:
    study = small_study(pairs=((CNN_TEACHER, MLP_STUDENT),), methods=("kd",))
    planner = simulate(study)
    states = Counter(planner.view[run].status for run in planner.units[list(planner.units)[-1]].runs)
    assert states["pruned"] == 2 and states["finished"] >= 2 + 2


def test_a_failing_teacher_blocks_its_cells_with_the_reason() -> None:
    planner = simulate(small_study(), fate=lambda config: "failed" if config.student == VIT_TEACHER else "")
    blocked = [row for row in planner.rows() if row.status == "blocked"]
    assert {row.cell.teacher for row in blocked} == {VIT_TEACHER}
    assert all(row.reason == f"teacher {VIT_TEACHER} failed: made to fail" for row in blocked)
    assert not planner.complete and len(planner.problems) == 1 + 2
    assert all(row.status == "finished" for row in planner.rows() if row.cell.teacher != VIT_TEACHER)


def test_a_wave_of_failures_ends_the_search_but_not_the_default() -> None:
    planner = simulate(
        small_study(search=Search(trials=8, wave=4)),
        fate=lambda config: "diverged" if config.method.name == "kd" and config.seed == 0 else "",
    )
    tuned = [row for row in planner.rows() if row.cell.method == "kd" and row.setting == "tuned"]
    assert {(row.status, row.reason) for row in tuned} == {("blocked", "no trial finished: made to fail")}
    default = [row for row in planner.rows() if row.cell.method == "kd" and row.setting == "default"]
    assert {row.status for row in default} == {"finished"}


def failing(statuses: str) -> Callable[[RunConfig], str]:
    """Ends the kd search runs of the MLP student as the digits of their ids say: a digit for each status."""

    def fate(config: RunConfig) -> str:
        searched = config.method.name == "kd" and config.seed == 0 and config.student == MLP_STUDENT
        return (
            {"d": "diverged", "f": "failed", ".": ""}[statuses[int(config.run_id[0], 16) % len(statuses)]]
            if searched
            else ""
        )

    return fate


@pytest.mark.parametrize(("limit", "closed"), [(1, True), (3, True), (9, False)])
def test_a_search_with_too_many_failures_is_closed(limit: int, closed: bool) -> None:
    study = small_study(search=Search(trials=12, wave=4, failures=limit))
    one, other = simulate(study, fate=failing("f.f.d")), simulate(study, devices=11, order=5, fate=failing("f.f.d"))
    assert outcome(one) == outcome(other)
    rows = [row for row in one.rows() if row.cell == Cell(CNN_TEACHER, MLP_STUDENT, "kd")]
    searched = [one.view[run] for run in one.units[Key("cell", rows[0].cell)].runs]
    failed = sum(state.status == "failed" for state in searched)
    why = ("blocked", f"search closed after {failed} failed runs: made to fail") if closed else ("finished", "")
    assert {(row.status, row.reason) for row in rows if row.setting == "tuned"} == {why}
    assert {row.status for row in rows if row.setting == "default"} == {"finished"}
    assert (failed >= limit) == closed and one.complete != closed and bool(one.problems) == closed
    assert all(row.status == "finished" for row in one.rows() if row.cell.method == "pat")


def test_diverged_runs_close_no_search() -> None:
    study = small_study(search=Search(trials=8, wave=4, failures=1))
    planner = simulate(study, fate=failing("d.."))
    assert planner.complete and planner.failed() > 1


def test_a_teacher_file_needs_no_run() -> None:
    teachers = {**small_study().teachers, CNN_TEACHER: TeacherFile("t.safetensors", "c" * 64)}
    study = small_study(teachers=teachers)
    ready = plan(study, {}).ready
    own = [segment for segment in ready if segment.cell.teacher == CNN_TEACHER]
    assert own and all(s.config.teacher and s.config.teacher.weights == "sha256:" + "c" * 64 for s in own)


def test_only_what_was_asked_for_is_planned() -> None:
    study = small_study()
    asked = small_study(pairs=study.pairs[:1], methods=("kd",))
    planner = Planner(study, {}, asked=asked)
    assert {segment.config.student for segment in planner.ready()} == {CNN_TEACHER, MLP_STUDENT}
    assert {row.cell for row in planner.rows()} == {Cell("", MLP_STUDENT, "scratch"), *asked.cells()}
    fewer = Planner(study, undisturbed().view, asked=small_study(seeds=1))
    assert {row.seed for row in fewer.rows()} == {1} and fewer.complete and not fewer.superseded()
    assert fewer.counts()[0] < undisturbed().counts()[0] == len(undisturbed().view)


def test_batchnorm_on_several_cpu_workers_is_part_of_the_identity() -> None:
    study = small_study(workers=2)
    plain, split = plan(study, {}).ready, plan(study, {}, frozenset({CNN_STUDENT})).ready
    changed = {a.config.student for a, b in zip(plain, split, strict=True) if a.run_id != b.run_id}
    assert changed == {CNN_STUDENT}
    assert {a.config.unsynced_workers for a in plain} == {1}
    assert {b.config.unsynced_workers for b in split if b.config.student == CNN_STUDENT} == {2}


def test_confirmation_may_use_other_data_than_the_search() -> None:
    study = small_study(confirm_validation=0.0)
    shares = {(segment.phase, segment.config.data.validation) for segment in plan(study, {}).ready}
    assert shares == {("teacher", 0.1), ("scratch", 0.0)}


def test_without_a_search_there_is_the_default_alone() -> None:
    study = small_study(search=Search(trials=0))
    planner = simulate(study)
    assert planner.complete and {row.setting for row in planner.rows()} == {"scratch", "default"}
    assert all(unit.phase == "confirm" for key, unit in planner.units.items() if key.kind == "cell")
    runs = len(study.teachers) + len(study.students) * study.seeds + len(study.cells()) * study.seeds
    assert len(planner.view) == runs
    searched = simulate(small_study(search=Search(trials=4)))
    assert planner.view.keys() < searched.view.keys()


@pytest.mark.parametrize("devices", [1, 7])
def test_every_run_is_wanted_once(devices: int) -> None:
    planner = simulate(small_study(), devices=devices)
    known = set().union(*(unit.runs for unit in planner.units.values()))
    assert known == planner.view.keys()
