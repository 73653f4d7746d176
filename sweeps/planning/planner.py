"""The planner: what is handed out of a plan, as a pure function of the study and of the picture of its ledger.

What is most urgent goes first (runs that others wait for, as teachers; baselines and anchors; then the longest expected
work; what cells try of each other), which changes when a run is done, never whether.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.planning.anchors import is_anchor
from sweeps.planning.planned import Planned
from sweeps.planning.search import Waves
from sweeps.planning.speeds import Speeds
from sweeps.planning.together import beside, group_size
from sweeps.planning.units import Key, Row, Segment
from sweeps.planning.urgency import Queue, Urgency
from sweeps.planning.view import RunState, View
from sweeps.study import Study

FIRST_RESORT = 16
"""After so many updates all units are ordered anew by what is known of their speeds, then after twice as many."""


@dataclass(frozen=True)
class Plan:
    """What can run now, what is to be recorded as pruned, the matrix so far, and what stands in the way."""

    ready: list[Segment]
    prune: list[Segment]
    rows: list[Row]
    complete: bool
    problems: list[str]


def plan(study: Study, view: View, unsynced: frozenset[str] = frozenset()) -> Plan:
    """The whole plan at once, without any memory. `unsynced`: models whose BatchNorm the workers cannot share."""
    planner = Planner(study, view, unsynced)
    return Plan(planner.ready(), list(planner.prune()), planner.rows(), planner.complete, planner.problems)


class Planner(Planned):
    """The same plan kept up to date, and who trains what of it.

    `speeds` tell how long an epoch of a unit takes; they are read whenever a unit is looked at, and for all units now
    and then. `flying` are the segments that have been handed out, by run_id, `aside` among them; `alone`: runs that are
    to be trained beside no other.
    """

    def __init__(
        self,
        study: Study,
        view: View,
        unsynced: frozenset[str] = frozenset(),
        asked: Study | None = None,
        speeds: Speeds | None = None,
        waves: Waves | None = None,
    ) -> None:
        self.speeds = speeds or Speeds()
        self.flying: dict[str, Segment] = {}
        self.aside: set[str] = set()
        self.alone: set[str] = set()
        self._queues: dict[int, Queue[Key]] = {}
        self._updates, self._resort_at = 0, FIRST_RESORT
        super().__init__(study, view, unsynced, asked, waves)
        self.resort()

    def update(self, run_id: str, state: RunState) -> None:
        """Take note of how far a run is now; it counts as handed out no longer."""
        self.flying.pop(run_id, None)
        super().update(run_id, state)
        self._updates += 1
        if self._updates >= self._resort_at:
            self._resort_at *= 2
            self.resort()

    def resort(self) -> None:
        """Order everything anew by what the speeds say now."""
        for key in self._order:
            self._line_up(key)

    def take(self, workers: int) -> Segment | None:
        """Hand out the most urgent segment for that many workers; None where there is none."""
        self.kind()
        first = self._queue(workers).first()
        if first is None:
            return None
        key = first[1]
        return self._hand_out(min(self._free(key), key=lambda segment: self._urgency(key, segment)))

    def take_on(self, run_id: str) -> Segment | None:
        """Hand out the segment with which a run goes on at once, urgent or not; None where it does not."""
        free = (segment for key in self._owners.get(run_id, ()) for segment in self._free(key))
        return next((self._hand_out(segment) for segment in free if segment.run_id == run_id), None)

    def take_with(self, first: Segment, slots: int, most: int) -> list[Segment]:
        """Hand out, with a segment that has been, those that are to be trained beside it on one of `slots` devices, at
        most `most` with it: first those of its teacher, then the most urgent."""
        if most == 1 or slots < 1 or first.run_id in self.alone or self.scope.workers_of(first.cell.method) > 1:
            return []
        keys = [key for key in self._order if self.scope.workers_of(key.cell.method) == 1]
        free = {segment.run_id: (key, segment) for key in keys for segment in self._free(key)}
        size = group_size(len(free) + 1, slots, most)
        mates = [
            (mate.config.teacher != first.config.teacher, self._urgency(key, mate), mate.run_id)
            for key, mate in free.values()
            if mate.run_id not in self.alone and beside(first, mate, self.view)
        ]
        return [self._hand_out(free[run_id][1]) for *_, run_id in sorted(mates)[: size - 1]]

    def release(self, run_id: str) -> None:
        """A segment that was handed out is over or was lost; if the plan still wants it, it may be handed out again."""
        segment = self.flying.pop(run_id, None)
        for key in self._owners[run_id] if segment is not None else ():
            self._line_up(key)

    def set_aside(self, run_id: str) -> None:
        """Hand a segment out to nobody until `take_back`, or until nothing else is in flight."""
        self.aside.add(run_id)

    def take_back(self) -> None:
        """What was set aside may be handed out again."""
        while self.aside:
            self.release(self.aside.pop())

    def kind(self) -> int | None:
        """How many workers the most urgent segment needs; None if there is none."""
        if len(self.aside) == len(self.flying):
            self.take_back()
        firsts = [(first, workers) for workers, queue in self._queues.items() if (first := queue.first()) is not None]
        return min(firsts)[1] if firsts else None

    def ready(self) -> list[Segment]:
        """Every segment that can run now, handed out or not, the most urgent first."""
        found = [(self._urgency(key, segment), segment) for key in self._order for segment in self.units[key].ready]
        urgent = [segment for _, segment in sorted(found, key=lambda item: item[0])]
        return list({segment.run_id: segment for segment in reversed(urgent)}.values())[::-1]

    def _queue(self, workers: int) -> Queue[Key]:
        return self._queues.setdefault(workers, Queue())

    def _changed(self, key: Key) -> None:
        self._line_up(key)

    def _line_up(self, key: Key) -> None:
        """Give a unit the place of its most urgent segment that is not handed out."""
        most = min((self._urgency(key, segment) for segment in self._free(key)), default=None)
        self._queue(self.scope.workers_of(key.cell.method)).put(key, most)

    def _hand_out(self, segment: Segment) -> Segment:
        self.flying[segment.run_id] = segment
        for key in self._owners[segment.run_id]:
            self._line_up(key)
        return segment

    def _free(self, key: Key) -> list[Segment]:
        return [segment for segment in self.units[key].ready if segment.run_id not in self.flying]

    def _urgency(self, key: Key, segment: Segment) -> Urgency:
        """Runs that others wait for first, then baselines, so that gains are shown early, and anchors; then the longest
        chain of work that the segment begins; settings of other cells last."""
        seconds = self.speeds.seconds(key) * segment.chain
        if key.awaited:
            anchored, after = self._behind(key)
            seconds += after
            rank = 0 if anchored else 1
        else:
            first = segment.phase == "search" and self.units[key].outcome is None and is_anchor(self.scope, key.cell)
            rank = 2 if first or key.kind == "scratch" else 4 if segment.phase == "exchange" else 3
        return Urgency(rank, -seconds, self._order[key])

    def _behind(self, key: Key) -> tuple[bool, float]:
        """Whether an anchor waits for a run, and the seconds of the longest chain that does."""
        anchored, longest = False, 0.0
        for waiting in self._waiting[key]:
            further = self._behind(waiting) if waiting.awaited else (is_anchor(self.scope, waiting.cell), 0.0)
            seconds = self.speeds.seconds(waiting) * self.units[waiting].longest + further[1]
            anchored, longest = anchored or further[0], max(longest, seconds)
        return anchored, longest
