"""Warm starts: anchors are searched first and hand their best settings on, whatever the timing."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import Timeline, fake_run, steps
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, simulate, small_study

from pat.config import ConfigError, RunConfig
from sweeps.configs import default_options
from sweeps.planning.anchors import anchors_of
from sweeps.planning.chain import chain_seconds
from sweeps.planning.planner import Planner, plan
from sweeps.planning.search import draw_wave, lies_in_space
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Runs, keys
from sweeps.store import open_study
from sweeps.study import Cell, Search, Study, TeacherFile

ANCHOR, SAME, NONE = (CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)
AKIN = ("convnext_milli_32", "mixer_micro_patch8_32")


def anchored(**changes: Any) -> Study:
    """One anchor, a cell with its student, one of its families, and one that has nothing in common with it."""
    values: dict[str, Any] = {
        "pairs": (SAME, ANCHOR, AKIN, NONE),
        "anchors": (ANCHOR,),
        "teachers": dict.fromkeys((CNN_TEACHER, VIT_TEACHER, AKIN[0]), RECIPE),
        "students": dict.fromkeys((CNN_STUDENT, MLP_STUDENT, AKIN[1]), RECIPE),
        "methods": ("kd",),
        "threads": 2,  # with which the anchor is best at another setting than its default
    }
    return small_study(**{**values, **changes})


@cache
def undisturbed() -> Planner:
    return simulate(anchored())


def first_wave(planner: Planner, pair: tuple[str, str]) -> list[dict[str, Any]]:
    """The settings of a cell's first wave, those of its search runs in the order of their drawing."""
    return [dict(options) for options in planner.waves[Cell(*pair, "kd"), 0]]


def best_of_first_wave(planner: Planner, pair: tuple[str, str]) -> dict[str, Any]:
    runs = Runs(planner.study)
    found = {}
    for options in first_wave(planner, pair):
        state = planner.view[runs.student(Cell(*pair, "kd"), options, 0).run_id]
        if state.status == "finished":
            found[state.score("raw", 6)] = options
    return found[max(found)]


def test_the_longest_chain_leads_over_the_search_of_an_anchor() -> None:
    """Its teacher, its search, then that of a cell which waits for it, and the confirmation there."""
    study = anchored()
    planner, speeds = Planner(study, {}), Speeds(dict.fromkeys(keys(study), 2.0))
    assert chain_seconds(planner, speeds) == 2.0 * (6 + 6 + 6 + 6)
    (teacher,) = (segment for segment in planner.ready() if segment.cell.student == CNN_TEACHER)
    assert chain_seconds(planner, speeds, {teacher.run_id: 5.0}) == 2.0 * (6 + 6 + 6 + 6) - 5.0
    assert chain_seconds(undisturbed(), speeds) == 0.0


def test_cells_take_over_the_best_setting_after_their_default() -> None:
    planner = undisturbed()
    best = best_of_first_wave(planner, ANCHOR)
    assert planner.complete and best != default_options(planner.study, Cell(*ANCHOR, "kd"))
    for pair in (SAME, AKIN):
        wave = first_wave(planner, pair)
        assert wave[0] == default_options(planner.study, Cell(*pair, "kd")) and wave[1] == best and len(wave) == 4
    assert best not in first_wave(planner, NONE)
    cold = draw_wave(planner.study, Cell(*SAME, "kd"), 0, [])
    assert first_wave(planner, SAME)[2:] == cold[1:3], "the rest is what would have been drawn anyway"


def test_the_same_student_comes_before_the_same_families() -> None:
    study = anchored(anchors=(AKIN, ANCHOR, NONE))
    assert anchors_of(study, Cell(*SAME, "kd")) == [Cell(*ANCHOR, "kd")]
    study = anchored(
        pairs=((CNN_TEACHER, AKIN[1]), ANCHOR, (AKIN[0], AKIN[1]), (VIT_TEACHER, AKIN[1])),
        anchors=(ANCHOR, (VIT_TEACHER, AKIN[1])),
    )
    assert anchors_of(study, Cell(*AKIN, "kd")) == [Cell(VIT_TEACHER, AKIN[1], "kd"), Cell(*ANCHOR, "kd")]
    assert anchors_of(study, Cell(*ANCHOR, "kd")) == [], "anchors wait for nobody"
    assert anchors_of(replace(study, search=Search(trials=0)), Cell(*AKIN, "kd")) == []


def test_others_wait_with_their_search_alone() -> None:
    planner = Planner(anchored(), {})
    seen = []
    for segment in steps(planner, Timeline(1), lambda segment, done: 1.0, lambda run, epoch: float(run.run_id < "8")):
        seen += [(segment.cell.teacher, segment.cell.student)] if segment.phase == "search" else []
    waiting = min(seen.index(SAME), seen.index(AKIN))
    assert seen[:waiting].count(ANCHOR) == 4 + 2 and planner.complete


def test_others_confirm_their_default_meanwhile() -> None:
    study, runs = anchored(), Runs(anchored())
    teachers = [runs.teacher(name) for name in study.used_teachers()]
    view = {run.run_id: fake_run(run, 6, lambda run, epoch: 50.0) for run in teachers if run}
    phases = {(segment.cell.teacher, segment.cell.student, segment.phase) for segment in plan(study, view).ready}
    assert {(*SAME, "confirm"), (*AKIN, "confirm"), (*ANCHOR, "search"), (*NONE, "search")} <= phases
    assert not {(*SAME, "search"), (*AKIN, "search")} & phases


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.integers(1, 20))
def test_timing_decides_nothing(order: int, devices: int) -> None:
    planner = simulate(anchored(), order=order, devices=devices)
    assert (planner.view, planner.rows()) == (undisturbed().view, undisturbed().rows())


