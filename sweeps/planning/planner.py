"""The planner: what can run now, as a pure function of the study and of the picture of its ledger.

Nothing waits for what it does not need: a cell waits for its teacher, for the runs of its own wave, and with its
search for its anchors. What is most urgent goes first (teachers, anchors, then the longest expected work), which
changes when a run is done, never whether.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pat.tasks import task_class
from sweeps.costs.speeds import Speeds
from sweeps.planning.anchors import anchors_of, is_anchor
from sweeps.planning.cells import plan_cell, plan_scratch, plan_teacher
from sweeps.planning.halving import Draw
from sweeps.planning.search import Result, draw_wave
from sweeps.planning.units import ENDED, Row, Runs, Segment, Unit
from sweeps.planning.urgency import Queue, Urgency
from sweeps.planning.view import RunState, View
from sweeps.study import SCRATCH, Cell, Study, TeacherFile

FIRST_RESORT = 16
"""After so many updates all units are ordered anew by what is known of their speeds, then after twice as many."""


class Key(NamedTuple):
    """A unit of the plan: its kind (teacher, scratch or cell) and which one."""

    kind: str
    cell: Cell


def keys(study: Study) -> list[Key]:
    """Every unit of a study, in the study's order."""
    trained = [name for name in study.used_teachers() if not isinstance(study.teachers[name], TeacherFile)]
    return [
        *(Key("teacher", Cell("", name, SCRATCH)) for name in trained),
        *(Key("scratch", Cell("", name, SCRATCH)) for name in study.used_students()),
        *(Key("cell", cell) for cell in study.cells()),
    ]


