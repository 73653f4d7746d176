"""How a segment can come to a bad end, and what the driver makes of it; no Ray runs here."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from small import fake_train, small_study

import sweeps.engine.driver
import sweeps.engine.runs
from analysis import read_runs
from pat.config import ConfigError, RunConfig, StorageError
from pat.io import IO
from pat.memory import OutOfMemory
from pat.train import Outcome
from sweeps.engine import segments
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import IN_A_ROW, Failure, Place, here
from sweeps.engine.jobs import PAUSE, STOP, WHERE, Job
from sweeps.engine.launch import PlannerSearcher
from sweeps.engine.live import live
from sweeps.engine.quarantine import FILE as HEALTH
from sweeps.store import open_study

ECC = torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered\nmore")
SICK = Failure("CUDA error: uncorrectable ECC error encountered", said=True)
ONE, TWO = Place("a", "GPU 0"), Place("b", "GPU 0")


@pytest.fixture
def driver(tmp_path: Path, replayed: None) -> Driver:
    study = small_study()
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO())
    driver.health.hosts, driver.health.devices = 2, 4
    return driver


def taken(driver: Driver) -> Job:
    job = driver.next_job(1)
    assert job is not None
    return job


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a trial reports; instead of an end of its process, SystemExit."""
    reports: list[dict[str, Any]] = []

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(segments.tune, "report", reports.append)
    monkeypatch.setattr(segments.os, "_exit", leave)
    return reports


