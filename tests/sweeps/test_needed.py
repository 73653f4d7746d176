"""Runs that others wait for, in chains; and runs that several units ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulate import Timeline, fake_run, steps
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_score, simulate, small_study
from test_forecast import foresee, phase

import sweeps.planning.planned
from pat.config import Method, RunConfig
from sweeps.configs import student_run, teacher_run
from sweeps.costs.disk import RECORD_BYTES
from sweeps.planning.planner import Planner, plan
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Run, Runs, keys
from sweeps.study import Cell, Search, Study

PRETRAINING = replace(RECIPE, epochs=3)
OTHER = "mixer_micro_patch8_32"
KD = Cell(CNN_TEACHER, MLP_STUDENT, "kd")
by_order = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def chained(**changes: Any) -> Study:
    """The ViT teacher starts from the CNN teacher, the CNN student from the ViT teacher (nobody loads the weights)."""
    study = small_study(**changes)
    for key, teacher in ((VIT_TEACHER, CNN_TEACHER), (f":{CNN_STUDENT}", VIT_TEACHER)):
        run = teacher_run(study, teacher)
        assert run is not None
        study = replace(study, initial={**study.initial, key: f"run:{run.run_id}"})
    return study


class Pretrained(Runs):
    """Before the runs of each kd cell one of its student under its teacher, from which they start."""

    def awaited(self, key: Key) -> Run:
        if key.kind != "before":
            return super().awaited(key)
        teacher = self.teacher(key.cell.teacher)
        assert teacher is not None
        config = student_run(self.study, key.cell, {}, 0, f"run:{teacher.run_id}")
        config = replace(config, recipe=PRETRAINING)
        return Run(config.run_id, config)

    def needed(self, key: Key) -> list[Key]:
        found = super().needed(key)
        own = [Key("before", key.cell)] if key.kind == "cell" and key.cell.method == "kd" else []
        return [*found, *own]


def with_pretraining(study: Study) -> list[Key]:
    found = keys(study)
    return found + [Key("before", key.cell) for key in found if key.kind == "cell" and key.cell.method == "kd"]


@pytest.fixture
def pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of run that others wait for which no study has: teacher -> pretrain -> cell."""
    monkeypatch.setattr(sweeps.planning.planned, "Runs", Pretrained)
    monkeypatch.setattr(sweeps.planning.planned, "keys", with_pretraining)


class Shared(Runs):
    """kd is the same run for every teacher of a student, as a method that needs none would be."""

    def student(self, cell: Cell, options: Mapping[str, Any], seed: int) -> Run:
        run = super().student(cell, options, seed)
        if cell.method != "kd":
            return run
        config = replace(run.config, method=Method("scratch"), teacher=None, seed=100 + seed)
        return Run(config.run_id, config)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Study:
    """One student under two teachers; its kd runs serve both cells."""
    monkeypatch.setattr(sweeps.planning.planned, "Runs", Shared)
    return small_study(
        pairs=((CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, MLP_STUDENT)), search=Search(trials=0), methods=("kd", "pat")
    )


def ends(planner: Planner) -> list[tuple[str, Cell]]:
    """Phase and cell of every segment of a simulated study, in order of their ends."""
    score = lambda run, epoch: fake_score(run.config, epoch)  # noqa: E731
    return [(s.phase, s.cell) for s in steps(planner, Timeline(64), lambda segment, done: 1.0, score)]


def test_what_starts_from_a_run_of_the_study_waits_for_it() -> None:
    study = chained()
    first = plan(study, {})
    assert {(s.phase, s.config.student) for s in first.ready} == {("teacher", CNN_TEACHER), ("scratch", MLP_STUDENT)}
    planner = Planner(study, {})
    order = ends(planner)
    teachers = [order.index(("teacher", Cell("", name, "scratch"))) for name in (CNN_TEACHER, VIT_TEACHER)]
    of_student = [place for place, (phase, cell) in enumerate(order) if cell.student == CNN_STUDENT]
    assert teachers[0] < teachers[1] < min(of_student) and planner.complete
    starts = {run.config.student: run.config.initial for run in map(planner.runs.awaited, list(planner.units)[:2])}
    assert starts == {CNN_TEACHER: "", VIT_TEACHER: study.initial[VIT_TEACHER]}


def test_the_first_of_a_chain_is_the_most_urgent() -> None:
    """It begins the longest chain: two teachers and a cell, however slow the others' baselines are."""
    study = chained(pairs=((VIT_TEACHER, CNN_STUDENT), (CNN_TEACHER, MLP_STUDENT)))
    speeds = Speeds(probed={key: 9.0 if key.kind == "scratch" else 1.0 for key in keys(study)})
    planner = Planner(study, {}, speeds=speeds)
    assert planner.ready()[0].phase == "teacher" and planner.ready()[0].cell.student == CNN_TEACHER
    assert foresee(planner).chain_seconds == (6 + 6 + 12) * 3600, "search and confirmation last"


