"""A watched report: written when something changed, once more at the end, and not brought down by one bad file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.schema import LedgerError
from analysis.watch import driver_ended, signature, watch

Make = Callable[..., Any]
BEAT = "2026-01-01T00:00:00+00:00"


class Clock:
    """Sleeps at once. `events`: what happens during each sleep; after the last one the study has ended."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self.events, self.slept = list(events), list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.events.pop(0)()

    def ended(self) -> bool:
        return not self.events


@pytest.fixture
def folder(tmp_path: Path, make_square: Make) -> Path:
    place: Path = make_square(("cnn",), methods=("kd",), settings=("default",), seeds=(1,)).write(tmp_path)
    return place


def touch(path: Path) -> None:
    """Another time of change, however coarse the clock of the filesystem is."""
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))


def nothing(last: bool = False) -> None:
    return None


def test_it_writes_only_what_changed(folder: Path) -> None:
    written = []
    epochs = next(folder.glob("runs/*/epochs.parquet"))
    clock = Clock(nothing, lambda: touch(folder / "matrix.parquet"), nothing, lambda: touch(epochs), nothing, nothing)
    watch(folder, lambda last: written.append((len(clock.slept), last)), 5.0, clock.ended, clock.sleep)
    assert written == [(0, False), (2, False), (4, False), (6, True)] and clock.slept == [5.0] * 6


def test_a_study_that_has_ended_is_written_once(folder: Path) -> None:
    written: list[bool] = []
    watch(folder, written.append, 1.0, lambda: True, lambda seconds: pytest.fail("nothing to wait for"))
    assert written == [True]


def test_the_report_itself_and_the_beat_are_no_change(folder: Path) -> None:
    before = signature(folder)
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("x")
    (folder / "driver.json").write_text("{}")
    (folder / "runs" / "_temporary").write_text("x")
    assert signature(folder) == before and any(path.endswith("run.parquet") for path, *_ in before)
    (folder / "study.json").write_text("{ }")
    assert signature(folder) != before


def test_a_damaged_file_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = iter([LedgerError("runs/a/run.parquet: not readable as Parquet"), None, None, LedgerError("x")])

    def write(last: bool) -> None:
        if error := next(rounds):
            raise error

    clock = Clock(nothing, nothing)
    watch(folder, write, 30.0, clock.ended, clock.sleep)
    assert capsys.readouterr().err == "runs/a/run.parquet: not readable as Parquet; trying again in 30 s\n"
    with pytest.raises(LedgerError, match="x"):
        watch(folder, write, 30.0, lambda: True, clock.sleep)


def test_control_c_ends_it_quietly(folder: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    watch(folder, nothing, 1.0, lambda: False, interrupt)
    watch(folder, interrupt, 1.0, lambda: False, time.sleep)


def test_when_a_driver_has_ended(folder: Path) -> None:
    assert driver_ended(folder), "there is none"
    facts = {"host": "h", "pid": 1, "beat": BEAT}
    (folder / "driver.json").write_text(json.dumps(facts))
    assert not driver_ended(folder), "silent: the same command goes on with the study"
    (folder / "driver.json").write_text(json.dumps(facts | {"ended": "done"}))
    assert driver_ended(folder)
    written: list[bool] = []
    watch(folder, written.append)
    assert written == [True]
