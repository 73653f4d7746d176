"""Segments that are trained together: which, how many, and that each ends as it would by itself."""

from __future__ import annotations

import heapq
import io
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import fake_run
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_score, fake_train, replay, simulate, small_study
from test_driver import drive, same

import sweeps.engine.runs
from analysis import read_runs, storage
from pat.config import ConfigError, Data
from pat.lockstep import Wanted
from pat.memory import Crowded
from pat.train import Member, Outcome
from sweeps.costs.expect import KEPT, Size, configs, together
from sweeps.costs.groups import Alone, Shares, _statistics, shares
from sweeps.costs.probe_file import Probe
from sweeps.engine import segments
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import WHERE, Job
from sweeps.engine.launch import PlannerSearcher, launch
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.together import MOST, group_size
from sweeps.planning.units import Key, Segment, keys
from sweeps.planning.view import NOT_STARTED
from sweeps.presets import preset
from sweeps.store import open_study
from sweeps.study import SCRATCH, Cell, Search, Study


@given(ready=st.integers(1, 200), slots=st.integers(1, 40), most=st.integers(1, MOST))
def test_no_device_idles_to_make_a_group_larger(ready: int, slots: int, most: int) -> None:
    """Every device gets something as long as there is something; nobody gets more than its share or its room."""
    assert group_size(ready, slots, most) == (1 if ready <= slots else min(most, -(-ready // slots)))
    left, given_to = ready, 0
    while left:
        left -= group_size(left, slots, most)
        given_to += 1
    assert left == 0 and given_to >= min(ready, slots)


@settings(max_examples=12, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.integers(1, 6), most=st.integers(1, MOST))
def test_groups_end_where_single_runs_do(order: int, devices: int, most: int) -> None:
    """In virtual time: the same runs in the same states; runs of a group have all in common that lockstep needs; no
    device is idle while anything is ready, or where a group was just made."""
    study, rng, now = small_study(seeds=3), random.Random(order), 0.0
    planner, numbers = Planner(study, {}), itertools.count()
    heap: list[tuple[float, int, list[Any]]] = []
    sizes = set()
    while True:
        largest = 1
        while len(heap) < devices and (kind := planner.kind()) is not None:
            first = planner.take(kind)
            assert first is not None
            group = [first, *planner.take_with(first, devices, most)]
            done = {planner.view.get(one.run_id, NOT_STARTED).epochs for one in group}
            assert len({(one.config.data, one.config.recipe.shown, one.config.seed, one.until) for one in group}) == 1
            assert len(done) == 1 and len({one.run_id for one in group}) == len(group) <= most
            largest = max(largest, len(group))
            heapq.heappush(heap, (now + rng.lognormvariate(0, 1) * len(group), next(numbers), group))
        sizes.add(largest)
        assert largest == 1 or len(heap) == devices
        if not heap:
            break
        now, _, group = heapq.heappop(heap)
        for one in group:
            planner.update(one.run_id, fake_run(one.run, one.until, lambda run, epoch: fake_score(run.config, epoch)))
        for given_up in planner.prune():
            planner.update(given_up.run_id, replace(planner.view[given_up.run_id], status="pruned"))
    alone = simulate(study)
    assert planner.complete and {k: v.status for k, v in planner.view.items()} == {
        k: v.status for k, v in alone.view.items()
    }
    assert most == 1 or devices > 2 or max(sizes) > 1


def test_the_first_of_a_group_are_those_of_its_teacher() -> None:
    """Then the others, the most urgent first; all are in flight."""
    recipes = dict.fromkeys((CNN_TEACHER, VIT_TEACHER), RECIPE)
    study = small_study(pairs=tuple((teacher, MLP_STUDENT) for teacher in recipes), search=Search(trials=0), seeds=1)
    planner = simulate(study, devices=1, stop_after=2)  # both teachers
    while (first := planner.take(1)) is not None and first.config.teacher is None:
        pass
    assert first is not None
    mates = planner.take_with(first, 1, MOST)
    teachers = [one.config.teacher == first.config.teacher for one in mates]
    assert teachers == [True, False, False] and all(planner.flying[one.run_id] == one for one in mates)


def test_who_is_to_be_alone_is_in_no_group() -> None:
    planner = simulate(small_study(), devices=1, stop_after=8)
    planner.alone = {one.run_id for one in planner.ready()}
    first = planner.take(1)
    assert first is not None and planner.take_with(first, 1, MOST) == []
    planner.alone = {first.run_id}
    assert planner.take_with(first, 1, MOST) == [], "not with others either"


def probe(peak: int | None) -> Probe:
    return Probe("", MLP_STUDENT, SCRATCH, "cpu", 1, 1, peak_bytes=peak, kind="scratch")


@pytest.mark.parametrize(
    ("peak", "memory", "most"),
    [
        (None, 0, 1),  # nothing is known
        (None, 2 * int(3 * 100 * KEPT), 4),  # half for the peak, three more in the other half
        (100, 115 + int(2 * 100 * KEPT), 3),
        (100, 114, 1),
        (100, 10**6, MOST),
    ],
)
def test_as_many_as_the_memory_holds(peak: int | None, memory: int, most: int) -> None:
    key = Key("scratch", Cell("", MLP_STUDENT, SCRATCH))
    probes = {} if peak is None else {key: probe(peak)}
    assert together([Size(100, 30)], probes.values(), memory) == most


@pytest.mark.parametrize("slots", [1, 2, 8, 32])
def test_the_expected_sharing_is_that_of_the_planner(slots: int) -> None:
    """In virtual time, of the runs of a whole study: how many share a view, and a pass of a teacher."""
    study = preset("demo")
    study = replace(study, search=replace(study.search, sampler="random", prior=0.0))
    planner = Planner(study, {}, speeds=Speeds(dict.fromkeys(keys(study), 1.0)))
    expected, weights = shares(study, configs(study), slots, MOST), {k: planner.counted(k).left for k in planner.units}
    numbers, now, heap = itertools.count(), 0.0, list[tuple[float, int, list[Segment]]]()
    epochs = views = plain = 0.0
    while True:
        while len(heap) < slots and (first := planner.take(1)) is not None:
            group = [first, *planner.take_with(first, slots, MOST)]
            long = first.until - planner.view.get(first.run_id, NOT_STARTED).epochs
            seen = [(_statistics(one.config.student), one.config.teacher) for one in group]
            epochs += long * len(group)
            views += long * len({statistics for statistics, _ in seen})
            plain += long * sum(1 / seen.count(one) for one in seen)
            heapq.heappush(heap, (now + long * len(group), next(numbers), group))
        if not heap:
            break
        now, _, group = heapq.heappop(heap)
        for one in group:
            planner.update(one.run_id, fake_run(one.run, one.until, lambda run, epoch: fake_score(run.config, epoch)))
        for given_up in planner.prune():
            planner.update(given_up.run_id, replace(planner.view[given_up.run_id], status="pruned"))
    assert planner.complete
    mean = [
        sum(weights[key] * found[place] for key, found in expected.items()) / sum(weights.values()) for place in (0, 1)
    ]
    assert mean[0] == pytest.approx(views / epochs, abs=0.12) and mean[1] == pytest.approx(plain / epochs, abs=0.17)


def test_what_is_shared_is_saved() -> None:
    alone = Alone(10.0, views=2.0, plain=4.0)
    assert alone.together(Shares()) == 10.0 and alone.together(Shares(1 / 4, 1 / 2)) == 10.0 - 1.5 - 2.0


def test_runs_of_several_workers_share_nothing_and_a_lone_run_neither() -> None:
    study = small_study(workers={"pat": 2})
    found = shares(study, configs(study), 1, MOST)
    assert {key.cell.method for key in found} == {SCRATCH, "kd"}
    assert shares(study, configs(study), 1, 1) == {}
    assert all(one == Shares() for one in shares(small_study(), configs(small_study()), 1000, MOST).values())


def driver_of(storage: Path, study: Study, most: int) -> Driver:
    folder, grown = open_study(storage, study)
    driver = Driver(folder, grown, study, storage, stream=io.StringIO())
    driver.together = most
    return driver


def test_a_study_in_groups_is_the_study_without(tmp_path: Path) -> None:
    """Trained in earnest, row for row."""
    recipe = replace(RECIPE, epochs=2, batch_size=16, lr=0.02, crop_scale=(0.6, 1.0), crop_ratio=(0.8, 1.25))
    study = small_study(
        data=Data("tiny", 32),
        teachers={CNN_TEACHER: recipe},
        students={MLP_STUDENT: replace(recipe, ema_decay=0.9)},
        pairs=((CNN_TEACHER, MLP_STUDENT),),
        search=Search(trials=2, wave=2, eta=2, rungs=(1 / 2, 1.0)),
        options={"pat": {"regions": 8, "region_dim": 16, "heads": 2}},
        seeds=1,
    )
    one, _, _ = drive(tmp_path / "alone", study)
    driver = driver_of(tmp_path / "groups", study, MOST)
    sizes, hand_out = list[int](), driver.next_jobs
    driver.next_jobs = lambda kind: [sizes.append(len(jobs := hand_out(kind))), jobs][1]  # type: ignore[method-assign]
    run_here(driver)
    assert max(sizes) > 2 and driver.planner.complete
    same(one, driver.folder)


def walking(fates: dict[str, Exception]) -> Any:
    """In the place of `Company.walk`: what `fake_train` does, or after a batch an error."""

    def walk(self: object, member: Member) -> Iterator[Any]:
        yield Wanted("one", 0, 0, True, lambda: iter([None]))  # type: ignore[arg-type]
        if error := fates.pop(member.config.run_id, None):
            raise error
        outcome: Outcome = fake_train(member.config, member.io, until=member.until)
        return outcome

    return walk


@pytest.fixture
def group(tmp_path: Path, replayed: None) -> tuple[Driver, list[Job]]:
    """Five segments that are trained together."""
    driver = driver_of(tmp_path, small_study(), 1)
    for _ in range(4):
        (job,) = driver.next_jobs(1)
        sweeps.engine.runs.execute(job)
        driver.ended(job.run.run_id)
    driver.together = 5
    while len(jobs := driver.next_jobs(1)) < 3:
        for job in jobs:
            sweeps.engine.runs.execute(job)
            driver.ended(job.run.run_id)
    return driver, jobs


@pytest.mark.usefixtures("replayed")
def test_each_of_a_group_says_how_it_ended(group: tuple[Driver, list[Job]], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the driver, as it ends: one has no room, one is lost with what it raised, the others have done well; the
    process ends at last, and what was lost or crowded goes on by itself."""
    driver, jobs = group
    crowded, broken, *fine = [job.run.run_id for job in jobs]
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(segments.tune, "report", reports.append)
    monkeypatch.setattr(segments.os, "_exit", lambda code: reports.append({"exit": code}))
    fates = {crowded: Crowded("no room"), broken: OSError(5, "Input/output error")}
    monkeypatch.setattr(sweeps.engine.runs.Company, "walk", walking(fates))
    segments.run_together([job.to_dict() for job in jobs])
    assert reports[-1] == {"exit": 1} and {report["run"] for report in reports[:-1]} == {crowded, broken, *fine}
    searcher = PlannerSearcher(driver, 1, 100)
    searcher._runs["t"], searcher._several = [job.run.run_id for job in jobs], {"t"}
    for report in reports[:-1]:
        searcher.on_trial_result("t", report)
    assert searcher._runs["t"] == [] and not searcher.fatal and not driver.planner.flying
    searcher.lost("t", "the process is gone")
    assert driver.planner.alone == {crowded, broken}
    assert driver.health.runs[broken].retries == 1 and driver.health.runs[crowded].retries == 0
    run_here(driver)
    assert driver.planner.complete
    assert set(read_runs(driver.folder)["status"]) <= {"finished", "pruned"}


@pytest.mark.usefixtures("replayed")
def test_a_process_that_is_gone_takes_the_rest_of_its_group(
    group: tuple[Driver, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.engine.seen.SECONDS", 0.0)  # no run writes anything here
    driver, jobs = group
    runs = [job.run.run_id for job in jobs]
    searcher = PlannerSearcher(driver, 1, 100)
    searcher._runs["t"], searcher._several = [*runs], {"t"}
    searcher.on_trial_result("t", {"run": runs[0], "epochs": 1, "place": ["here", ""]})
    for run_id in runs[1:]:
        storage.write_file(driver.folder / "runs" / run_id, WHERE, b'{"host": "here", "slot": ""}')
    searcher.lost("t", "segmentation fault")
    (row,) = driver.health.kept()
    assert len(row["failures"]) == len(runs[1:]) >= 2 and len({failed.process for failed in row["failures"]}) == 1
    assert not driver.planner.flying and driver.planner.alone == set(runs[1:])
    assert all(driver.health.runs[run_id].retries == 1 for run_id in runs[1:])


def test_in_this_process_a_configuration_s_error_is_the_run_s_own(
    group: tuple[Driver, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, jobs = group
    monkeypatch.setattr(
        sweeps.engine.runs.Company, "walk", walking({jobs[1].run.run_id: ConfigError("no such pixels")})
    )
    ends = {job.run.run_id: end for job, end in sweeps.engine.runs.execute_together(jobs)}
    assert ends.pop(jobs[1].run.run_id) == "failed" and set(ends.values()) <= {"paused", "finished"}


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("local_ray")
def test_tune_in_groups_gives_the_ledger_of_one_process(tmp_path: Path, replayed: None) -> None:
    one, _, _ = drive(tmp_path / "undisturbed", small_study())
    driver = driver_of(tmp_path / "groups", small_study(), 4)
    sizes, hand_out = list[int](), driver.next_jobs
    driver.next_jobs = lambda kind: [sizes.append(len(jobs := hand_out(kind))), jobs][1]  # type: ignore[method-assign]
    launch(driver, work=replay())
    assert max(sizes) > 1 and driver.planner.complete
    same(driver.folder, one)
