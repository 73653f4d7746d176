"""How full the planner keeps a cluster, and what it costs itself: real studies in virtual time, nothing is trained."""

from __future__ import annotations

import gc
import random
import statistics
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

from sweeps import published
from sweeps.costs.speeds import Speeds
from sweeps.planning.planner import Planner
from sweeps.planning.search import draw_wave
from sweeps.planning.units import Run, Segment
from sweeps.presets import preset
from sweeps.study import SCRATCH, Cell, Study
from tests.sweeps.simulate import Timeline, steps

DEVICES, SAMPLE = 64, 500
START_SECONDS = 15.0
"""What each segment takes before its first epoch."""
FACTORS = {"kd": 1.6, "fitnet": 1.8, "cc": 1.7, "rkd": 1.8, "crd": 3.0, "dkd": 1.6, "dist": 1.6, "ofa": 2.5, "pat": 5.0}
"""Seconds an epoch over scratch's; PAT varies from 3 to 8 with the pair."""
MIXER_FACTOR = 2.8
TEACHERS = (
    *dict.fromkeys(teacher for teacher, _ in published.CIFAR100_PAIRS),
    "resnet50",
    "deit_small_patch16_224",
    "resnet34",
)
STUDENTS = (
    *dict.fromkeys(student for _, student in published.CIFAR100_PAIRS),
    "resnet26d",
    "resnet14t",
    "efficientnet_b0",
)


class StudyOrder(Speeds):
    """Knows nothing and learns nothing: all work is alike, so that the study's order alone decides."""

    def note(self, cell: Cell, seconds: float, epochs: int) -> None:
        pass

    def seconds(self, cell: Cell) -> float:
        return 0.0


def report() -> None:
    _throughput()
    _scale()


@cache
def pace(cell: Cell) -> float:
    """Seconds of an epoch of a cell: log-normal around 30 s for students, 90 s for teachers, times a factor."""
    draw = random.Random("/".join(cell))
    student = random.Random(cell.student).lognormvariate(0, 0.4)
    if cell.method == SCRATCH:
        return (90.0 if cell.student in TEACHERS else 30.0) * student
    factor = FACTORS[cell.method] * draw.lognormvariate(0, 0.25)
    if cell.method == "pat":
        factor = min(8.0, max(3.0, factor))
    mixer = MIXER_FACTOR if cell.teacher.startswith("mixer") else 1.0
    return 30.0 * student * (1 + (factor - 1) * mixer)


def clock(segment: Segment, done: int) -> float:
    """The same for the same segment, whoever asks."""
    jitter = random.Random(f"{segment.run_id} {segment.until}").lognormvariate(0, 0.05)
    return START_SECONDS + pace(segment.cell) * (segment.until - done) * jitter


def any_score(run: Run, epoch: int) -> float:
    """Any fixed function of run and epoch."""
    return zlib.crc32(f"{run.run_id} {epoch}".encode()) % 10_000 / 100


def drive(study: Study, devices: int, speeds: Speeds | None = None) -> tuple[Planner, Timeline]:
    """The whole study on that many devices."""
    planner, timeline = Planner(study, {}, speeds=speeds), Timeline(devices)
    for _ in steps(planner, timeline, clock, any_score):
        pass
    assert planner.complete
    return planner, timeline


def lower_bound(unlimited: Timeline, devices: int) -> float:
    """No schedule is shorter: neither than the longest chain, nor than what is left of the work once it is there.

    `unlimited` is the study on as many devices as it can use: nobody does more work by any time t.
    """
    bound, done, now, active = unlimited.makespan, 0.0, 0.0, 0
    for moment, change in unlimited.edges():
        done, now = done + active * (moment - now), moment
        bound = max(bound, now + (unlimited.work - done) / devices)
        active += change
    return max(bound, unlimited.work / devices)


def _throughput() -> None:
    study = preset("cifar100")
    _, unlimited = drive(study, 10**6)
    bound = lower_bound(unlimited, DEVICES)
    teachers = max(end for _, end, segment in unlimited.segments if segment.phase == "teacher")
    known = Speeds(probed={cell: pace(cell) for cell in _cells(study)})
    print(
        f"study {study.name}, {len(study.pairs)} pairs, {len(study.methods) + 1} methods, {DEVICES} devices: "
        f"{len(unlimited.segments):,} segments, {unlimited.work / 3600:,.0f} device-hours"
    )
    print(
        f"no schedule is shorter than {bound / 3600:.1f} h: the longest chain takes {unlimited.makespan / 3600:.1f} h, "
        f"the work {unlimited.work / DEVICES / 3600:.1f} h; every teacher is there after {teachers / 3600:.1f} h"
    )
    print("order                      makespan   over bound   idle until 9/10 of the work is done   idle in all")
    orders = {"longest, probed": known, "longest, learnt on the way": Speeds(), "that of the study": StudyOrder()}
    for name, speeds in orders.items():
        _, timeline = drive(study, DEVICES, speeds)
        print(
            f"{name:26} {timeline.makespan / 3600:6.1f} h {timeline.makespan / bound:10.3f} "
            f"{timeline.idle_share(0.9):24.1%} {timeline.idle_share():24.1%}"
        )


