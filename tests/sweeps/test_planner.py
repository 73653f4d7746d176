"""The planner on simulated ledgers: what it decides is a function of the study alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, fake_run, simulate, small_study

from pat.config import RunConfig
from sweeps.planner import Planner, plan
from sweeps.search import Result, draw_wave
from sweeps.study import Cell, Search, Study, TeacherFile, default_options
from sweeps.view import NOT_STARTED, RunState

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
    ready = plan(study, {teacher.run_id: fake_run(teacher.config, NOT_STARTED, 6)}).ready
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
    trials = Counter(Cell(c.teacher.name, c.student, c.method.name) for c in searched(study, planner))
    assert set(trials.values()) == {4} and len(trials) == len(study.cells())


def searched(study: Study, planner: Planner) -> list[RunConfig]:
    """The configurations of all search runs, in canonical order, drawn anew from the view."""
    found = []
    for cell in study.cells():
        results: list[Result] = []
        for wave in range(study.search.trials // study.search.wave):
            drawn = planner._draw(study, cell, wave, results) if not results else None
            found += [_config(study, planner, cell, options) for options in drawn or ()]
    return found


def _config(study: Study, planner: Planner, cell: Cell, options: dict[str, object]) -> RunConfig:
    from sweeps.study import student_run

    teacher = next(s for s in plan(study, {}).ready if s.config.student == cell.teacher)
    config = student_run(study, cell, options, 0, f"run:{teacher.run_id}")
    assert config.run_id in planner.view
    return config


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.integers(1, 20))
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


def test_the_memo_equals_the_plan_from_nothing() -> None:
    study = small_study(search=Search(trials=8, wave=4))
    for stop in (0, 5, 20, 40, 55):
        kept = simulate(study, stop_after=stop)
        anew = plan(study, kept.view)
        assert [s.run_id for s in kept.ready()] == [s.run_id for s in anew.ready]
        assert kept.rows() == anew.rows and kept.complete == anew.complete


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
    assert {(row.status, row.reason) for row in tuned} == {("blocked", "no trial finished")}
    default = [row for row in planner.rows() if row.cell.method == "kd" and row.setting == "default"]
    assert {row.status for row in default} == {"finished"}


def test_a_teacher_file_needs_no_run() -> None:
    teachers = {**small_study().teachers, CNN_TEACHER: TeacherFile("t.safetensors", "c" * 64)}
    study = small_study(teachers=teachers)
    ready = plan(study, {}).ready
    own = [segment for segment in ready if segment.cell.teacher == CNN_TEACHER]
    assert own and all(s.config.teacher and s.config.teacher.weights == "sha256:" + "c" * 64 for s in own)


def test_only_what_was_asked_for_becomes_ready() -> None:
    study = small_study()
    asked = small_study(pairs=study.pairs[:1], methods=("kd",))
    planner = Planner(study, {}, asked=asked)
    assert {segment.config.student for segment in planner.ready()} == {CNN_TEACHER, MLP_STUDENT}
    assert len(planner.rows()) == len(Planner(study, {}).rows())


def test_batchnorm_on_several_cpu_workers_is_part_of_the_identity() -> None:
    study = small_study(workers=2)
    plain, split = plan(study, {}).ready, plan(study, {}, frozenset({CNN_STUDENT})).ready
    changed = {a.config.student for a, b in zip(plain, split, strict=True) if a.run_id != b.run_id}
    assert changed == {CNN_STUDENT}


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