def test_all_that_follows_makes_a_run_urgent() -> None:
    """A teacher and a cell after it take 18 s, a single cell 14.4 s."""
    study = chained(
        teachers=dict.fromkeys((OTHER, CNN_TEACHER, VIT_TEACHER), RECIPE),
        pairs=((OTHER, MLP_STUDENT), (CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)),
        methods=("kd",),
    )
    alone, short, _ = (Key("cell", cell) for cell in study.cells())
    speeds = Speeds(probed={**dict.fromkeys(keys(study), 1.0), alone: 1.2, short: 0.1})
    assert [s.cell.student for s in Planner(study, {}, speeds=speeds).ready()[:2]] == [CNN_TEACHER, OTHER]


def test_a_chain_begun_for_an_anchor_goes_first() -> None:
    study = chained(
        teachers=dict.fromkeys((CNN_TEACHER, VIT_TEACHER, OTHER), RECIPE),
        pairs=((OTHER, MLP_STUDENT), (CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)),
        anchors=((VIT_TEACHER, CNN_STUDENT),),
    )
    planner = Planner(study, {}, speeds=Speeds(probed={Key("cell", c): 99.0 for c in study.cells()[:2]}))
    teachers = [segment.cell.student for segment in planner.ready() if segment.phase == "teacher"]
    assert teachers == [CNN_TEACHER, OTHER], "from it starts the anchor's teacher"


def test_what_fails_blocks_what_follows_with_the_first_reason() -> None:
    study = chained()
    planner = simulate(study, fate=lambda config: "failed" if config.student == CNN_TEACHER else "")
    rows = Counter((row.status, row.reason) for row in planner.rows())
    reason = f"teacher {CNN_TEACHER} failed: made to fail"
    assert rows == {("finished", ""): 2, ("blocked", reason): 2 + 2 * 4 + 2 * 4}
    assert {row.cell for row in planner.rows() if row.status == "finished"} == {Cell("", MLP_STUDENT, "scratch")}
    assert planner.problems[:3] == [
        reason,
        f"teacher {VIT_TEACHER} blocked: {reason}",
        f"{CNN_STUDENT} scratch blocked: {reason}",
    ]
    assert planner.counts() == (3, 3) and planner.failed() == 1 and not planner.ready()
    anew = Planner(study, planner.view)
    assert anew.rows() == planner.rows() and anew.problems == planner.problems and anew.counts() == (3, 3)


def test_a_run_that_is_there_needs_nothing_any_more() -> None:
    """A teacher from elsewhere: what it started from may fail."""
    study = chained()
    later = Runs(study).awaited(Key("teacher", Cell("", VIT_TEACHER, "scratch")))
    first = Runs(study).awaited(Key("teacher", Cell("", CNN_TEACHER, "scratch")))
    score = lambda run, epoch: 50.0  # noqa: E731
    view = {later.run_id: fake_run(later, 6, score), first.run_id: fake_run(first, 2, score, "failed")}
    ready = plan(study, view).ready
    assert {segment.cell.student for segment in ready} == {MLP_STUDENT, CNN_STUDENT}
    assert {segment.cell.teacher for segment in ready} == {"", VIT_TEACHER}


@by_order
@given(order=st.integers(0, 10**6), stop=st.integers(0, 40), devices=st.sampled_from([1, 3, 64]))
def test_a_chain_is_the_same_in_any_order(order: int, stop: int, devices: int) -> None:
    study = chained()
    whole, first = simulate(study), simulate(study, order=order, devices=devices, stop_after=stop)
    anew = Planner(study, first.view)
    assert {s.run_id for s in first.ready()} == {s.run_id for s in anew.ready()} and first.left() == anew.left()
    again = simulate(study, dict(first.view), order=order + 1)
    assert again.complete and again.rows() == whole.rows() and again.view == whole.view


@pytest.mark.usefixtures("pretraining")
def test_another_kind_of_run_may_come_in_between() -> None:
    study = small_study()
    planner = Planner(study, {})
    order = ends(planner)
    assert planner.complete and order.count(("before", KD)) == 1
    places = [order.index(("teacher", Cell("", CNN_TEACHER, "scratch"))), order.index(("before", KD))]
    kd, pat = (order.index(("search", KD._replace(method=method))) for method in ("kd", "pat"))
    assert places[0] < places[1] < kd
    assert places[0] < pat < kd, "other cells of its teacher do not wait for it"
    assert planner.left().keys() >= {Key("before", KD), Key("cell", KD)}, "one cell, two kinds of runs"


