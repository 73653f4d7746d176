"""A sick device that fails every run within seconds and is then free for the next: what it costs a study.

The real planner and the engine's own judgement in virtual time, with what the driver and a process do between them.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
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
    """What came of a study: `failures` at each place, of how many `processes`, how often each was `closed`, the runs
    that failed for good."""

    planner: Planner
    failures: list[tuple[Place, str]] = field(default_factory=list)
    processes: set[str] = field(default_factory=set)
    closed: list[Place] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    makespan: float = 0.0


def cluster(hosts: int = HOSTS, gpus: int = GPUS) -> list[Place]:
    return [Place(f"node{host}", f"GPU {gpu}") for host in range(hosts) for gpu in range(gpus)]


def drive(
    study: Study,
    places: Sequence[Place],
    sick: Collection[Place] = (),
    buggy: Collection[str] = (),
    together: int = 1,
    restart_every: float = math.inf,
) -> Story:
    """The study to its end on one slot a place, `together` runs at most in a process. A free sick place always gets
    its segments first; runs of the methods `buggy` fail wherever they are, and their process with them. Every so many
    seconds the driver is stopped, what is in flight pauses after its epoch, and another one goes on."""
    planner, numbers = Planner(study, {}), itertools.count()
    health = Health(len({place.host for place in places}), len(places))
    story, now, stop = Story(planner), 0.0, restart_every
    free = sorted(places, key=lambda place: place not in sick, reverse=True)
    heap: list[tuple[float, int, float, Place, list[Segment]]] = []
    while True:
        while free and (kind := planner.kind()) is not None:
            place, first = free.pop(), planner.take(kind)
            assert first is not None
            group = [first, *planner.take_with(first, len(places), together)]
            closed = health.closed(now)
            left = [(*known, seconds) for known, seconds in closed.items()]
            waits = [sits_out(place, health.avoided(segment.run_id), left) for segment in group]
            if (seconds := max((wait for wait in waits if wait is not None), default=None)) is not None:
                _declined(planner, health, group, is_among(place, closed))
                heapq.heappush(heap, (now + seconds, next(numbers), now, place, []))
                continue
            bad = place in sick or any(segment.cell.method in buggy for segment in group)
            done = planner.view.get(first.run_id, NOT_STARTED).epochs
            end = now + (SICK_SECONDS if bad else sum(clock(segment, done) for segment in group))
            heapq.heappush(heap, (end, next(numbers), now, place, group))
        if not any(group for *_, group in heap) and planner.kind() is None:
            story.makespan = now
            return story
        if heap[0][0] > stop:
            for end, _, start, place, group in heap:
                for segment in group if place not in sick else ():
                    _pause(planner, segment, (stop - start) / (end - start))
            now, stop, heap, free = stop, stop + restart_every, [], list(places)
            planner = story.planner = Planner(study, planner.view)
            kept, health = json.dumps(health.kept()), Health(health.hosts, health.devices)
            health.recall(json.loads(kept))
            continue
        now, number, _, place, group = heapq.heappop(heap)
        free.append(place)
        free.sort(key=lambda place: place not in sick, reverse=True)
        if group and (place in sick or any(segment.cell.method in buggy for segment in group)):
            failure = ECC if place in sick else Failure("no such key", "bug", True)
            for segment in group:
                _fail(story, health, segment, place, now, failure, str(number))
        elif group:
            health.well(place)
            planner.take_back()
            for segment in group:
                planner.update(segment.run_id, fake_run(segment.run, segment.until, any_score, epochs=planner.rungs))
        for given_up in planner.prune():
            state = fake_run(given_up.run, planner.view[given_up.run_id].epochs, any_score, "pruned", planner.rungs)
            planner.update(given_up.run_id, state)


def _pause(planner: Planner, segment: Segment, share: float) -> None:
    """A segment ends with the epoch that it is in, a share of it being done."""
    done = planner.view.get(segment.run_id, NOT_STARTED).epochs
    epochs = done + math.ceil((segment.until - done) * share)
    planner.update(segment.run_id, fake_run(segment.run, epochs, any_score, epochs=planner.rungs))


def _declined(planner: Planner, health: Health, group: Sequence[Segment], closed: bool) -> None:
    for segment in group:
        if closed:
            planner.release(segment.run_id)
        else:
            health.declined(segment.run_id)
            planner.set_aside(segment.run_id)


def _fail(
    story: Story, health: Health, segment: Segment, place: Place, now: float, failure: Failure, process: str
) -> None:
    planner, before = story.planner, set(health.closed(now))
    done = planner.view.get(segment.run_id, NOT_STARTED).epochs
    planner.alone.add(segment.run_id)
    verdict = health.lost(segment.run_id, failure, place, True, done, now, process)
    story.failures.append((place, segment.run_id))
    story.processes.add(process)
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
