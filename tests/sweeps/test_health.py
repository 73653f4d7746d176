"""Sick devices, sick hosts and sick runs are told apart: in virtual time, with the real planner."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from small import small_study

from sweeps.engine.health import (
    CLOSED_SECONDS,
    DECLINED_LIMIT,
    IN_A_ROW,
    UNBEGUN_LIMIT,
    Failure,
    Health,
    Place,
    here,
    sits_out,
)
from sweeps.presets import preset
from sweeps.study import Search
from tests.bench.blackhole import cluster, drive

ONE, TWO, THREE = Place("a", "GPU 0"), Place("a", "GPU 1"), Place("b", "GPU 0")
SICK, BUG = Failure("CUDA error: at 0x7f01 of rank 3", said=True), Failure("no such key 'x'", "bug", said=True)
GONE = Failure("killed")


def fail(health: Health, run_id: str, place: Place | None, failure: Failure = SICK, now: float = 0.0) -> bool:
    return health.lost(run_id, failure, place, True, 0, now).final


def test_a_run_fails_where_two_devices_say_the_same() -> None:
    health = Health(hosts=1, devices=4)
    assert not fail(health, "r", ONE) and not fail(health, "r", ONE) and health.avoided("r") == [ONE]
    assert not fail(health, "r", TWO, BUG), "that was something else"
    assert fail(health, "r", TWO, Failure("CUDA error: at 0x5500 of rank 1", said=True))


def test_where_there_are_two_hosts_both_are_asked() -> None:
    health = Health(hosts=2, devices=4)
    assert not fail(health, "r", ONE) and not fail(health, "r", TWO), "one host may have one fault"
    assert health.avoided("r") == [Place("a")] and fail(health, "r", THREE)


def test_where_there_is_one_place_it_is_asked_again() -> None:
    health = Health()
    assert not fail(health, "r", Place("a"), BUG) and health.avoided("r") == [] and fail(health, "r", Place("a"), BUG)


def test_a_process_that_is_gone_without_a_word_is_asked_three_times() -> None:
    health = Health(hosts=1, devices=2)
    assert [fail(health, "r", place, GONE) for place in (ONE, ONE, ONE, TWO)] == [False, False, False, True]


def test_different_failures_are_no_end_of_a_run_but_twenty_are() -> None:
    health = Health(hosts=3, devices=3)
    ends = [fail(health, "r", ONE, Failure("x" * number, said=True)) for number in range(1, UNBEGUN_LIMIT + 1)]
    assert ends == [False] * (UNBEGUN_LIMIT - 1) + [True]


def test_what_a_run_got_over_is_forgotten() -> None:
    health = Health(hosts=1, devices=2)
    assert not fail(health, "r", ONE) and not health.lost("r", SICK, TWO, True, 5, 0.0).final
    assert health.avoided("r") == [TWO] and health.runs["r"].retries == 2


def test_a_machine_that_was_taken_away_is_no_fault() -> None:
    health = Health(hosts=1, devices=2)
    for _ in range(30):
        assert not fail(health, "r", ONE, Failure("its machine is gone", preempted=True))
    assert (
        (health.runs["r"].preemptions, health.runs["r"].retries) == (30, 0)
        and not health.closed(0.0)
        and not health.avoided("r")
    )


def test_what_stops_the_study_is_asked_of_a_second_host() -> None:
    full = Failure("cannot write x: No space left on device", "stop", said=True)
    assert fail(Health(hosts=1, devices=8), "r", ONE, full)
    health = Health(hosts=2, devices=2)
    assert not fail(health, "r", ONE, full) and not fail(health, "s", ONE, full) and fail(health, "r", THREE, full)


def test_a_device_is_closed_after_three_in_a_row_tried_with_one_run_and_closed_for_longer() -> None:
    health = Health(hosts=1, devices=4)
    for number in range(IN_A_ROW - 1):
        fail(health, f"r{number}", ONE)
    health.well(ONE)
    for number in range(IN_A_ROW):
        assert not health.closed(10.0)
        fail(health, f"s{number}", ONE, now=10.0)
    assert health.closed(11.0) == {ONE: CLOSED_SECONDS - 1} and not health.closed(10.0 + CLOSED_SECONDS)
    (said,) = health.why_closed(11.0)
    assert said["place"] == "a GPU 0" and said["failures"] == 3 and said["last"] == SICK.text
    later = 20.0 + CLOSED_SECONDS
    fail(health, "t", ONE, now=later)
    assert health.closed(later) == {ONE: 2 * CLOSED_SECONDS}
    health.well(ONE)
    assert not health.closed(later)


def test_several_devices_of_a_host_close_the_host() -> None:
    health = Health(hosts=4, devices=32)
    for number in range(IN_A_ROW):
        fail(health, f"r{number}", Place("a", f"GPU {number}"))
    assert health.closed(0.0).keys() == {Place("a")}
    assert sits_out(Place("a", "GPU 7"), (), [("a", "", 5.0)]) == 5.0 and sits_out(THREE, (), [("a", "", 5.0)]) is None


def test_never_more_than_half_of_the_places_are_closed() -> None:
    health = Health(hosts=1, devices=4)
    for number in range(12):
        fail(health, f"r{number}", Place("a", f"GPU {number % 4}"))
    assert len(health.closed(0.0)) == 2


def test_a_run_that_is_at_fault_clears_the_places() -> None:
    health = Health(hosts=1, devices=8)
    for number in range(IN_A_ROW):
        fail(health, f"r{number}", ONE, BUG)
    assert health.closed(0.0)
    assert fail(health, "r0", TWO, BUG) and not health.closed(0.0)


def test_a_run_that_is_turned_away_too_often_is_trained_anywhere() -> None:
    health = Health(hosts=1, devices=8)
    fail(health, "r", ONE)
    for _ in range(DECLINED_LIMIT):
        assert sits_out(ONE, health.avoided("r"), ()) == 1.0 and sits_out(TWO, health.avoided("r"), ()) is None
        health.declined("r")
    assert health.avoided("r") == []


def test_a_process_knows_its_place_without_a_look_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert here().device == "GPU 3" and str(here()) == f"{here().host} GPU 3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert here().device == "" and str(here()) == here().host


@pytest.mark.parametrize("sick", [1, 2])
def test_sick_devices_cost_no_cell_and_three_runs_each_time_they_are_closed(sick: int) -> None:
    places = cluster(4, 2)
    bad = places[::3][:sick]
    story = drive(small_study(search=Search(trials=8, wave=4)), places, bad)
    assert story.planner.complete and not story.failed and set(story.closed) <= set(bad)
    assert len(story.failures) <= IN_A_ROW * max(sick, len(story.closed))
    assert {place for place, _ in story.failures} == set(bad)


def test_groups_are_kept_off_sick_devices_as_single_runs_are() -> None:
    """A process that fails is one failure, however many runs were in it; each of these goes on alone."""
    places = cluster(2, 2)
    story = drive(small_study(seeds=8), places, places[:1], together=4)
    assert story.planner.complete and not story.failed and set(story.closed) == {places[0]}
    assert len(story.failures) > len(story.processes) and len(story.processes) <= IN_A_ROW * len(story.closed)
    assert max(Counter(run_id for _, run_id in story.failures).values()) <= 2


@pytest.mark.parametrize("together", [1, 4])
def test_what_is_closed_stays_closed_when_the_driver_starts_again(together: int) -> None:
    """Each time it is open again one process tries it, whoever drives; without this every start would try it thrice."""
    places, study = cluster(2, 2), small_study(seeds=4)
    story = drive(study, places, places[:1], together=together, restart_every=CLOSED_SECONDS / 4)
    assert story.planner.complete and not story.failed and set(story.closed) == {places[0]}
    assert story.makespan > CLOSED_SECONDS, "started again while it was closed, and after"
    assert len(story.processes) == IN_A_ROW - 1 + len(story.closed)


def test_what_is_held_against_places_outlasts_a_driver() -> None:
    health = Health(hosts=2, devices=8)
    for number in range(IN_A_ROW):
        fail(health, f"r{number}", ONE, BUG, now=10.0)
    again = Health(hosts=2, devices=8)
    again.recall(json.loads(json.dumps(health.kept())))
    assert again.kept() == health.kept() and again.why_closed(11.0) == health.why_closed(11.0)
    assert not fail(again, "r0", TWO, BUG) and again.closed(11.0)
    assert fail(again, "r0", THREE, BUG) and not again.closed(11.0), "the run was at fault: the place is open again"


def test_of_runs_that_fail_together_one_may_be_at_fault() -> None:
    """A process that fails is one failure of its place; and none, once one of its runs is found to be the reason."""
    health = Health(hosts=1, devices=8)
    for number in range(IN_A_ROW):
        for run_id in ("bad", f"r{number}", f"s{number}"):
            health.lost(run_id, GONE, ONE, True, 0, 0.0, f"process {number}")
        assert bool(health.closed(0.0)) == (number == IN_A_ROW - 1)
    (said,) = health.why_closed(0.0)
    assert said["failures"] == IN_A_ROW and said["seconds"] == CLOSED_SECONDS
    assert fail(health, "bad", TWO, GONE) and not health.closed(0.0)


@pytest.mark.slow
def test_one_device_of_64_that_fails_everything() -> None:
    """Before, 690 of 817 runs were recorded as failed, and 107 of 108 cells could not be completed."""
    places = cluster()
    story = drive(preset("cifar100"), places, places[:1])
    assert story.planner.complete and not story.failed and set(story.closed) == {places[0]}
    assert len(story.failures) <= IN_A_ROW * len(story.closed)


def test_a_method_that_is_broken_fails_on_two_hosts_and_closes_nothing() -> None:
    story = drive(small_study(), cluster(4, 2), buggy=["kd"])
    rows = {row.cell.method: set() for row in story.planner.rows()}
    for row in story.planner.rows():
        rows[row.cell.method].add(row.status)
    assert rows["kd"] <= {"failed", "blocked"} and rows["pat"] == rows["scratch"] == {"finished"}
    hosts = Counter(run_id for run_id, _ in {(run_id, place.host) for place, run_id in story.failures})
    assert set(hosts) == set(story.failed) and set(hosts.values()) == {2}
