"""Expected seconds an epoch: own runs before others', runs before probes, probes before FLOPs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key
from sweeps.study import Cell

SWIN, MIXER = Key("cell", Cell("swin", "resnet", "pat")), Key("cell", Cell("mixer", "resnet", "pat"))
KD, SCRATCH = Key("cell", Cell("swin", "resnet", "kd")), Key("scratch", Cell("", "resnet", "scratch"))


def test_nothing_known_is_one_second() -> None:
    speeds = Speeds()
    assert (speeds.seconds(SWIN), speeds.source(SWIN)) == (1.0, "none")


def test_own_runs_are_weighted_by_their_epochs() -> None:
    speeds = Speeds(probed={SWIN: 50.0}, counted={SWIN: 70.0})
    speeds.note(SWIN, 10.0, 1)
    speeds.note(SWIN, 60.0, 9)
    assert (speeds.seconds(SWIN), speeds.source(SWIN)) == (7.0, "ledger")


@pytest.mark.parametrize(("seconds", "epochs"), [(0.0, 3), (5.0, 0), (float("nan"), 2), (float("inf"), 2)])
def test_runs_that_say_nothing_are_left_out(seconds: float, epochs: int) -> None:
    speeds = Speeds(probed={SWIN: 2.0})
    speeds.note(SWIN, seconds, epochs)
    assert (speeds.seconds(SWIN), speeds.source(SWIN)) == (2.0, "probe")


def test_the_same_student_and_method_with_another_teacher_comes_next() -> None:
    speeds = Speeds()
    speeds.note(SWIN, 30.0, 10)
    assert (speeds.seconds(MIXER), speeds.source(MIXER)) == (3.0, "ledger")


@pytest.mark.parametrize("kind", ["probed", "counted"])
def test_another_teacher_is_taken_in_proportion_to_what_was_expected(kind: str) -> None:
    speeds = Speeds(**{kind: {SWIN: 2.0, MIXER: 6.0}})
    speeds.note(SWIN, 30.0, 10)  # half as slow again as expected
    assert speeds.seconds(MIXER) == pytest.approx(9.0)


def test_a_probe_comes_before_flops() -> None:
    speeds = Speeds(probed={KD: 4.0}, counted={KD: 5.0})
    assert (speeds.seconds(KD), speeds.source(KD)) == (4.0, "probe")


def test_flops_are_taken_at_the_throughput_that_was_reached() -> None:
    speeds = Speeds(counted={SCRATCH: 1.0, KD: 2.0, SWIN: 4.0})
    assert (speeds.seconds(SWIN), speeds.source(SWIN)) == (4.0, "flops")
    speeds.note(SCRATCH, 30.0, 10)
    assert (speeds.seconds(SWIN), speeds.source(SWIN)) == (12.0, "flops")
    speeds = Speeds(counted={SCRATCH: 0.5, SWIN: 4.0})
    speeds.note(SCRATCH, 30.0, 10)
    assert speeds.seconds(SWIN) == 24.0, "3 s where half a second was expected"


def test_a_cell_of_which_nothing_is_known_takes_as_long_as_the_others() -> None:
    speeds = Speeds()
    speeds.note(SCRATCH, 30.0, 10)
    assert (speeds.seconds(KD), speeds.source(KD)) == (3.0, "ledger")


def test_importing_it_brings_no_torch() -> None:
    code = "import sys, sweeps.planning.speeds; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
