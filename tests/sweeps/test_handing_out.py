"""Handing out segments: each once, the most urgent first, kept up to date at a cost that does not grow."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import Timeline, fake_run, steps
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_score, simulate, small_study

from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Run
from sweeps.planning.urgency import Queue, Urgency
from sweeps.study import Cell, Search, TeacherFile

TEACHERS = (CNN_TEACHER, VIT_TEACHER)


@pytest.mark.parametrize("stop", [0, 5, 20, 40, 55, 10**6])
def test_what_is_kept_equals_the_plan_from_nothing(stop: int) -> None:
    study = small_study(search=Search(trials=8, wave=4))
    kept = simulate(study, stop_after=stop, fate=lambda config: "diverged" if config.run_id[0] == "3" else "")
    anew = Planner(study, kept.view)
    assert {(s.run_id, s.until) for s in kept.ready()} == {(s.run_id, s.until) for s in anew.ready()}
    assert kept.rows() == anew.rows() and kept.complete == anew.complete and kept.problems == anew.problems
    assert kept.counts() == anew.counts() and kept.failed() == anew.failed()
    assert dict(kept.left()) == dict(anew.left())


def test_each_segment_is_handed_out_once() -> None:
    planner = Planner(small_study(), {})
    taken = [planner.take(1) for _ in range(len(planner.ready()))]
    assert {s.run_id for s in taken if s} == planner.flying.keys() == {s.run_id for s in planner.ready()}
    assert planner.kind() is None and planner.take(1) is None and planner.take(2) is None
    lost = taken[3]
    assert lost is not None
    planner.release(lost.run_id)
    planner.release("unknown")
    assert planner.kind() == 1 and planner.take(1) == lost and planner.kind() is None


def test_a_run_may_go_on_at_once() -> None:
    study = small_study(teachers={n: TeacherFile(n, "c" * 64) for n in TEACHERS}, methods=("kd",))
    planner, wave = Planner(study, {}), []
    while len(wave) < 4:
        segment = planner.take(1)
        assert segment is not None
        wave += [segment] if segment.phase == "search" and segment.cell.teacher == CNN_TEACHER else []
    assert planner.take_on("unknown") is None
    for segment in wave[:-1]:
        planner.update(segment.run_id, fake_run(segment.run, 2, any_score))
        assert planner.take_on(segment.run_id) is None, "the wave has not ended"
    planner.update(wave[-1].run_id, fake_run(wave[-1].run, 2, lambda run, epoch: 100.0))
    going_on = planner.take_on(wave[-1].run_id)
    assert going_on is not None and going_on.until == 6 and going_on.run_id in planner.flying
    assert len(list(planner.prune())) == 2 and not list(planner.prune()), "each is given once"


def any_score(run: Run, epoch: int) -> float:
    return int(run.run_id[:4], 16) / 1000


@settings(max_examples=5, deadline=None)
@given(order=st.integers(0, 10**6))
def test_speeds_change_the_order_and_nothing_else(order: int) -> None:
    study, rng = small_study(), random.Random(order)
    speeds = Speeds(probed={Key("cell", cell): rng.lognormvariate(0, 2) for cell in study.cells()})
    planner = Planner(study, {}, speeds=speeds)
    deque(steps(planner, Timeline(3), lambda segment, done: rng.random(), lambda run, e: fake_score(run.config, e)), 0)
    whole = simulate(study)
    assert planner.view == whole.view and planner.rows() == whole.rows()


def test_teachers_go_first_and_then_the_longest_chain() -> None:
    study = small_study(teachers={CNN_TEACHER: TeacherFile("t", "c" * 64), VIT_TEACHER: RECIPE}, methods=("kd", "pat"))
    slow = Cell(CNN_TEACHER, MLP_STUDENT, "pat")
    pat, kd = Key("cell", slow), Key("cell", slow._replace(method="kd"))
    planner = Planner(study, {}, speeds=Speeds(probed={pat: 1.0, kd: 0.3}))
    segments = planner.ready()
    assert segments[0].phase == "teacher"
    found = [(s.phase, s.cell.method) for s in segments if s.cell.teacher]
    assert (
        found == [("search", "pat")] * 4 + [("confirm", "pat")] * 2 + [("search", "kd")] * 4 + [("confirm", "kd")] * 2
    )
    assert [s.chain for s in segments if s.cell == slow] == [12] * 4 + [6] * 2, "a search run, then its confirmation"
    planner.speeds = Speeds(probed={pat: 0.1, kd: 9.0})
    planner.resort()
    assert [segment.cell.method for segment in planner.ready() if segment.cell.teacher][:4] == ["kd"] * 4


def test_baselines_go_right_after_the_teachers() -> None:
    """However short they are: a gain can be shown as soon as a cell has a confirmed run."""
    study = small_study()
    planner = Planner(study, {}, speeds=Speeds(probed={Key("cell", cell): 9.0 for cell in study.cells()}))
    ended = [
        segment.phase
        for segment in steps(planner, Timeline(1), lambda segment, done: 1.0, lambda run, e: fake_score(run.config, e))
    ]
    assert ended[:6] == ["teacher"] * 2 + ["scratch"] * 4 and "scratch" not in ended[6:]


def test_kinds_of_segments_are_served_apart() -> None:
    study = small_study(workers={"pat": 2}, methods=("pat",), teachers={n: TeacherFile(n, "c" * 64) for n in TEACHERS})
    planner = Planner(study, {}, speeds=Speeds(probed={Key("cell", cell): 0.01 for cell in study.cells()}))
    assert planner.kind() == 1, "scratch is longer here"
    assert all((segment := planner.take(2)) and segment.cell.method == "pat" for _ in range(12))
    assert planner.take(2) is None and planner.kind() == 1


def test_the_work_of_an_event_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides teachers, which others wait for, a run that gets on has its own unit planned anew and no other."""
    study, planned = small_study(search=Search(trials=8, wave=4)), list[object]()
    original = Planner._plan
    monkeypatch.setattr(Planner, "_plan", lambda self, key: (planned.append(key), original(self, key))[1])
    planner = simulate(study)
    units, updates = len(planner.units), planner._updates
    assert len(planned) == units + updates + sum(planner.units[key].cell.teacher != "" for key in planner.units)


def test_a_queue_holds_each_item_once() -> None:
    queue = Queue[str]()
    for place, item in enumerate(["a", "b", "c"]):
        queue.put(item, Urgency(1, -float(place), place))
    assert queue.first() == (Urgency(1, -2.0, 2), "c")
    queue.put("c", Urgency(2, -9.0, 2))
    queue.put("b", None)
    queue.put("d", None)
    assert queue.first() == (Urgency(1, -0.0, 0), "a")
    queue.put("a", None)
    assert queue.first() == (Urgency(2, -9.0, 2), "c")
    queue.put("c", None)
    assert queue.first() is None
