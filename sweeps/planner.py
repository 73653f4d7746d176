"""The planner: what can run now, as a pure function of the study and of the picture of its ledger.

Teachers first, then the scratch baselines, then the cells in order, each searching before it confirms. Nothing
waits for what it does not need: a cell waits for its teacher and for the runs of its own wave.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeps.cells import Row, Segment, Unit, plan_cell, plan_scratch, plan_teacher
from sweeps.search import Result, draw_wave
from sweeps.study import SCRATCH, Cell, Study, TeacherFile
from sweeps.view import RunState, View


class Key(NamedTuple):
    """A unit of the plan: its kind (teacher, scratch or cell) and which one."""

    kind: str
    cell: Cell


def keys(study: Study) -> list[Key]:
    """Every unit of a study in the order in which the planner serves them."""
    trained = [name for name in study.used_teachers() if not isinstance(study.teachers[name], TeacherFile)]
    return [
        *(Key("teacher", Cell("", name, SCRATCH)) for name in trained),
        *(Key("scratch", Cell("", name, SCRATCH)) for name in study.used_students()),
        *(Key("cell", cell) for cell in study.cells()),
    ]


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
    return Plan(list(planner.ready()), list(planner.prune()), planner.rows(), planner.complete, planner.problems)


class Planner:
    """The same plan kept up to date: a run that has got on recomputes only the units that look at it.

    `asked` limits what is made ready to the units of another study (some pairs or methods of this one).
    """

    def __init__(
        self, study: Study, view: View, unsynced: frozenset[str] = frozenset(), asked: Study | None = None
    ) -> None:
        self.study = study
        self.view = dict(view)
        self._unsynced = unsynced
        self._waves: dict[str, list[dict[str, Any]]] = {}
        self.units: dict[Key, Unit] = {}
        self._by_run: dict[str, set[Key]] = {}
        wanted = set(keys(asked)) if asked else None
        self._asked = [key for key in keys(study) if wanted is None or key in wanted]
        for key in keys(study):
            self._evaluate(key)

    def update(self, run_id: str, state: RunState) -> None:
        """Take note of how far a run is now."""
        self.view[run_id] = state
        for key in sorted(self._by_run.get(run_id, ())):
            self._evaluate(key)

    def ready(self) -> Iterator[Segment]:
        """The segments that can run now, the most urgent first."""
        return (segment for key in self._asked for segment in self.units[key].ready)

    def prune(self) -> Iterator[Segment]:
        """Runs that will not go on and are not yet recorded as pruned."""
        return (segment for key in self._asked for segment in self.units[key].prune)

    def asked_units(self) -> list[Unit]:
        return [self.units[key] for key in self._asked]

    def rows(self) -> list[Row]:
        """The matrix: scratch once per student and seed, then every cell."""
        return [row for key, unit in self.units.items() if key.kind != "teacher" for row in unit.rows]

    def superseded(self) -> set[str]:
        """Runs of the view that this study does not ask for: confirmations of a best that a longer search replaced."""
        known: set[str] = set().union(*(unit.needs for unit in self.units.values()))
        return self.view.keys() - known

    @property
    def problems(self) -> list[str]:
        """One line for each unit that cannot be completed."""
        return [unit.problem for unit in self.asked_units() if unit.problem]

    @property
    def complete(self) -> bool:
        """Every row that was asked for is finished."""
        return all(row.status == "finished" for unit in self.asked_units() for row in unit.rows)

    def _evaluate(self, key: Key) -> None:
        unit = self._plan(key)
        self.units[key] = unit
        for run_id in unit.needs:
            self._by_run.setdefault(run_id, set()).add(key)

    def _plan(self, key: Key) -> Unit:
        if key.kind == "cell":
            return plan_cell(self.study, key.cell, self.view, self._unsynced, self._draw)
        plan_one: Callable[..., Unit] = plan_teacher if key.kind == "teacher" else plan_scratch
        return plan_one(self.study, key.cell.student, self.view, self._unsynced)

    def _draw(self, study: Study, cell: Cell, wave: int, earlier: Sequence[Result]) -> list[dict[str, Any]]:
        """`draw_wave`, remembered: drawing is a function of what has been found."""
        found = json.dumps([[result.options, result.status, result.scores] for result in earlier], sort_keys=True)
        key = json.dumps([*cell, wave, found])
        if key not in self._waves:
            self._waves[key] = draw_wave(study, cell, wave, earlier)
        return self._waves[key]


def matrix_rows(
    study: Study, rows: Sequence[Row], families: Mapping[str, str], running: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """The rows as the ledger's matrix table; `running` are the runs in flight."""
    return [
        {
            "study": study.name,
            "data": study.data.name,
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
