"""How full the planner keeps a cluster: a real study in virtual time, nothing is trained."""

from __future__ import annotations

import random
import zlib
from functools import cache

from sweeps import published
from sweeps.engine.launch import SEGMENTS_PER_TUNER
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Run, Segment, keys
from sweeps.presets import preset
from sweeps.study import SCRATCH, Cell, Study
from tests.bench.compare import EXACT
from tests.sweeps.simulate import Timeline, Tuner, steps

DEVICES = 64
SLOTS = (32, 64, 256)
OFTEN = 1000
"""Segments of a Tuner where the cost of a new one is measured: a fifth of what the engine gives it."""
START_SECONDS = 15.0
"""What each segment takes before its first epoch."""
FACTORS = {
    "kd": 1.6, "fitnet": 1.8, "cc": 1.7, "rkd": 1.8, "crd": 3.0, "dkd": 1.6, "dist": 1.6, "ofa": 2.5, "pat": 5.0,
    "rsd": 1.7, "fbt": 3.0, "sokd": 3.0,
}  # fmt: skip
"""Seconds an epoch over scratch's, those of the last three estimated; PAT varies from 3 to 8 with the pair."""
MIXER_FACTOR = 2.8
TEACHERS = (
    *dict.fromkeys(teacher for teacher, _ in published.CIFAR100_PAIRS),
    "resnet50",
    "deit_small_patch16_224",
    "resnet34",
)
TOLERANCE = EXACT
"""In virtual time; the draws hang on run_ids, so that a change of these is a reason to record anew."""


class StudyOrder(Speeds):
    """Knows nothing and learns nothing: all work is alike, so that the study's order alone decides."""

    def note(self, key: Key, seconds: float, epochs: int) -> None:
        pass

    def seconds(self, key: Key) -> float:
        return 0.0


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


def drive(
    study: Study, devices: int, speeds: Speeds | None = None, tuner: Tuner | None = None
) -> tuple[Planner, Timeline]:
    """The whole study on that many devices."""
    planner, timeline = Planner(study, {}, speeds=speeds), Timeline(devices)
    for _ in steps(planner, timeline, clock, any_score, tuner=tuner):
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


def report() -> dict[str, float]:
    """Prints how long the papers' study takes in three orders, beside the shortest that any schedule could take."""
    study = preset("cifar100")
    _, unlimited = drive(study, 10**6)
    bound = lower_bound(unlimited, DEVICES)
    teachers = max(end for _, end, segment in unlimited.segments if segment.phase == "teacher")
    known = Speeds(probed={key: pace(key.cell) for key in keys(study)})
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
    ratios = {}
    for name, speeds in orders.items():
        _, timeline = drive(study, DEVICES, speeds)
        over, early, idle = timeline.makespan / bound, timeline.idle_share(0.9), timeline.idle_share()
        print(f"{name:26} {timeline.makespan / 3600:6.1f} h {over:10.3f} {early:24.1%} {idle:24.1%}")
        ratios |= {
            f"{name}/makespan over bound": over,
            f"{name}/idle until 9 of 10 parts are done": early,
            f"{name}/idle in all": idle,
        }
    return ratios | _rotation(study)


def rotation(study: Study, devices: int, limit: int) -> tuple[float, float, int]:
    """Hours with one Tuner, hours with a new one after every `limit` segments, and how many these were.

    The times are known beforehand: what is learnt on the way changes with any delay, and the order with it.
    """
    probed = {key: pace(key.cell) for key in keys(study)}
    _, one = drive(study, devices, Speeds(probed=probed))
    _, several = drive(study, devices, Speeds(probed=probed), Tuner(limit))
    return one.makespan / 3600, several.makespan / 3600, len(several.segments) // limit


def _rotation(study: Study) -> dict[str, float]:
    print(f"\nslots   one Tuner   a new one after every {OFTEN:,} segments (the engine: {SEGMENTS_PER_TUNER:,})")
    ratios = {}
    for slots in SLOTS:
        one, several, count = rotation(study, slots, OFTEN)
        print(f"{slots:5} {one:9.1f} h {several:9.1f} h {several / one - 1:+8.2%}   {count} times")
        ratios[f"a new Tuner at {slots} slots/makespan over one Tuner"] = several / one
    return ratios
