"""Ten thousand runs on a real Ray Tune without training: what the driver costs per segment, and whether it grows.

    python -m tests.bench scale

Runs are replayed (`tests/sweeps/small.py`), so all time is Ray's, the driver's and the ledger's. Every 1,000 segments:
seconds a segment, the driver's resident memory, its time in the planner. Then a restart from the whole ledger, the
same study in this process, and the comparison of both ledgers.
"""

from __future__ import annotations

import gc
import io
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "sweeps"))

import small  # noqa: E402
from test_driver import lasting  # noqa: E402

import sweeps.engine.runs  # noqa: E402
from sweeps.engine.alone import run_here  # noqa: E402
from sweeps.engine.cluster import ray, ray_running  # noqa: E402
from sweeps.engine.driver import Driver  # noqa: E402
from sweeps.engine.launch import launch  # noqa: E402
from sweeps.planning.planner import Planner  # noqa: E402
from sweeps.planning.view import read_view  # noqa: E402
from sweeps.store import open_study  # noqa: E402
from sweeps.study import Search, Study  # noqa: E402
from tests.bench.compare import Tolerance  # noqa: E402

TEACHERS = tuple(f"resnet{size}" for size in ("18", "26", "34", "50", "101", "26d", "14t", "50d", "101d", "152"))
STUDENTS = tuple(f"vit_{kind}_patch16_224" for kind in ("tiny", "small", "base")) + (
    "mixer_s32_224", "mixer_s16_224", "resmlp_12_224", "gmlp_ti16_224", "mobilenetv2_100", "mobilenetv3_small_100",
    "efficientnet_b0",
)  # fmt: skip
METHODS = ("kd", "dkd", "dist", "rkd", "cc")
PER_CELL = 20
"""16 settings are searched, the best and the default are confirmed on two seeds each."""
EVERY = 1000
TOLERANCE = Tolerance(0.3)
"""Of eight notes that were published the driver's time was 7.1 to 8.9 ms a segment,
and once 11.2, on a busy machine."""


def study_of(runs: int) -> Study:
    """About so many runs: cells of 20 runs each, of ten teachers, ten students and five methods."""
    cells = max(1, runs // PER_CELL)
    pairs = [(teacher, student) for teacher in TEACHERS for student in STUDENTS][: -(-cells // len(METHODS))]
    return small.small_study(
        name="scale",
        teachers=dict.fromkeys(TEACHERS, small.RECIPE),
        students=dict.fromkeys(STUDENTS, replace(small.RECIPE, epochs=3)),
        pairs=tuple(pairs),
        methods=METHODS,
        search=Search(trials=16, wave=4, eta=2, rungs=(1 / 3, 1.0)),
        seeds=2,
        options={},
    )


class Note(NamedTuple):
    """Of `EVERY` segments: CPU seconds of this process, of it the driver's own, and memory after them in MB."""

    process: float
    driver: float
    resident: float


class Meter:
    """Counts segments, and the time that the driver spends on them beside Ray's."""

    def __init__(self) -> None:
        self.segments, self.notes = 0, list[Note]()
        self._last, self._process, self._driver = time.perf_counter(), time.process_time(), 0.0

    def timed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return step(*arguments, **named)
            finally:
                self._driver += time.thread_time() - start

        return measured

    def count(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            result = step(*arguments, **named)
            self.segments += 1
            if self.segments % EVERY == 0:
                self._note()
            return result

        return counted

    def growth(self) -> dict[str, float]:
        """Each column's median over the last third of the notes, over that of the first third."""
        third = max(1, len(self.notes) // 3)
        early, late = (zip(*some, strict=True) for some in (self.notes[:third], self.notes[-third:]))
        pairs = zip(Note._fields, early, late, strict=True)
        return {f"{name}, last third over first": median(end) / median(start) for name, start, end in pairs}

    def _note(self) -> None:
        gc.collect()
        each = 1e3 * (time.perf_counter() - self._last) / EVERY
        note = Note(time.process_time() - self._process, self._driver, resident())
        print(f"{self.segments:8,}  {each:8.1f}  {1e3 * note.driver / EVERY:8.2f}  {note.resident:8.0f}", flush=True)
        self.notes.append(note)
        self._last, self._process, self._driver = time.perf_counter(), time.process_time(), 0.0


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def report(runs: int = 10_000) -> dict[str, float]:
    place = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        return _report(study_of(runs), place)
    finally:
        shutil.rmtree(place)


def _report(study: Study, place: Path) -> dict[str, float]:
    ray.cloudpickle.register_pickle_by_value(small)
    os.environ.setdefault("RAY_worker_niceness", "0")
    folder, grown = open_study(place / "ray", study)
    driver = Driver(folder, grown, study, place, stream=io.StringIO())
    meter = Meter()
    driver.next_job, driver.lost = meter.timed(driver.next_job), meter.timed(driver.lost)  # type: ignore[method-assign]
    driver.ended = meter.count(meter.timed(driver.ended))  # type: ignore[method-assign]
    _, total = driver.planner.counts()
    print(f"{total:,} runs over {len(study.cells())} cells on Ray Tune, two devices")
    print("segments  ms each   driver ms  resident MB")
    start = time.perf_counter()
    with ray_running("local"):
        launch(driver, work=small.replay())
    print(f"{meter.segments:,} segments in {time.perf_counter() - start:.0f} s, complete: {driver.planner.complete}")
    start = time.perf_counter()
    again = Driver(folder, grown, study, place, stream=io.StringIO())
    print(f"restart from the whole ledger: {time.perf_counter() - start:.1f} s, work left: {again.kind() is not None}")
    start = time.perf_counter()
    Planner(grown, read_view(folder))
    print(f"of it planner and view: {time.perf_counter() - start:.1f} s")
    sweeps.engine.runs.train = small.fake_train  # type: ignore[assignment]
    other, grown = open_study(place / "here", study)
    here = Driver(other, grown, study, place, stream=io.StringIO())
    start = time.perf_counter()
    run_here(here)
    print(f"the same study in this process: {time.perf_counter() - start:.0f} s")
    differ = [not left.equals(right) for left, right in zip(lasting(folder), lasting(other), strict=True)]
    print(f"both ledgers equal but for times and hosts: {not any(differ)}")
    return meter.growth() | {"tables that differ, over all": sum(differ) / len(differ)}
