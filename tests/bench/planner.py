"""What the planner costs itself, in CPU time and memory, as the ledger of a large study grows; nothing is trained."""

from __future__ import annotations

import gc
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

from sweeps import published
from sweeps.planning.planner import Planner
from sweeps.planning.search import draw_wave
from sweeps.presets import preset
from sweeps.study import Study
from tests.bench.compare import Tolerance
from tests.bench.scheduling import DEVICES, TEACHERS, any_score, clock
from tests.sweeps.simulate import Timeline, steps

SAMPLE = 500
STUDENTS = (
    *dict.fromkeys(student for _, student in published.CIFAR100_PAIRS),
    "resnet26d",
    "resnet14t",
    "efficientnet_b0",
)
TOLERANCE = Tolerance(0.2)
"""Runs on two busy cores differed by up to 6 %; memory and what changes the outcome do not depend on the machine."""


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


def report() -> dict[str, float]:
    """504 cells: time per segment as the ledger grows, memory, and whether timing decides anything.

    A segment costs what its own cell has: more in the second wave than in the first, as much in 126 cells as in 504.
    """
    study = large_study()
    part = replace(study, pairs=study.pairs[: len(study.pairs) // 4])
    print("random run times; CPU time of planner and simulator a segment, drawing of waves apart")
    ends, ratios = [], {}
    for grid, devices in ((part, 1), (study, 1), (study, 7)):
        planner, drawing = Planner(grid, {}), list[float]()
        with mock.patch("sweeps.planning.planned.draw_wave", _timed(drawing)):
            first, last, segments = _fifths(planner, Planner(grid, {}), devices, drawing)
        print(
            f"{len(grid.cells())} cells, {devices} devices: {planner.counts()[0]:,} runs, {segments:,} segments, "
            f"{1e6 * first:.0f} us in the first fifth, {1e6 * last:.0f} us in the last; "
            f"{1e3 * statistics.fmean(drawing):.0f} ms a wave"
        )
        ratios[f"{len(grid.cells())} cells, devices {devices}/last fifth over first"] = last / first
        ends.append((planner.view, planner.rows()))
    planner, sizes = _sizes(part)
    ends.append((planner.view, planner.rows()))
    differ = [ends[0] != ends[3], ends[1] != ends[2]]
    print(f"the same runs, scores and rows on 1 and {DEVICES} devices, on 1 and 7: {not any(differ)}")
    growth = (sizes[-1] - sizes[len(sizes) // 5]) / (len(sizes) * 4 / 5) * 1000 / SAMPLE
    print(
        f"memory of planner and view, {len(part.cells())} cells: {sizes[0] / 2**20:.0f} MB at the start, "
        f"{sizes[-1] / 2**20:.0f} MB at the end, {growth / 2**20:.2f} MB per 1,000 segments after the first fifth"
    )
    started = time.process_time()
    again = Planner(study, ends[1][0])
    print(f"a planner of the finished study starts in {time.process_time() - started:.1f} s: complete {again.complete}")
    ratios["memory at the end over the start"] = sizes[-1] / sizes[0]
    ratios["numbers of devices that change the outcome, over all"] = sum(differ) / len(differ)
    return ratios


def _timed(drawing: list[float]) -> Callable[..., Any]:
    """`draw_wave`, whose times go to `drawing`."""

    def timed(*arguments: Any) -> list[dict[str, Any]]:
        started = time.process_time()
        drawn = draw_wave(*arguments)
        drawing.append(time.process_time() - started)
        return drawn

    return timed


def _fifths(old: Planner, new: Planner, devices: int, drawing: list[float]) -> tuple[float, float, int]:
    """What a segment costs in the first fifth of a study, by `new`, and in the last, by `old`; how many `old` had.

    Both advance in turns there, so that a busy machine slows them alike, and what `old` holds is frozen: else the
    garbage collector would look through it in the time of either.
    """
    first, last = _seconds_each(new, devices, drawing), _seconds_each(old, devices, drawing)
    before = 0
    while old.counts()[0] < 0.8 * old.counts()[1]:
        next(last)
        before += 1
    gc.freeze()
    pairs = list(zip(last, first, strict=False))
    gc.unfreeze()
    late, early = (statistics.fmean(each) for each in zip(*pairs, strict=True))
    return early, late, before + len(pairs)


def _seconds_each(planner: Planner, devices: int, drawing: list[float]) -> Iterator[float]:
    """What each segment costs here without the drawing of waves."""
    rng = random.Random(devices)
    segments = steps(planner, Timeline(devices), lambda segment, done: rng.lognormvariate(0, 1), any_score)
    while True:
        started, known = time.process_time(), len(drawing)
        if next(segments, None) is None:
            return
        yield time.process_time() - started - sum(drawing[known:])


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