@settings(max_examples=5, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 80))
def test_stopping_and_going_on_changes_nothing(order: int, stop: int) -> None:
    first = simulate(anchored(), order=order, stop_after=stop)
    planner = simulate(anchored(), dict(first.view), order=order + 1)
    assert (planner.view, planner.rows()) == (undisturbed().view, undisturbed().rows())


def test_a_longer_search_extends_a_shorter_one() -> None:
    long = anchored(search=Search(trials=8, wave=4))
    at_once, extended = simulate(long), simulate(long, dict(undisturbed().view))
    assert extended.rows() == at_once.rows()
    assert extended.view.keys() - at_once.view.keys() == extended.superseded()


@pytest.mark.parametrize("fail_teacher", [True, False])
def test_an_anchor_without_a_result_gives_nothing(fail_teacher: bool) -> None:
    def fate(config: RunConfig) -> str:
        teacher = config.student == CNN_TEACHER
        search = config.student == MLP_STUDENT and bool(config.teacher) and config.seed == 0
        anchor = search and config.teacher is not None and config.teacher.name == CNN_TEACHER
        return "failed" if (teacher if fail_teacher else anchor) else ""

    planner = simulate(anchored(), fate=fate)
    rows = {(row.cell.teacher, row.cell.student): row for row in planner.rows() if row.setting == "tuned"}
    assert rows[ANCHOR].status == "blocked" and rows[SAME].status == rows[AKIN].status == "finished"
    assert first_wave(planner, SAME) == draw_wave(planner.study, Cell(*SAME, "kd"), 0, [])


def test_a_wave_never_consists_of_anchors_alone() -> None:
    study = anchored()
    cell = Cell(*SAME, "kd")
    warm = [default_options(study, cell) | {"weight": 0.5 + place, "temperature": 2.0} for place in range(6)]
    wave = draw_wave(study, cell, 0, [], [default_options(study, cell), warm[0], *warm])
    assert wave == [default_options(study, cell), *warm[:3]]
    assert draw_wave(study, cell, 1, [], warm) == draw_wave(study, cell, 1, [])


def test_settings_outside_the_space_are_dropped() -> None:
    cell = Cell(*SAME, "pat")
    study = anchored(methods=("pat",), choices={"pat": {"regions": (8, 16)}}, options={"pat": {"region_dim": 64}})
    inside = draw_wave(study, cell, 0, [])[1]
    assert lies_in_space(study, cell, inside)
    for change in ({"regions": 36}, {"kd_weight": 99.0}, {"region_dim": 128}):
        assert not lies_in_space(study, cell, {**inside, **change}), change
    corrected = replace(study, corrections={f":{MLP_STUDENT}": {"pat": {"heads": 2}}})
    assert not lies_in_space(corrected, cell, inside), "heads are not searched, and the cell's own are others"
    assert draw_wave(corrected, cell, 0, [], [inside]) == draw_wave(corrected, cell, 0, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"anchors": ((CNN_TEACHER, CNN_STUDENT),)},
            "anchor convnext_micro_32:resnet_nano_32 of .* not among",
        ),
        ({"anchors": (ANCHOR, ANCHOR)}, "anchors of study 'small': none twice"),
        ({"search": Search(trials=2, wave=1)}, "search.wave = 1: anchors need 2 or more"),
    ],
)
def test_bad_anchors_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        anchored(**change)


def test_anchors_belong_to_the_study(tmp_path: Path) -> None:
    folder, stored = open_study(tmp_path, anchored())
    assert stored == anchored() == open_study(tmp_path, anchored())[1]
    with pytest.raises(ConfigError, match="its anchors is"):
        open_study(tmp_path, anchored(anchors=()))


def test_a_study_file_from_before_still_opens(tmp_path: Path) -> None:
    folder, _ = open_study(tmp_path, small_study())
    values = json.loads((folder / "study.json").read_text())
    del values["anchors"], values["search"]["failures"]
    (folder / "study.json").write_text(json.dumps(values))
    assert open_study(tmp_path, small_study())[1] == small_study()


def test_the_search_of_an_anchor_goes_before_longer_work() -> None:
    """Until its first wave has ended: then nobody waits for it any more."""
    study = anchored(teachers=dict.fromkeys((CNN_TEACHER, VIT_TEACHER, AKIN[0]), TeacherFile("t", "c" * 64)))
    speeds = Speeds(probed={Key("cell", cell): 1.0 if cell[:2] == ANCHOR else 100.0 for cell in study.cells()})
    planner = Planner(study, {}, speeds=speeds)
    first = [planner.take(1) for _ in range(5)]
    assert [segment is not None and segment.cell[:2] == ANCHOR for segment in first] == [True] * 4 + [False]
    assert all(segment is not None and segment.phase == "search" for segment in first[:4])


def test_the_first_plan_is_that_of_anchors() -> None:
    study = anchored()
    teachers = [segment for segment in plan(study, {}).ready if segment.phase == "teacher"]
    assert teachers[0].config.student == CNN_TEACHER, "the anchor's teacher comes first"