def raising(error: Exception) -> Any:
    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        raise error

    return train


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ECC, "lost"), (OSError(5, "Input/output error"), "lost"), (KeyError("x"), "bug"), (OutOfMemory("no"), "oom")],
    ids=["gpu", "disk", "bug", "memory"],
)
def test_an_error_ends_the_process_and_records_nothing(
    driver: Driver, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", raising(error))
    with pytest.raises(SystemExit):
        segments.run_one(taken(driver).to_dict())
    (report,) = told
    failure = Failure(*report["failure"])
    assert failure.kind == kind and report["place"] == list(here()) and not len(read_runs(driver.folder))
    assert "more" not in failure.text and failure.said


def test_what_a_configuration_says_is_recorded_and_the_process_stays(
    driver: Driver, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", raising(ConfigError("no such pixels")))
    segments.run_one(taken(driver).to_dict())
    assert "failure" not in told[0] and read_runs(driver.folder)["message"].tolist() == ["no such pixels"]


def test_what_stops_a_study_is_told_and_the_process_stays(
    driver: Driver, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", raising(StorageError("no room")))
    segments.run_one(taken(driver).to_dict())
    assert Failure(*told[0]["failure"]) == Failure("no room", "stop", said=True)


def test_in_this_process_a_sick_device_ends_the_study_with_nothing_recorded(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.engine.runs, "train", raising(ECC))
    with pytest.raises(Fatal, match="^CUDA error: uncorrectable ECC error encountered .AcceleratorError on "):
        run_here(driver)
    assert not len(read_runs(driver.folder))


def test_a_sick_place_gives_its_segment_back_and_waits(
    driver: Driver, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = taken(driver).to_dict()
    waited: list[float] = []
    monkeypatch.setattr(segments.time, "sleep", waited.append)
    monkeypatch.setattr(segments.time, "monotonic", iter(range(100)).__next__)
    segments.run_one(values | {"closed": ((*here(), 5.0),)})
    assert told == [{"epochs": 0, "declined": list(here())}] and 0 < len(waited) <= 5
    (driver.folder / PAUSE).touch()
    segments.run_one(values | {"closed": ((*here(), 3600.0),)})
    assert len(told) == 2 and len(waited) <= 5, "the driver wants its processes back"


def test_a_run_fails_once_two_hosts_say_the_same(driver: Driver) -> None:
    run_id = taken(driver).run.run_id
    driver.lost(run_id, SICK, ONE)
    job = taken(driver)
    assert (job.run.run_id, job.avoid, job.retries) == (run_id, (("a", ""),), 1) and not len(read_runs(driver.folder))
    driver.lost(run_id, SICK, TWO)
    (row,) = read_runs(driver.folder).to_dict("records")
    assert (row["status"], row["failure_class"], row["message"]) == ("failed", "lost", SICK.text)


def test_a_run_that_was_turned_away_waits_for_another_place(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.engine.seen.SECONDS", 0.0)  # no run writes anything here
    first, second = taken(driver).run.run_id, taken(driver).run.run_id
    driver.lost(first, SICK, ONE)
    assert taken(driver).run.run_id == first
    driver.declined(first, ONE)
    third = taken(driver).run.run_id
    assert third not in (first, second), "others may well go there"
    assert first not in {run["run_id"] for run in live(driver)["running"]}
    driver.ended(second, TWO)
    assert taken(driver).run.run_id in (first, second)


def test_what_was_turned_away_comes_back_when_nothing_else_is_in_flight(driver: Driver) -> None:
    run_id = taken(driver).run.run_id
    driver.lost(run_id, SICK, ONE)
    assert taken(driver).run.run_id == run_id
    driver.declined(run_id, ONE)
    assert driver.kind() == 1 and taken(driver).run.run_id == run_id


def test_a_closed_device_is_told_to_people_and_gives_segments_back(driver: Driver) -> None:
    for _ in range(IN_A_ROW):
        jobs = [taken(driver) for _ in range(len(driver.planner.flying) + 1)]
        driver.lost(jobs[-1].run.run_id, SICK, ONE)
    (said,) = live(driver)["closed"]
    assert said["place"] == "a GPU 0" and said["last"] == SICK.text
    job = taken(driver)
    ((host, device, seconds),) = job.closed
    assert (host, device) == ONE and 3500 < seconds <= 3600
    driver.declined(job.run.run_id, ONE)
    assert not driver.planner.aside, "any other place may have it at once"
    assert job.run.run_id not in driver.limits._flying, "it costs nothing meanwhile"


def test_a_closed_device_is_closed_for_the_next_driver(
    driver: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.engine.seen.SECONDS", 0.0)  # no run writes anything here

    def again() -> Driver:
        return Driver(driver.folder, driver.study, driver.study, driver.data_root, stream=sys.stdout)

    for number in range(IN_A_ROW):
        assert bool(driver.health.closed(time.time())) is False
        assert (driver.folder / HEALTH).exists() == bool(number), "a file only where there is something to say"
        jobs = [taken(driver) for _ in range(len(driver.planner.flying) + 1)]
        driver.lost(jobs[-1].run.run_id, SICK, ONE)
    following = again()
    assert {tuple(place) for *place, _ in taken(following).closed} == {ONE}
    said = capsys.readouterr().out
    assert f"a GPU 0 gets no work for 60 min, after 3 failures in a row, the last: {SICK.text}; remove" in said
    following.ended(taken(following).run.run_id, ONE)
    assert not taken(again()).closed, "it has done well"
    driver.lost(taken(driver).run.run_id, SICK, ONE)
    (driver.folder / HEALTH).write_text('[{"place": ["a"')
    assert not taken(again()).closed


def test_the_place_of_a_process_that_is_gone_stands_in_its_folder(driver: Driver) -> None:
    run_id = taken(driver).run.run_id
    place = driver.folder / "runs" / run_id
    place.mkdir(parents=True)
    (place / WHERE).write_text('{"host": "a", "slot": "GPU 0", "pid": 7, "device": "H100"}')
    driver.lost(run_id, Failure("killed"))
    assert driver.health.avoided(run_id) == [Place("a")] and not (place / WHERE).exists()


def test_a_process_that_hung_is_said_to_have(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = taken(driver).run.run_id
    (driver.folder / "runs" / run_id).mkdir(parents=True)
    monkeypatch.setattr(sweeps.engine.driver, "patience", lambda speeds, key: 1800.0)
    for ago, text in ((1900.0, "no new epoch for 32 min"), (100.0, "killed")):
        (driver.folder / "runs" / run_id / WHERE).write_text("{}")
        driver.since[run_id] = time.time() - ago
        driver.lost(run_id, Failure("killed"))
        assert driver.health.runs[run_id].failures[-1][1].text == text
        assert taken(driver).run.run_id == run_id


class TestSearcher:
    def test_after_its_last_segment_what_is_in_flight_pauses(self, driver: Driver) -> None:
        searcher = PlannerSearcher(driver, 1, limit=2)
        job = searcher.suggest("t0")
        assert isinstance(job, dict) and isinstance(searcher.suggest("t1"), dict)
        assert not (driver.folder / PAUSE).exists()
        sweeps.engine.runs.execute(Job.from_dict(job["job"]))
        searcher.on_trial_complete("t0", {"place": list(ONE)})
        assert searcher.suggest("t2") == searcher.FINISHED and (driver.folder / PAUSE).exists()
        assert not (driver.folder / STOP).exists() and not searcher.fatal

    def test_what_a_process_says_is_what_counts(self, driver: Driver) -> None:
        searcher = PlannerSearcher(driver, 1, limit=9)
        (run_id,) = (suggested(searcher, "t0"),)
        searcher.on_trial_result("t0", {"failure": [*astuple(SICK)], "place": list(ONE)})
        searcher.on_trial_complete("t0", error=True)
        searcher.lost("t0", "Worker exit detail: Worker exits with exit code 1. More")
        assert driver.health.runs[run_id].failures == [(ONE, SICK, True)]

    def test_a_segment_that_is_given_back_goes_on_and_its_trial_is_nobodys(self, driver: Driver) -> None:
        searcher = PlannerSearcher(driver, 1, limit=9)
        run_id = suggested(searcher, "t0")
        driver.lost(run_id, SICK, ONE)
        assert suggested(searcher, "t1") == run_id
        searcher.on_trial_result("t1", {"declined": list(ONE)})
        searcher.on_trial_complete("t1", {"declined": list(ONE)})
        assert driver.planner.aside == {run_id}

    def test_a_full_disk_of_one_host_does_not_stop_the_study_of_two_does(self, driver: Driver) -> None:
        searcher = PlannerSearcher(driver, 1, limit=9)
        full = ["cannot write x: No space left on device", "stop", True]
        for number, place in enumerate((ONE, ONE, TWO)):
            run_id = suggested(searcher, f"t{number}")
            searcher.on_trial_result(f"t{number}", {"failure": full, "place": list(place)})
            searcher.on_trial_complete(f"t{number}", {"failure": full, "place": list(place)})
            assert bool(searcher.fatal) == (place == TWO) and run_id
        assert (driver.folder / STOP).exists() and searcher.suggest("t9") == searcher.FINISHED
        assert not len(read_runs(driver.folder))


def suggested(searcher: PlannerSearcher, trial_id: str) -> str:
    job = searcher.suggest(trial_id)
    assert isinstance(job, dict)
    return Job.from_dict(job["job"]).run.run_id


def test_a_pause_of_the_driver_pauses_a_run(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        asked.append(world.asked_to_stop())
        (driver.folder / PAUSE).touch()
        asked.append(world.asked_to_stop())
        return fake_train(config, world, until=1)

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    assert sweeps.engine.runs.execute(taken(driver)) == "paused" and asked == [False, True]
