"""What a study will cost in device-hours and days, from what is left of it and what its runs are expected to take.

A device is a GPU, or on a machine without one the CPUs of one worker. A run of N workers takes N of them, a run that
shares a GPU its share of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

from analysis.schema import PHASES
from sweeps.costs.disk import Disk, disk
from sweeps.costs.expect import MARGIN, Expected
from sweeps.costs.probe_file import Probe
from sweeps.engine.limits import ASK_ABOVE
from sweeps.planning.chain import chain_seconds
from sweeps.planning.planner import Planner
from sweeps.planning.units import ENDED, Key
from sweeps.planning.view import NOT_STARTED
from sweeps.study import Cell

CONTEXT_BYTES = 700 * 2**20
"""What a process takes of a GPU beside what torch's allocator reserves: the CUDA context and the libraries' own."""
MOST_RUNS_A_GPU = 8


@dataclass(frozen=True)
class Phase:
    """One phase of a study: its runs, and how many have ended; its epochs before pruning; the rest in device-hours.

    `before`: every run at its full length; `expected`: with the halving of the search, as planned or as it went;
    `done` and `left` make up the latter.
    """

    name: str
    runs: int = 0
    ended: int = 0
    epochs: int = 0
    before: float = 0.0
    done: float = 0.0
    left: float = 0.0

    @property
    def expected(self) -> float:
        return self.done + self.left

    def plus(self, other: Phase, name: str = "") -> Phase:
        """The sum, under this name or another."""
        mine, theirs = asdict(self), asdict(other)
        return Phase(name or self.name, **{key: mine[key] + theirs[key] for key in mine if key != "name"})


@dataclass(frozen=True)
class Forecast:
    """What is left of a study. `chain_seconds`: the longest row of runs that wait for each other. `slots`: runs of one
    worker at a time (0: unknown), each of which takes `share` of a device. `disk` is None where the size of a run's
    files is unknown. `sources`: units by where their times come from. `unfit`: runs that the memory does not hold.
    """

    phases: tuple[Phase, ...]
    chain_seconds: float
    slots: int
    share: float
    disk: Disk | None
    sources: Mapping[str, int]
    unfit: tuple[Probe, ...] = ()

    @property
    def total(self) -> Phase:
        """All phases together."""
        total = Phase("total")
        for phase in self.phases:
            total = total.plus(phase)
        return total

    def wall_seconds(self, slots: int = 0) -> tuple[float, float]:
        """The least and the most time that what is left takes, on the cluster or on so many slots.

        At least the longest chain, and the work shared evenly; at most one after the other, since no slot idles while
        anything is ready (Graham 1966).
        """
        slots = slots or self.slots
        shared = self.total.left * 3600 / (slots * self.share)
        return max(shared, self.chain_seconds), shared + self.chain_seconds * (1 - 1 / slots)


def needs_confirmation(hours: float) -> bool:
    """Whether so many device-hours are only spent after a question."""
    return hours > ASK_ABOVE


def gpu_share(probes: Iterable[Probe | None], memory_of_one_gpu_bytes: int, cpus_per_gpu: float, threads: int) -> float:
    """The share of one GPU for every one-worker run - 1, 1/2, 1/3 … - so that the largest need fits, with a margin.

    1 where a need is unknown (None: there is no probe) or does not fit alone; never more runs than the CPUs of a GPU
    can serve.
    """
    needs = [
        one.peak_bytes if one is not None and one.fits else None
        for one in probes
        if one is None or one.asked_workers == 1
    ]
    known = [need for need in needs if need is not None]
    if not known or len(known) < len(needs):
        return 1.0
    by_memory = int(memory_of_one_gpu_bytes / (max(known) * MARGIN + CONTEXT_BYTES))
    return 1.0 / max(1, min(by_memory, int(cpus_per_gpu // threads), MOST_RUNS_A_GPU))


def forecast(planner: Planner, expected: Expected, slots: int = 0, share: float = 1.0) -> Forecast:
    """What the planner's part of the study costs; `slots` and `share` as in Forecast."""
    speeds = expected.speeds
    phases = {name: Phase(name) for name in PHASES}
    for key in planner.units:
        rate = speeds.seconds(key) * device_share(planner, key.cell, share) / 3600
        for part in _parts(planner, key, rate):
            phases[part.name] = phases[part.name].plus(part)
    return Forecast(
        phases=tuple(phase for name, phase in phases.items() if phase.runs or name not in ("pretrain", "exchange")),
        chain_seconds=chain_seconds(planner, speeds),
        slots=slots,
        share=share,
        disk=disk(planner, expected.sizes, expected.fetched_bytes, slots),
        sources=Counter(speeds.source(key) for key in planner.units),
        unfit=tuple(one for one in expected.probes.values() if not one.fits),
    )


def device_share(planner: Planner, cell: Cell, share: float) -> float:
    """How many devices a run of a cell takes, where a run of one worker takes `share` of one."""
    workers = planner.scope.workers_of(cell.method)
    return share if workers == 1 else workers


def _parts(planner: Planner, key: Key, rate: float) -> list[Phase]:
    """The phases of a unit; `rate`: device-hours of an epoch."""
    unit = planner.counted(key)
    full = planner.runs.awaited(key).config.recipe.epochs if key.awaited else planner.scope.epochs(key.cell)

    def part(name: str, runs: Collection[str], unknown: int, left: int) -> Phase:
        states = [planner.view.get(run_id, NOT_STARTED) for run_id in runs]
        ended, done = sum(state.status in ENDED for state in states), sum(state.epochs for state in states)
        count = len(states) + unknown
        return Phase(name, count, ended, count * full, count * full * rate, done * rate, left * rate)

    if key.awaited or not planner.scope.searches(key.cell.method):
        return [part("confirm" if key.kind == "cell" else key.kind, unit.runs, unit.unknown_runs, unit.left)]

    def left(runs: Collection[str], unknown: int) -> int:
        states = (planner.view.get(run_id, NOT_STARTED) for run_id in runs)
        return unknown * full + sum(full - state.epochs for state in states if state.status not in ENDED)

    confirmed, tried = unit.confirmations(), unit.exchanges()
    ends = {"confirm" if key.kind == "cell" else key.kind: confirmed, "exchange": tried}
    searched, undrawn = unit.runs.keys() - confirmed[0] - tried[0], unit.unknown_runs - confirmed[1] - tried[1]
    rest = unit.left - sum(left(*found) for found in ends.values())
    return [
        part("search", searched, undrawn, rest),
        *(part(name, *found, left(*found)) for name, found in ends.items()),
    ]
