"""A sick device that fails every run within seconds and is then free for the next: what it costs a study.

The real planner and the engine's own judgement in virtual time, with what the driver and a process do between them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sweeps.engine.health import Failure, Health, Place, is_among, sits_out
from sweeps.planning.planner import Planner
from sweeps.planning.units import Segment
from sweeps.planning.view import NOT_STARTED
from sweeps.presets import preset
from sweeps.study import Study
from tests.bench.compare import EXACT
from tests.bench.scheduling import any_score, clock
from tests.sweeps.simulate import fake_run

HOSTS, GPUS = 8, 8
SICK_SECONDS = 15.0
ECC = Failure("CUDA error: uncorrectable ECC error encountered", said=True)
TOLERANCE = EXACT


@dataclass
class Story:
    """What came of a study: `failures` at each place, how often each was `closed`, the runs that failed for good."""

    planner: Planner
    failures: list[tuple[Place, str]] = field(default_factory=list)
    closed: list[Place] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    makespan: float = 0.0


def cluster(hosts: int = HOSTS, gpus: int = GPUS) -> list[Place]:
    return [Place(f"node{host}", f"GPU {gpu}") for host in range(hosts) for gpu in range(gpus)]


def drive(study: Study, places: Sequence[Place], sick: Collection[Place] = (), buggy: Collection[str] = ()) -> Story:
    """The study to its end on one slot a place. A free sick place always gets its segment first; runs of the methods
    `buggy` fail wherever they are."""
    planner = Planner(study, {})
    health = Health(len({place.host for place in places}), len(places))
    story, now, numbers = Story(planner), 0.0, itertools.count()
    free = sorted(places, key=lambda place: place not in sick, reverse=True)
    heap: list[tuple[float, int, Place, Segment | None, bool]] = []
    while True:
        while free and (kind := planner.kind()) is not None:
            place, segment = free.pop(), planner.take(kind)
            assert segment is not None
            closed = health.closed(now)
            left = [(*known, seconds) for known, seconds in closed.items()]
            seconds = sits_out(place, health.avoided(segment.run_id), left)
            if seconds is not None:
                if is_among(place, closed):
                    planner.release(segment.run_id)
                else:
                    health.declined(segment.run_id)
                    planner.set_aside(segment.run_id)
                heapq.heappush(heap, (now + seconds, next(numbers), place, None, False))
                continue
            bad = place in sick or segment.cell.method in buggy
            done = planner.view.get(segment.run_id, NOT_STARTED).epochs
            end = now + (SICK_SECONDS if bad else clock(segment, done))
            heapq.heappush(heap, (end, next(numbers), place, segment, bad))
        if not any(segment for _, _, _, segment, _ in heap) and planner.kind() is None:
            story.makespan = now
            return story
        now, _, place, segment, bad = heapq.heappop(heap)
        free.append(place)
        free.sort(key=lambda place: place not in sick, reverse=True)
        if segment is not None and bad:
            _fail(story, health, segment, place, now, ECC if place in sick else Failure("no such key", "bug", True))
        elif segment is not None:
            health.well(place)
            planner.take_back()
            planner.update(segment.run_id, fake_run(segment.run, segment.until, any_score, epochs=planner.rungs))
        for given_up in planner.prune():
            state = fake_run(given_up.run, planner.view[given_up.run_id].epochs, any_score, "pruned", planner.rungs)
            planner.update(given_up.run_id, state)


def _fail(story: Story, health: Health, segment: Segment, place: Place, now: float, failure: Failure) -> None:
    planner, before = story.planner, set(health.closed(now))
    done = planner.view.get(segment.run_id, NOT_STARTED).epochs
    verdict = health.lost(segment.run_id, failure, place, True, done, now)
    story.failures.append((place, segment.run_id))
    story.closed += set(health.closed(now)) - before
    status = "failed" if verdict.final else ""
    story.failed += [segment.run_id] if verdict.final else []
    planner.update(segment.run_id, fake_run(segment.run, done, any_score, status, planner.rungs))


def report() -> dict[str, float]:
    """Prints what one and two sick devices of 64 cost the papers' study."""
    study, places, ratios = preset("cifar100"), cluster(), dict[str, float]()
    print(f"study {study.name}, {HOSTS} hosts of {GPUS} devices; a sick one fails everything in {SICK_SECONDS:.0f} s")
    print("sick devices   makespan   failures   runs failed   cells lost   closed   runs repeated each time")
    for count in (0, 1, 2):
        story = drive(study, places, places[:: GPUS + 1][:count])
        lost = len({row.cell for row in story.planner.rows() if row.status != "finished"})
        each = len(story.failures) / max(1, len(story.closed))
        print(
            f"{count:12} {story.makespan / 3600:8.1f} h {len(story.failures):10} {len(story.failed):13} {lost:12}"
            f" {len(story.closed):8} {each:10.2f}"
        )
        ratios |= {f"{count} sick/cells lost": lost, f"{count} sick/runs repeated for each time closed": each}
    return ratios
