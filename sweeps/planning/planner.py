"""The planner: what can run now, as a pure function of the study and of the picture of its ledger.

Nothing waits for what it does not need: a cell waits for its teacher, for the runs of its own wave, and with its
search for its anchors; cells may wait for each other's best settings, which hang on the own search alone. What is most
urgent goes first (runs that others wait for, as teachers; baselines and anchors; then the longest expected work; what
cells try of each other), which changes when a run is done, never whether.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sweeps.configs import default_options
from sweeps.planning.anchors import anchors_of, is_anchor
from sweeps.planning.cells import plan_cell, plan_needed, plan_pretraining, plan_scratch
from sweeps.planning.exchange import guests_of
from sweeps.planning.search import Result, Wave, Waves, draw_wave
from sweeps.planning.speeds import Speeds
from sweeps.planning.together import beside, group_size
from sweeps.planning.units import ENDED, Key, Row, Runs, Segment, Unit, keys
from sweeps.planning.urgency import Queue, Urgency
from sweeps.planning.view import RunState, View
from sweeps.pretraining import LONGER
from sweeps.study import SCRATCH, Cell, Study

FIRST_RESORT = 16
"""After so many updates all units are ordered anew by what is known of their speeds, then after twice as many."""


def rungs_of(study: Study) -> frozenset[int]:
    """Every number of epochs after which a decision of the study asks for a score."""
    lengths = {study.epochs(Cell("", student, method)) for student in study.students for method in (SCRATCH, LONGER)}
    return frozenset(rung for epochs in lengths for rung in study.search.epochs(epochs))


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


class Planner:
    """The same plan kept up to date: a run that has got on recomputes its own units, and those that waited for it.

    `asked` limits everything to the pairs, methods, seeds and trials of another study (a part of this one). `speeds`
    tell how long an epoch of a unit takes; they are read whenever a unit is looked at, and for all units now and then.
    `waves` are those on record; what the planner draws itself `drawn` gives, to be recorded before its runs begin.
    `flying` are the segments that have been handed out, by run_id, `aside` among them; `alone`: runs that are to be
    trained beside no other; `runs` are those of `scope`.
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
        self.study = study
        self.scope = _part(study, asked) if asked else study
        self.speeds = speeds or Speeds()
        self.rungs = rungs_of(study)
        self.view = {run_id: state.at(self.rungs) for run_id, state in view.items()}
        self.flying: dict[str, Segment] = {}
        self.aside: set[str] = set()
        self.alone: set[str] = set()
        self._unsynced = unsynced
        self.runs = Runs(self.scope, unsynced)
        self._order = {key: place for place, key in enumerate(keys(self.scope))}
        self._anchors = {
            key: [Key("cell", cell) for cell in anchors_of(self.scope, key.cell)] if key.kind == "cell" else []
            for key in self._order
        }
        self._guests = guests_of(self.scope)
        self._hosts: dict[Cell, list[Key]] = {}
        for host, guests in self._guests.items():
            for guest in guests:
                self._hosts.setdefault(guest, []).append(Key("cell", host))
        self._waiting: dict[Key, list[Key]] = {key: [] for key in self._order}
        for key, anchors in self._anchors.items():
            for needed in (*self.runs.needed(key), *anchors):
                self._waiting[needed].append(key)
        self._queues: dict[int, Queue[Key]] = {}
        self._owners: dict[str, tuple[Key, ...]] = {}
        self._counted: dict[Key, Unit] = {}
        self._tally = Counter(dict.fromkeys(("", *ENDED), 0))
        self._left: Counter[Key] = Counter()
        self._pruned: deque[Segment] = deque()
        self._pruning: set[str] = set()
        self.waves = dict(waves or {})
        self._drawn: deque[Wave] = deque()
        self._updates, self._resort_at = 0, FIRST_RESORT
        self.units: dict[Key, Unit] = {}
        for key in sorted(self._order, key=lambda key: len(self._anchors[key])):  # anchors before those that have some
            self._evaluate(key)
        self.resort()

    def update(self, run_id: str, state: RunState) -> None:
        """Take note of how far a run is now; it counts as handed out no longer."""
        self.view[run_id] = state.at(self.rungs)
        self.flying.pop(run_id, None)
        self._pruning.discard(run_id)
        for key in self._owners.get(run_id, ()):
            self._evaluate(key)
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

    def prune(self) -> Iterator[Segment]:
        """Runs that will not go on and are to be recorded as pruned; each is given once."""
        while self._pruned:
            yield self._pruned.popleft()

    def drawn(self) -> Iterator[Wave]:
        """Waves that have been drawn and are to be recorded; each is given once."""
        while self._drawn:
            yield self._drawn.popleft()

    def rows(self) -> list[Row]:
        """The matrix: scratch once per student and seed, then every cell."""
        return [row for key in self._order for row in self.units[key].rows]

    def counts(self) -> tuple[int, int]:
        """Runs that have ended, and all that are expected."""
        return sum(self._tally[status] for status in ENDED), self._tally.total()

    def failed(self) -> int:
        """Runs that have diverged or failed."""
        return self._tally["diverged"] + self._tally["failed"]

    def left(self) -> Mapping[Key, int]:
        """Epochs that each unit is still expected to train; those of a run of several stand under the first."""
        return self._left

    def counted(self, key: Key) -> Unit:
        """A unit without the runs that another one asked for before: so each run is counted once."""
        return self._counted[key]

    def superseded(self) -> set[str]:
        """Runs that a complete study does not ask for: confirmations of a best that a longer search replaced."""
        whole = self if self.scope == self.study else Planner(self.study, self.view, self._unsynced, waves=self.waves)
        if not whole.complete:
            return set()
        wanted = [unit.runs for planner in (self, whole) for unit in planner.units.values()]
        return self.view.keys() - set().union(*wanted)

    @property
    def problems(self) -> list[str]:
        """One line for each unit that cannot be completed."""
        return [unit.problem for unit in self.units.values() if unit.problem]

    @property
    def complete(self) -> bool:
        """Every row is finished."""
        return all(row.status == "finished" for unit in self.units.values() for row in unit.rows)

    def _evaluate(self, key: Key) -> None:
        """Plan a unit anew, put what has changed into the sums, and go on with those that waited for it."""
        old, unit = self.units.get(key), self._plan(key)
        self.units[key] = unit
        alone = (key,)
        for run_id in unit.runs:
            if key not in self._owners.setdefault(run_id, alone):
                self._owners[run_id] += alone
        if key in self._counted:
            self._tally.subtract(self._counted[key].tally())
        self._counted[key] = counted = unit.without({run for run in unit.runs if self._owners[run][0] != key})
        self._tally.update(counted.tally())
        self._left[key] = counted.left
        for segment in unit.prune:
            if segment.run_id not in self._pruning:
                self._pruning.add(segment.run_id)
                self._pruned.append(segment)
        if old is not None:
            self._line_up(key)
            for waiting in self._waiting[key] if unit.outcome != old.outcome else ():
                self._evaluate(waiting)
        if key.kind == "cell" and unit.best != (old.best if old else None):
            for host in self._hosts.get(key.cell, ()):
                if host in self.units:
                    self._evaluate(host)
        before = Key("pretrain", key.cell)
        if key.kind == "cell" and before in self.units and (old is None or unit.undrawn != old.undrawn):
            self._evaluate(before)

    def _plan(self, key: Key) -> Unit:
        if key.kind == "pretrain":
            cell = self.units.get(Key("cell", key.cell))
            return plan_pretraining(self.runs, key, self.view, self._settings(key.cell), cell.undrawn if cell else 0)
        if key.awaited:
            return plan_needed(self.runs, key, self.view)
        if key.kind == "scratch":
            return plan_scratch(self.runs, key.cell.student, self.view, partial(self._draw, key))
        return plan_cell(self.runs, key.cell, self.view, partial(self._draw, key), self.guests(key.cell))

    def guests(self, cell: Cell) -> dict[Cell, str | None]:
        """The cells whose best settings a cell tries, with what is known of these."""
        units = {guest: self.units.get(Key("cell", guest)) for guest in self._guests.get(cell, ())}
        return {guest: unit.best if unit else None for guest, unit in units.items()}

    def _settings(self, cell: Cell) -> list[Mapping[str, Any]]:
        """The default of a cell, and what its search has drawn."""
        waves = range(self.scope.search.trials // self.scope.search.wave)
        drawn = (self.waves.get((cell, wave), ()) for wave in waves)
        return [default_options(self.scope, cell), *itertools.chain.from_iterable(drawn)]

    def _queue(self, workers: int) -> Queue[Key]:
        return self._queues.setdefault(workers, Queue())

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

    def _draw(self, key: Key, wave: int, earlier: Sequence[Result]) -> Sequence[Mapping[str, Any]] | None:
        """A wave as it is recorded, else drawn once the best settings of the cell's anchors are known."""
        if (key.cell, wave) not in self.waves:
            outcomes = [self.units[anchor].outcome for anchor in self._anchors[key]]
            if None in outcomes:
                return None
            warm = [json.loads(outcome) for outcome in outcomes if outcome]
            settings = draw_wave(self.scope, key.cell, wave, earlier, warm)
            self.waves[key.cell, wave] = settings
            self._drawn.append(Wave(key.cell, wave, settings))
        return self.waves[key.cell, wave]


def _part(study: Study, asked: Study) -> Study:
    """As much of a study as is asked for. Waves are drawn one after the other, so that fewer trials are the first."""
    search = replace(study.search, trials=asked.search.trials)
    return replace(
        study, pairs=asked.pairs, methods=asked.methods, seeds=asked.seeds, search=search, exchange=asked.exchange
    )