def _cells(study: Study) -> list[Cell]:
    names = (*study.used_teachers(), *study.used_students())
    return [*study.cells(), *(Cell("", name, SCRATCH) for name in names)]


def large_study() -> Study:
    """56 pairs, nine methods beside scratch, two waves of search: up to 20 runs a cell."""
    recipe = published.CIFAR100_CNN
    return replace(
        preset("cifar100"),
        name="large",
        teachers=dict.fromkeys(TEACHERS, recipe),
        students=dict.fromkeys(STUDENTS, recipe),
        pairs=tuple((teacher, student) for student in STUDENTS for teacher in TEACHERS),
        search=replace(preset("cifar100").search, trials=16),
        seeds=2,
        initial={},
        corrections={},
    )


def _scale() -> None:
    """504 cells: time per segment as the ledger grows, memory, and whether timing decides anything.

    A segment costs what its own cell has: more in the second wave than in the first, as much in 126 cells as in 504.
    """
    study = large_study()
    part = replace(study, pairs=study.pairs[: len(study.pairs) // 4])
    print("random run times; CPU time of planner and simulator a segment, drawing of waves apart")
    ends = []
    for grid, devices in ((part, 1), (study, 1), (study, 7)):
        planner, drawing = Planner(grid, {}), list[float]()
        spent = list(_seconds_each(planner, devices, drawing))
        first, last = (1e6 * statistics.fmean(some) for some in (spent[: len(spent) // 5], spent[-len(spent) // 5 :]))
        print(
            f"{len(grid.cells())} cells, {devices} devices: {planner.counts()[0]:,} runs, {len(spent):,} segments, "
            f"{first:.0f} us in the first fifth, {last:.0f} us in the last; "
            f"{1e3 * statistics.fmean(drawing):.0f} ms a wave"
        )
        ends.append((planner.view, planner.rows()))
    ends = ends[1:]
    planner, sizes = _sizes(study)
    ends.append((planner.view, planner.rows()))
    print(f"the same runs, scores and rows on 1, 7 and {DEVICES} devices: {all(end == ends[0] for end in ends)}")
    growth = (sizes[-1] - sizes[len(sizes) // 5]) / (len(sizes) * 4 / 5) * 1000 / SAMPLE
    print(
        f"memory of planner and view: {sizes[0] / 2**20:.0f} MB at the start, {sizes[-1] / 2**20:.0f} MB at the end, "
        f"{growth / 2**20:.2f} MB per 1,000 segments after the first fifth"
    )
    started = time.process_time()
    again = Planner(study, ends[0][0])
    print(f"a planner of the finished study starts in {time.process_time() - started:.1f} s: complete {again.complete}")


def _seconds_each(planner: Planner, devices: int, drawing: list[float]) -> Iterator[float]:
    """What each segment costs here without the drawing of waves, whose times go to `drawing`."""

    def timed(*arguments: Any) -> list[dict[str, Any]]:
        started = time.process_time()
        drawn = draw_wave(*arguments)
        drawing.append(time.process_time() - started)
        return drawn

    rng, before, known = random.Random(devices), time.process_time(), 0
    with mock.patch("sweeps.planning.planner.draw_wave", timed):
        for _ in steps(planner, Timeline(devices), lambda segment, done: rng.lognormvariate(0, 1), any_score):
            now = time.process_time()
            yield now - before - sum(drawing[known:])
            before, known = now, len(drawing)


def _sizes(study: Study) -> tuple[Planner, list[float]]:
    """Bytes held by Python objects at the start and after every so many segments."""
    tracemalloc.start()
    planner, timeline = Planner(study, {}), Timeline(DEVICES)
    sizes = [tracemalloc.get_traced_memory()[0]]
    for number, _ in enumerate(steps(planner, timeline, clock, any_score), start=1):
        if number % SAMPLE == 0:
            timeline.segments.clear()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return planner, sizes
