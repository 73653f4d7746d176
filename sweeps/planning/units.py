"""What the planner's answers are made of: segments to train, rows of the matrix, and the units that hold them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pat.config import RunConfig
from sweeps.configs import student_run, teacher_run
from sweeps.planning.view import RunState
from sweeps.study import SCRATCH, Cell, Study, TeacherFile

ENDED_BADLY = ("diverged", "failed")
ENDED = ("finished", "pruned", *ENDED_BADLY)


class Run(NamedTuple):
    """A run and its address, which takes much longer to compute than to look up."""

    run_id: str
    config: RunConfig


class Runs:
    """The runs of a study, each made once. `unsynced`: models whose BatchNorm the workers cannot share."""

    def __init__(self, study: Study, unsynced: frozenset[str] = frozenset()) -> None:
        self.study, self._unsynced = study, unsynced
        self._made: dict[tuple[Cell, str, int], Run] = {}

    def teacher(self, name: str) -> Run | None:
        """The run that trains a teacher, or None where it is a file."""
        if isinstance(self.study.teachers[name], TeacherFile):
            return None
        key = Cell("", name, "teacher"), "", 0
        if key not in self._made:
            config = teacher_run(self.study, name, self._workers(SCRATCH, name))
            assert config is not None
            self._made[key] = Run(config.run_id, config)
        return self._made[key]

    def student(self, cell: Cell, options: Mapping[str, Any], seed: int) -> Run:
        """The run of a cell (a baseline where it has no teacher) at a setting, under a seed."""
        key = cell, as_text(options), seed
        if key not in self._made:
            count = self._workers(cell.method, cell.student)
            config = student_run(self.study, cell, options, seed, self._weights(cell.teacher), count)
            self._made[key] = Run(config.run_id, config)
        return self._made[key]

    def _weights(self, teacher: str) -> str:
        """What identifies a teacher's weights."""
        source = self.study.teachers.get(teacher)
        if isinstance(source, TeacherFile):
            return f"sha256:{source.sha256}"
        run = self.teacher(teacher) if teacher else None
        return f"run:{run.run_id}" if run else ""

    def _workers(self, method: str, model: str) -> int:
        return self.study.workers_of(method) if model in self._unsynced else 1


def as_text(options: Mapping[str, Any]) -> str:
    """A setting as the ledger writes it; equal settings have equal texts."""
    return json.dumps(options, sort_keys=True)


@dataclass(frozen=True)
class Segment:
    """A run to be trained from its checkpoint to `until` epochs done.

    `chain`: epochs that the rest of the run and what waits for it take, one after the other. `trial`: the place of a
    search run among the settings that its cell has drawn, from 0.
    """

    run: Run
    until: int
    phase: str
    cell: Cell
    chain: int
    trial: int | None = None

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def config(self) -> RunConfig:
        return self.run.config


@dataclass(frozen=True)
class Row:
    """One line of the matrix: a setting of a cell under one seed. What is not decided yet is None."""

    cell: Cell
    setting: str
    seed: int
    options: str | None
    run_id: str | None
    status: str
    reason: str


@dataclass
class Unit:
    """The plan of one unit: a teacher, the baselines of a student, or a cell.

    `runs`: its runs that are known so far, with their status; `unknown_runs` are still to be decided. `left`: epochs
    it is still expected to train. `after_search`: epochs in a row that follow a search run of the present wave;
    `longest`: the longest chain of a segment, also while others are waited for. `outcome`: what other units wait for,
    as text: how a teacher ended, or an anchor's best setting ("" = there is none); None until it is known.
    """

    cell: Cell
    phase: str
    ready: list[Segment] = field(default_factory=list)
    prune: list[Segment] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    unknown_runs: int = 0
    left: int = 0
    after_search: int = 0
    longest: int = 0
    outcome: str | None = None
    problem: str = ""

    def train(self, run: Run, state: RunState, until: int, phase: str, trial: int | None = None) -> None:
        """Count a run of this unit, and make it ready where it has not come to `until` yet."""
        self.runs[run.run_id] = state.status
        full = run.config.recipe.epochs
        if state.status not in ("finished", *ENDED_BADLY) and (state.epochs < until or until == full):
            self.left += max(0, until - state.epochs)
            chain = full - state.epochs + (self.after_search if phase == "search" else 0)
            self.longest = max(self.longest, chain)
            self.ready.append(Segment(run, until, phase, self.cell, chain, trial))

    def tally(self) -> Counter[str]:
        """Runs by status; those that have not ended or are not known yet stand under ""."""
        count = Counter(self.runs.values())
        count[""] += self.unknown_runs
        return count
