"""A model that is both a teacher and a student of a study, under two recipes: each has its own times and sizes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import CNN_STUDENT, MLP_STUDENT, fake_train, small_study

import sweeps.engine.runs
from pat.config import RunConfig
from pat.io import IO
from pat.train import Outcome
from sweeps.costs.expect import configs, expect
from sweeps.costs.forecast import Phase, forecast
from sweeps.costs.plan_text import plan_text
from sweeps.costs.probe_file import Probe, read_probes, write_probes
from sweeps.costs.probing import _missing
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.looking.picture import Picture, Running
from sweeps.looking.status_text import cell_states
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key
from sweeps.store import open_study
from sweeps.study import Cell, Search, Study

MODEL = Cell("", CNN_STUDENT, "scratch")
TEACHER, STUDENT = Key("teacher", MODEL), Key("scratch", MODEL)
GPU = "Some GPU"


def both() -> Study:
    """`resnet_nano_32` teaches the mixer, after 12 epochs, and itself, as a student of 6 epochs."""
    base = small_study()
    return replace(
        base,
        teachers={CNN_STUDENT: replace(base.students[CNN_STUDENT], epochs=12, batch_size=32)},
        students={**base.students, CNN_STUDENT: replace(base.students[CNN_STUDENT], epochs=6, batch_size=48)},
        pairs=((CNN_STUDENT, MLP_STUDENT), (CNN_STUDENT, CNN_STUDENT)),
        methods=("kd",),
        search=Search(trials=0),
    )


def test_each_side_has_its_own_run() -> None:
    found = configs(both())
    assert {key: (config.recipe.epochs, config.recipe.batch_size) for key, config in found.items()} == {
        TEACHER: (12, 32),
        STUDENT: (6, 48),
        Key("scratch", Cell("", MLP_STUDENT, "scratch")): (6, 32),
        Key("cell", Cell(CNN_STUDENT, MLP_STUDENT, "kd")): (6, 32),
        Key("cell", Cell(CNN_STUDENT, CNN_STUDENT, "kd")): (6, 48),
    }


def test_times_of_one_side_say_nothing_of_the_other() -> None:
    speeds = Speeds(probed={TEACHER: 10.0, STUDENT: 4.0})
    assert (speeds.seconds(TEACHER), speeds.seconds(STUDENT)) == (10.0, 4.0)
    speeds.note(TEACHER, 36.0, 12)
    assert (speeds.seconds(TEACHER), speeds.source(TEACHER)) == (3.0, "ledger")
    assert (speeds.seconds(STUDENT), speeds.source(STUDENT)) == (4.0, "probe")


def hourly(one: Key) -> float:
    """Two hours an epoch for the teacher, one for everything else."""
    return 7200.0 if one.kind == "teacher" else 3600.0


def test_the_forecast_and_what_is_left_take_each_for_itself(tmp_path: Path) -> None:
    planner = Planner(both(), {})
    assert planner.left()[TEACHER] == 12 and planner.left()[STUDENT] == 2 * 6
    expected = replace(expect(both(), tmp_path), speeds=Speeds(probed={key: hourly(key) for key in planner.units}))
    found = {phase.name: phase for phase in forecast(planner, expected).phases}
    assert found["teacher"] == Phase("teacher", 1, 0, 12, before=24, done=0, left=24)
    assert found["scratch"] == Phase("scratch", 4, 0, 24, before=24, done=0, left=24)
    assert found["confirm"].left == 4 * 6
    assert forecast(planner, expected).chain_seconds == (12 * 2 + 6) * 3600
    assert sum(found[name].left for name in found) == 24 + 24 + 24


def test_probes_of_both_sides_are_kept_and_none_is_made_twice(tmp_path: Path) -> None:
    one = Probe(*MODEL, GPU, 1, 1, epoch_seconds=5.0, checkpoint_bytes=30, student_bytes=10, kind="teacher")
    other = replace(one, epoch_seconds=2.0, checkpoint_bytes=20, kind="scratch")
    write_probes(tmp_path, [one])
    assert STUDENT in [key for key, _, _ in _missing(both(), tmp_path, GPU)]
    write_probes(tmp_path, [other])
    assert read_probes(tmp_path, GPU) == {TEACHER: one, STUDENT: other}
    missing = [key for key, _, _ in _missing(both(), tmp_path, GPU)]
    assert TEACHER not in missing and STUDENT not in missing and len(missing) == 3
    expected = expect(both(), tmp_path, GPU, data_root=tmp_path)
    assert (expected.speeds.seconds(TEACHER), expected.speeds.seconds(STUDENT)) == (5.0, 2.0)
    assert (expected.sizes[TEACHER].checkpoint, expected.sizes[STUDENT].checkpoint) == (30, 20)
    text = plan_text(both(), both(), tmp_path, device=GPU, gpus=True)
    assert f"teachers: {CNN_STUDENT} 5" in text and "  2.       2.0" in text


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are replayed; an epoch of the teacher takes nine seconds, of any other run three."""

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        outcome = fake_train(config, world, **rest)
        seconds = 9.0 if config.recipe.epochs == 12 else 3.0
        return replace(outcome, history=[{**row, "seconds": seconds} for row in outcome.history])

    monkeypatch.setattr(sweeps.engine.runs, "train", train)


@pytest.mark.usefixtures("timed")
def test_the_ledger_keeps_them_apart(tmp_path: Path) -> None:
    folder, study = open_study(tmp_path, both())
    driver = Driver(folder, study, study, tmp_path, stream=io.StringIO())
    run_here(driver)
    for speeds in (driver.planner.speeds, expect(study, folder, data_root=tmp_path).speeds):
        assert speeds.seconds(TEACHER) == pytest.approx(9.0) and speeds.source(TEACHER) == "ledger"
        assert speeds.seconds(STUDENT) == pytest.approx(3.0) and speeds.source(STUDENT) == "ledger"


def test_a_teacher_in_flight_is_no_baseline_in_flight() -> None:
    rows = [{"teacher": "", "student": CNN_STUDENT, "method": "scratch", "status": "waiting"}]

    def state(phase: str) -> str:
        run = Running("ab", phase, tuple(MODEL), 0, 1, 6, 0.0, "", "")
        return cell_states(Picture("", "", "", None, rows, pd.DataFrame(), [run], 0, 0.0))[tuple(MODEL)]

    assert (state("teacher"), state("scratch")) == ("waiting", "running")
