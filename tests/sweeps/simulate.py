"""A study on a simulated cluster in virtual time: the real planner, runs that are not trained, no Ray."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from sweeps.planning.planner import Planner
from sweeps.planning.units import Run, Segment
from sweeps.planning.view import NOT_STARTED, RunState

Score = Callable[[Run, int], float]
"""Validation top-1 after so many epochs."""
Fate = Callable[[Run], str]
"""How a run ends that is to end badly; else ""."""
Clock = Callable[[Segment, int], float]
"""Seconds that a segment takes, given the epochs that its run has done before."""
Flying = tuple[float, int, float, Segment]
"""A segment in flight: its end, its number, its start."""


def fake_run(run: Run, until: int, score: Score, status: str = "", epochs: Iterable[int] | None = None) -> RunState:
    """The state of a run trained on to `until`, or ended there as `status`; with its scores after `epochs` (all)."""
    told = range(1, until + 1) if epochs is None else [epoch for epoch in epochs if epoch <= until]
    scores = {epoch: score(run, epoch) for epoch in told}
    ended = status or ("finished" if until == run.config.recipe.epochs else "")
    return RunState(ended, until, {"raw": scores, "ema": scores}, "ab" * 32, "made to fail" if status else "")


@dataclass
class Timeline:
    """What a simulated cluster of `devices` did: start and end of every segment, in seconds, in order of their ends."""

    devices: int
    segments: list[tuple[float, float, Segment]] = field(default_factory=list)

    @property
    def makespan(self) -> float:
        return max((end for _, end, _ in self.segments), default=0.0)

    @property
    def work(self) -> float:
        """Device-seconds spent."""
        return sum(end - start for start, end, _ in self.segments)

    def idle_share(self, work_share: float = 1.0) -> float:
        """Share of device time idle until that share of all work is done."""
        goal, done, now, active = work_share * self.work, 0.0, 0.0, 0
        for moment, change in self.edges():
            if active and done + active * (moment - now) >= goal:
                return 1 - goal / (self.devices * (now + (goal - done) / active))
            done += active * (moment - now)
            now, active = moment, active + change
        return 1 - done / (self.devices * now)

    def edges(self) -> list[tuple[float, int]]:
        """When a segment starts (+1) or ends (-1), in order."""
        return sorted([(start, 1) for start, _, _ in self.segments] + [(end, -1) for _, end, _ in self.segments])


@dataclass
class Tuner:
    """Hands out `limit` segments; then what is in flight pauses after its epoch, and the next Tuner begins `seconds`
    later. `given`: segments so far."""

    limit: float = math.inf
    seconds: float = 5.0
    given: int = 0


def steps(
    planner: Planner,
    timeline: Timeline,
    clock: Clock,
    score: Score,
    fate: Fate = lambda run: "",
    tuner: Tuner | None = None,
) -> Iterator[Segment]:
    """Drive a study to its end; gives each segment that has ended, once the planner knows of it."""
    now, numbers, tuner = 0.0, itertools.count(), tuner or Tuner()
    heap: list[Flying] = []
    spent: Counter[str] = Counter()
    while True:
        while tuner.given < tuner.limit and len(heap) < timeline.devices and (kind := planner.kind()) is not None:
            segment = planner.take(kind)
            assert segment is not None
            tuner.given += 1
            done = planner.view.get(segment.run_id, NOT_STARTED).epochs
            heapq.heappush(heap, (now + clock(segment, done), next(numbers), now, segment))
        if not heap:
            if planner.kind() is None:
                return
            now, tuner.given = now + tuner.seconds, 0
            continue
        if tuner.given == tuner.limit and len(heap) < timeline.devices:
            heap = [_paused(flying, now, planner) for flying in heap]
            heapq.heapify(heap)
        now, _, start, segment = heapq.heappop(heap)
        timeline.segments.append((start, now, segment))
        state = fake_run(segment.run, segment.until, score, fate(segment.run), planner.rungs)
        spent[segment.run_id] += now - start
        if state.status:
            planner.speeds.note(segment.key, spent[segment.run_id], state.epochs)
        planner.update(segment.run_id, state)
        for given_up in planner.prune():
            state = planner.view[given_up.run_id]
            planner.speeds.note(given_up.key, spent[given_up.run_id], state.epochs)
            planner.update(given_up.run_id, replace(state, status="pruned"))
        yield segment


def _paused(flying: Flying, now: float, planner: Planner) -> Flying:
    """A segment that ends with the epoch in which it is; its epochs take the same time."""
    end, number, start, segment = flying
    done = planner.view.get(segment.run_id, NOT_STARTED).epochs
    epoch = (end - start) / (segment.until - done)
    more = max(1, math.ceil((now - start) / epoch))
    if done + more >= segment.until:
        return flying
    return start + more * epoch, number, start, replace(segment, until=done + more)
