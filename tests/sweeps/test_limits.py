"""Limits of one call: by the clock, and in device-hours. What is paused goes on to the same ledger."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, replay, small_study
from test_driver import drive, same

import sweeps.engine.runs
from analysis import read_epochs, read_runs
from pat.config import ConfigError
from sweeps.commands.flags import limits, parser
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Paused
from sweeps.engine.jobs import STOP, Job
from sweeps.engine.launch import launch
from sweeps.engine.limits import Limits
from sweeps.guard import guarded
from sweeps.store import open_study
from sweeps.study import Study


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def start(storage: Path, study: Study, at_most: Limits) -> Driver:
    folder, grown = open_study(storage, study)
    driver = Driver(folder, grown, study, storage, stream=io.StringIO())
    driver.limits = at_most
    return driver


def test_device_hours_are_those_of_what_was_handed_out() -> None:
    clock = Clock()
    found = Limits(device_hours=3.0, clock=clock)
    found.began("a", 0.5)
    clock.now += 3600
    found.began("b", 2.0)
    assert found.spent() == 0.5 and not found.reached()
    clock.now += 3600
    found.over("a")
    found.over("never begun")
    assert found.spent() == 3.0 and found.reached() == "--max-cost is reached: 3 device-hours"
    clock.now += 3600
    assert found.spent() == 5.0


def test_hours_pass_whether_anything_runs_or_not() -> None:
    clock = Clock()
    found = Limits(hours=2.0, clock=clock)
    clock.now += 7199
    assert not found.reached()
    clock.now += 1
    assert found.reached() == "--max-hours is reached" and not Limits(clock=clock).reached()
    found.end("it is over")
    assert found.reached() == "it is over"


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize("at_most", [{"hours": 1.0}, {"device_hours": 1.0}])
def test_nothing_more_is_handed_out_and_the_same_command_goes_on(
    at_most: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every segment takes a quarter of an hour: each call does four of them."""
    clock, executed = Clock(), sweeps.engine.alone.execute_together

    def timed(jobs: Sequence[Job]) -> Iterator[tuple[Job, str | Exception]]:
        clock.now += 900
        yield from executed(jobs)

    monkeypatch.setattr("sweeps.engine.alone.execute_together", timed)
    study, calls, folder = small_study(), 0, tmp_path / "small"
    while True:
        driver = start(tmp_path, study, Limits(**at_most, clock=clock))
        calls, before = calls + 1, clock.now
        try:
            run_here(driver)
        except Paused as pause:
            assert "is reached" in str(pause) and "the same command goes on" in str(pause)
            assert clock.now == before + 3600
        else:
            break
    assert calls == -(-(clock.now - 1000) // 3600) > 5
    undisturbed, _, _ = drive(tmp_path / "undisturbed", study)
    same(folder, undisturbed)


def test_what_runs_ends_its_epoch(tmp_path: Path) -> None:
    """Real training: once the limit is reached, the run in flight pauses after the epoch that it is in."""
    study = small_study(
        students={MLP_STUDENT: replace(RECIPE, epochs=3)}, pairs=((CNN_TEACHER, MLP_STUDENT),), methods=(), seeds=1
    )
    clock = Clock()
    driver = start(tmp_path, study, Limits(hours=1.0, clock=clock))
    job = driver.next_job(1)
    assert job is not None and not driver.pausing()
    clock.now += 3600
    assert driver.pausing() and (driver.folder / STOP).exists()
    assert sweeps.engine.runs.execute(job) == "paused" and len(read_epochs(driver.folder)) == 1


@pytest.mark.usefixtures("replayed")
def test_a_pause_has_an_exit_code_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        run_here(start(tmp_path, small_study(), limits(parser().parse_args(["--max-hours", "1e-9"]))))
        return 0

    assert guarded(run, verbose=False) == 3
    said = "paused: --max-hours 1e-09 is reached; 0 of 38 runs are done, the same command goes on from here\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--max-hours", "0"], "--max-hours 0: a positive number"),
        (["--max-hours", "nan"], "--max-hours nan: a positive number"),
        (["--max-cost", "-1"], "--max-cost -1: a positive number"),
        (["--max-cost", "5"], "--max-cost 5: needs --price"),
        (["--max-cost", "5", "--price", "0"], "--max-cost 5: needs --price"),
        (["--price", "-1"], "--price -1.0: money per device-hour, not negative"),
    ],
)
def test_what_is_no_limit(given: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        limits(parser().parse_args(given))


def test_money_is_device_hours_at_the_price() -> None:
    found = limits(parser().parse_args(["--max-cost", "6", "--price", "2"]))
    found.began("a", 3.0 * 3600 * 1e9)
    assert found.reached().startswith("--max-cost 6 is reached: ") and found.any
    assert not limits(parser().parse_args(["--price", "2"])).any


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "replayed")
def test_a_study_on_ray_pauses_and_goes_on(tmp_path: Path) -> None:
    driver = start(tmp_path, small_study(), Limits(device_hours=2 / 3600))
    with pytest.raises(Paused, match="--max-cost is reached"):
        launch(driver, work=replay(seconds=0.3))
    assert 0 < len(read_runs(driver.folder)) < 38 and not driver.planner.flying
    driver = start(tmp_path, small_study(), Limits())
    launch(driver, work=replay())
    other, _, _ = drive(tmp_path / "undisturbed", small_study())
    same(driver.folder, other)