def rungs_of(study: Study) -> frozenset[int]:
    """Every number of epochs after which a decision of the study asks for a score."""
    return frozenset(rung for recipe in study.students.values() for rung in study.search.epochs(recipe.epochs))


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
    """The same plan kept up to date: a run that has got on recomputes its own unit, and those that waited for it.

    `asked` limits everything to the pairs, methods and seeds of another study (a part of this one). `speeds` tell
    how long an epoch of a cell takes; they are read whenever a unit is looked at, and for all units now and then.
    `flying` are the segments that have been handed out, by run_id.
    """

    def __init__(
        self,
        study: Study,
        view: View,
        unsynced: frozenset[str] = frozenset(),
        asked: Study | None = None,
        speeds: Speeds | None = None,
    ) -> None:
        self.study = study
        self.scope = replace(study, pairs=asked.pairs, methods=asked.methods, seeds=asked.seeds) if asked else study
        self.speeds = speeds or Speeds()
        self.rungs = rungs_of(study)
        self.view = {run_id: state.at(self.rungs) for run_id, state in view.items()}
        self.flying: dict[str, Segment] = {}
        self._unsynced = unsynced
        self._runs = Runs(self.scope, unsynced)
        self._order = {key: place for place, key in enumerate(keys(self.scope))}
        self._anchors = {key: [Key("cell", cell) for cell in anchors_of(self.scope, key.cell)] for key in self._order}
        self._waiting: dict[Key, list[Key]] = {key: [] for key in self._order}
        for key, anchors in self._anchors.items():
            for needed in (Key("teacher", Cell("", key.cell.teacher, SCRATCH)), *anchors):
                if needed in self._waiting:
                    self._waiting[needed].append(key)
        self._queues: dict[int, Queue[Key]] = {}
        self._owner: dict[str, Key] = {}
        self._tally = Counter(dict.fromkeys(("", *ENDED), 0))
        self._left: Counter[Cell] = Counter()
        self._pruned: deque[Segment] = deque()
        self._pruning: set[str] = set()
        self._waves: dict[tuple[Cell, int], tuple[str, list[dict[str, Any]]]] = {}
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
        if run_id in self._owner:
            self._evaluate(self._owner[run_id])
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
        first = self._queue(workers).first()
        if first is None:
            return None
        key = first[1]
        return self._hand_out(min(self._free(key), key=lambda segment: self._urgency(key, segment)))

    def take_on(self, run_id: str) -> Segment | None:
        """Hand out the segment with which a run goes on at once, urgent or not; None where it does not."""
        free = self._free(self._owner[run_id]) if run_id in self._owner else []
        return next((self._hand_out(segment) for segment in free if segment.run_id == run_id), None)

    def release(self, run_id: str) -> None:
        """A segment that was handed out is over or was lost; if the plan still wants it, it may be handed out again."""
        segment = self.flying.pop(run_id, None)
        if segment is not None:
            self._line_up(self._owner[run_id])

    def kind(self) -> int | None:
        """How many workers the most urgent segment needs; None if there is none."""
        firsts = [(first, workers) for workers, queue in self._queues.items() if (first := queue.first()) is not None]
        return min(firsts)[1] if firsts else None

    def ready(self) -> list[Segment]:
        """Every segment that can run now, handed out or not, the most urgent first."""
        found = [(self._urgency(key, segment), segment) for key in self._order for segment in self.units[key].ready]
        return [segment for _, segment in sorted(found, key=lambda item: item[0])]

    def prune(self) -> Iterator[Segment]:
        """Runs that will not go on and are to be recorded as pruned; each is given once."""
        while self._pruned:
            yield self._pruned.popleft()

    def rows(self) -> list[Row]:
        """The matrix: scratch once per student and seed, then every cell."""
        return [row for key in self._order if key.kind != "teacher" for row in self.units[key].rows]

    def counts(self) -> tuple[int, int]:
        """Runs that have ended, and all that are expected."""
        return sum(self._tally[status] for status in ENDED), self._tally.total()

    def failed(self) -> int:
        """Runs that have diverged or failed."""
        return self._tally["diverged"] + self._tally["failed"]

    def left(self) -> Mapping[Cell, int]:
        """Epochs that each cell is still expected to train; teachers and baselines are cells without a teacher."""
        return self._left

    def superseded(self) -> set[str]:
        """Runs that a complete study does not ask for: confirmations of a best that a longer search replaced."""
        whole = self if self.scope == self.study else Planner(self.study, self.view, self._unsynced)
        if not whole.complete:
            return set()
        return self.view.keys() - {run_id for unit in whole.units.values() for run_id in unit.runs}

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
        if old is not None:
            self._tally.subtract(old.tally())
            self._left[key.cell] -= old.left
        self._tally.update(unit.tally())
        self._left[key.cell] += unit.left
        self.units[key] = unit
        self._owner |= dict.fromkeys(unit.runs, key)
        for segment in unit.prune:
            if segment.run_id not in self._pruning:
                self._pruning.add(segment.run_id)
                self._pruned.append(segment)
        if old is not None:
            self._line_up(key)
            for waiting in self._waiting[key] if unit.outcome != old.outcome else ():
                self._evaluate(waiting)

    def _plan(self, key: Key) -> Unit:
        if key.kind == "teacher":
            return plan_teacher(self._runs, key.cell.student, self.view)
        if key.kind == "scratch":
            return plan_scratch(self._runs, key.cell.student, self.view)
        return plan_cell(self._runs, key.cell, self.view, self._drawing(key))

    def _drawing(self, key: Key) -> Draw | None:
        """How the waves of a cell are drawn, once the best settings of its anchors are known."""
        outcomes = [self.units[anchor].outcome for anchor in self._anchors[key]]
        if None in outcomes:
            return None
        warm = [json.loads(outcome) for outcome in outcomes if outcome]
        return lambda wave, earlier: self._draw(key.cell, wave, earlier, warm)

    def _queue(self, workers: int) -> Queue[Key]:
        return self._queues.setdefault(workers, Queue())

    def _line_up(self, key: Key) -> None:
        """Give a unit the place of its most urgent segment that is not handed out."""
        most = min((self._urgency(key, segment) for segment in self._free(key)), default=None)
        self._queue(self.scope.workers_of(key.cell.method)).put(key, most)

    def _hand_out(self, segment: Segment) -> Segment:
        self.flying[segment.run_id] = segment
        self._line_up(self._owner[segment.run_id])
        return segment

    def _free(self, key: Key) -> list[Segment]:
        return [segment for segment in self.units[key].ready if segment.run_id not in self.flying]

    def _urgency(self, key: Key, segment: Segment) -> Urgency:
        """Teachers first, then anchors, then the longest chain of work that the segment begins."""
        seconds = self.speeds.seconds(key.cell) * segment.chain
        if key.kind == "teacher":
            waiting = self._waiting[key]
            seconds += max((self.speeds.seconds(w.cell) * self.units[w].longest for w in waiting), default=0.0)
            rank = 0 if any(is_anchor(self.scope, w.cell) for w in waiting) else 1
        else:
            first = segment.phase == "search" and self.units[key].outcome is None and is_anchor(self.scope, key.cell)
            rank = 2 if first else 3
        return Urgency(rank, -seconds, self._order[key])

    def _draw(
        self, cell: Cell, wave: int, earlier: Sequence[Result], warm: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """`draw_wave`, remembered: drawing is a function of what has been found."""
        found = json.dumps([[[r.options, r.status, r.scores] for r in earlier], warm], sort_keys=True)
        if self._waves.get((cell, wave), ("",))[0] != found:
            self._waves[cell, wave] = found, draw_wave(self.scope, cell, wave, earlier, warm)
        return self._waves[cell, wave][1]


def matrix_rows(
    study: Study, rows: Sequence[Row], families: Mapping[str, str], running: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """The rows as the ledger's matrix table; `running` are the runs in flight."""
    return [
        {
            "study": study.name,
            "data": study.data.name,
            "metric": task_class(study.task.name).metric,
            "teacher": row.cell.teacher,
            "teacher_family": families.get(row.cell.teacher),
            "student": row.cell.student,
            "student_family": families.get(row.cell.student),
            "method": row.cell.method,
            "setting": row.setting,
            "options": row.options,
            "seed": row.seed,
            "run_id": row.run_id,
            "status": "running" if row.status == "waiting" and row.run_id in running else row.status,
            "reason": row.reason or None,
            "rule": "last",
            "weights": study.weights(row.cell.student),
        }
        for row in rows
    ]