@pytest.mark.usefixtures("pretraining")
def test_it_blocks_its_own_cell_alone() -> None:
    def fate(config: RunConfig) -> str:
        return "diverged" if config.recipe == PRETRAINING and config.student == MLP_STUDENT else ""

    planner = simulate(small_study(), fate=fate)
    blocked = [row for row in planner.rows() if row.status == "blocked"]
    assert {row.cell for row in blocked} == {KD} and len(blocked) == 4
    assert {row.reason for row in blocked} == {f"before {CNN_TEACHER} -> {MLP_STUDENT} diverged: made to fail"}
    assert all(row.status == "finished" for row in planner.rows() if row.cell != KD)
    failed = simulate(small_study(), fate=lambda config: "failed" if config.student == CNN_TEACHER else "")
    reasons = {row.reason for row in failed.rows() if row.status == "blocked"}
    assert reasons == {f"teacher {CNN_TEACHER} failed: made to fail"}
    assert (
        f"before {CNN_TEACHER} -> {MLP_STUDENT} blocked: teacher {CNN_TEACHER} failed: made to fail" in failed.problems
    )


@pytest.mark.usefixtures("pretraining")
@by_order
@given(order=st.integers(0, 10**6), stop=st.integers(0, 60))
def test_three_in_a_row_are_the_same_in_any_order(order: int, stop: int) -> None:
    study = small_study()
    whole, first = simulate(study), simulate(study, order=order, stop_after=stop)
    again = simulate(study, dict(first.view), order=order + 1)
    assert again.complete and again.rows() == whole.rows() and again.view == whole.view


def test_a_run_of_two_units_is_handed_out_once_and_both_hear_of_it(shared: Study) -> None:
    planner = Planner(shared, {})
    cells = [Key("cell", cell) for cell in shared.cells() if cell.method == "kd"]
    for name in (CNN_TEACHER, VIT_TEACHER):
        run = planner.runs.awaited(Key("teacher", Cell("", name, "scratch")))
        planner.update(run.run_id, fake_run(run, 6, lambda run, epoch: 50.0))
    assert planner.units[cells[0]].runs == planner.units[cells[1]].runs and len(planner.units[cells[0]].runs) == 2
    wanted = set(planner.units[cells[0]].runs)
    ready = [segment.run_id for segment in planner.ready()]
    assert len(ready) == len(set(ready)) and wanted < set(ready)
    taken = [planner.take(1) for _ in ready]
    assert sorted(segment.run_id for segment in taken if segment) == sorted(ready) and planner.kind() is None
    segment = next(segment for segment in taken if segment and segment.run_id in wanted)
    planner.release(segment.run_id)
    assert planner.take_on(segment.run_id) is not None and planner.take_on(segment.run_id) is None
    planner.update(segment.run_id, fake_run(segment.run, 6, lambda run, epoch: 50.0))
    seed = segment.config.seed - 100
    rows = {row.cell: row.status for row in planner.rows() if row.cell.method == "kd" and row.seed == seed}
    assert rows == {key.cell: "finished" for key in cells}
    assert planner.kind() is None, "no unit offers it again"


@by_order
@given(order=st.integers(0, 10**6), stop=st.integers(0, 14))
def test_a_run_of_two_units_is_counted_once(order: int, stop: int, shared: Study) -> None:
    planner = simulate(shared, order=order, stop_after=stop)
    anew = Planner(shared, planner.view)
    runs = 2 + 2 + 2 + 2 * 2  # teachers, baselines, kd for both, pat for each
    assert planner.counts() == anew.counts() and planner.counts() == (len(planner.view), runs)
    assert sum(planner.left().values()) == sum(anew.left().values()) == 6 * (runs - len(planner.view))
    found = foresee(planner)
    assert phase(found, "confirm").runs == 2 + 4 and found.total.runs == runs
    assert found.total.left == sum(planner.left().values()) and found.total.before == 6 * runs
    assert found.disk is not None
    records = runs * RECORD_BYTES
    assert found.disk.end == {"all": runs * 1000 + records, "best": (2 + 1 + 1 + 2) * 1000 + records,
                              "none": 2 * 1000 + records}  # fmt: skip
    whole = simulate(shared, dict(planner.view), order=order + 1)
    assert whole.complete and len(whole.view) == runs and not whole.superseded()


def test_a_run_that_fails_fails_in_both(shared: Study) -> None:
    planner = simulate(shared, fate=lambda config: "failed" if config.seed == 101 else "")
    failed = {(row.cell.teacher, row.seed) for row in planner.rows() if row.status == "failed"}
    assert failed == {(CNN_TEACHER, 1), (VIT_TEACHER, 1)} and planner.failed() == 1
    assert len(planner.problems) == 2


def test_what_a_unit_needs_is_found_once() -> None:
    study = chained()
    runs = Runs(study)
    key = Key("cell", study.cells()[-1])
    assert runs.needed(key) is runs.needed(key) and len(runs.needed(key)) == 1
    assert runs.needed(Key("teacher", Cell("", VIT_TEACHER, "scratch"))) == [
        Key("teacher", Cell("", CNN_TEACHER, "scratch"))
    ]
