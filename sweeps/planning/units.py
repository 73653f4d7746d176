"""What the planner's answers are made of: segments to train, rows of the matrix, and the units that hold them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from analysis.schema import FROM
from pat.config import Data, RunConfig, Task
from pat.starting import RUN
from sweeps.configs import default_options, pretrain_run, student_run, teacher_run
from sweeps.planning.view import NOT_STARTED, RunState, View
from sweeps.study import SCRATCH, SEARCH_SEED, Cell, Study, TeacherFile
from sweeps.teacher_seeds import model_of

ENDED_BADLY = ("diverged", "failed")
ENDED = ("finished", "pruned", *ENDED_BADLY)
FINISHED = RunState("finished")


class Key(NamedTuple):
    """A unit of the plan: its kind and which one.

    A kind is `scratch`, `cell`, or that of runs that other units wait for: `teacher` (one run), `pretrain` (one for
    each setting of a cell).
    """

    kind: str
    cell: Cell

    @classmethod
    def of(cls, phase: str, cell: Cell) -> Key:
        """The unit to which a run of a phase of the ledger belongs."""
        own = "scratch" if cell.method == SCRATCH else "cell"
        return cls(own if phase in ("search", "confirm", "exchange") else phase, cell)

    def __str__(self) -> str:
        models = " -> ".join(filter(None, self.cell[:2]))
        return f"{self.kind} {models}" if self.awaited else str(self.cell)

    @property
    def awaited(self) -> bool:
        """Whether others wait for runs of the unit."""
        return self.kind not in ("scratch", "cell")

    @property
    def initial(self) -> str:
        """How `Study.initial` calls the side of a pair that the unit trains."""
        return self.cell.student if self.kind == "teacher" else f":{self.cell.student}"


def keys(study: Study) -> list[Key]:
    """Every unit of a study, in the study's order."""
    return [
        *(Key("teacher", Cell("", name, SCRATCH)) for name in trained_teachers(study)),
        *(Key("pretrain", cell) for cell in study.cells() if study.pretrains(cell.method)),
        *(Key("scratch", Cell("", name, SCRATCH)) for name in study.used_students()),
        *(Key("cell", cell) for cell in study.cells()),
    ]


def trained_on(study: Study, key: Key) -> tuple[Task, Data]:
    """What the model that a unit trains learns, and from which data."""
    if key.kind == "pretrain" and study.pretraining is not None:
        return study.pretraining.task, study.pretraining.data
    return study.task, study.teacher_data(key.cell.student) if key.kind == "teacher" else study.data


def trained_teachers(study: Study) -> list[str]:
    """The teachers of the pairs that are trained here."""
    return [name for name in study.used_teachers() if not isinstance(study.teachers[name], TeacherFile)]


class Run(NamedTuple):
    """A run and its address, which takes much longer to compute than to look up. `setting`: that of its cell, as the
    ledger writes it; empty for a run that others wait for."""

    run_id: str
    config: RunConfig
    setting: str = ""


class Runs:
    """The runs of a study, each made once. `unsynced`: models whose BatchNorm the workers cannot share."""

    def __init__(self, study: Study, unsynced: frozenset[str] = frozenset()) -> None:
        self.study, self._unsynced = study, unsynced
        self._made: dict[tuple[Cell, str, int], Run] = {}
        self._pretrainings: dict[str, Cell] = {}
        self._needed: dict[Key, list[Key]] = {}

    def teacher(self, name: str) -> Run | None:
        """The run that trains a teacher, or None where it is a file."""
        if isinstance(self.study.teachers[name], TeacherFile):
            return None
        key = Cell("", name, "teacher"), "", 0
        if key not in self._made:
            config = teacher_run(self.study, name, self._workers(SCRATCH, model_of(name)))
            assert config is not None
            self._made[key] = Run(config.run_id, config)
        return self._made[key]

    def awaited(self, key: Key) -> Run:
        """The run of a unit that others wait for; of a cell's pre-trainings that of the default setting."""
        if key.kind == "pretrain":
            return self.pretraining(key.cell, default_options(self.study, key.cell))
        run = self.teacher(key.cell.student)
        assert run is not None
        return run

    def pretraining(self, cell: Cell, options: Mapping[str, Any]) -> Run:
        """The run that precedes those of a setting of a cell whose method is one of pre-training."""
        key = cell, f"pretrain {as_text(options)}", SEARCH_SEED
        if key not in self._made:
            count = self._workers(cell.method, cell.student)
            config = pretrain_run(self.study, cell, options, self._weights(cell.teacher), count)
            self._made[key] = Run(config.run_id, config)
            self._pretrainings[config.run_id] = cell
        return self._made[key]

    def preceded(self, cell: Cell, options: Mapping[str, Any], view: View) -> RunState:
        """How far the pre-training is that the runs of a setting wait for; finished where there is none."""
        if not self.study.pretrains(cell.method):
            return FINISHED
        return view.get(self.pretraining(cell, options).run_id, NOT_STARTED)

    def needed(self, key: Key) -> list[Key]:
        """The units whose runs must have finished before a unit's may begin: its pre-trainings, of which each of its
        runs waits for one; else, where its training starts from one of them, that one, and its teacher. What these need
        in turn is theirs."""
        if key.kind == "cell" and self.study.pretrains(key.cell.method):
            return [Key("pretrain", key.cell)]
        if key not in self._needed:
            start = self.trained_here(self.study.starts_from(key.initial))
            found = [start] if start else []
            if key.cell.teacher and self.teacher(key.cell.teacher):
                found.append(Key("teacher", Cell("", key.cell.teacher, SCRATCH)))
            self._needed[key] = list(dict.fromkeys(found))
        return self._needed[key]

    def trained_here(self, weights: str) -> Key | None:
        """The unit of the run that `run:<run_id>` names; None for a run that others do not wait for in this study."""
        if not weights.startswith(RUN):
            return None
        if (run_id := weights.removeprefix(RUN)) in self._pretrainings:
            return Key("pretrain", self._pretrainings[run_id])
        awaited = (key for key in keys(self.study) if key.awaited)
        return next((key for key in awaited if weights == f"{RUN}{self.awaited(key).run_id}"), None)

    def student(self, cell: Cell, options: Mapping[str, Any], seed: int) -> Run:
        """The run of a cell (a baseline where it has no teacher) at a setting, under a seed."""
        key = cell, as_text(options), seed
        if key not in self._made:
            count = self._workers(cell.method, cell.student)
            before = f"{RUN}{self.pretraining(cell, options).run_id}" if self.study.pretrains(cell.method) else ""
            config = student_run(self.study, cell, options, seed, self._weights(cell.teacher), count, before)
            self._made[key] = Run(config.run_id, config, key[1])
        return self._made[key]

    def _weights(self, teacher: str) -> str:
        """What identifies a teacher's weights."""
        source = self.study.teachers.get(teacher)
        if isinstance(source, TeacherFile):
            return f"sha256:{source.sha256}"
        run = self.teacher(teacher) if teacher else None
        return f"{RUN}{run.run_id}" if run else ""

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
    def key(self) -> Key:
        """The unit that its time is counted for."""
        return Key.of(self.phase, self.cell)

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
    """The plan of one unit: a run that others wait for, the baselines of a student, or a cell.

    `runs`: its runs that are known so far, with their status; `unknown_runs` are still to be decided, `undrawn` are
    settings that its search has not drawn yet. `left_of`: the epochs that each run is still to be trained, as far as
    that is decided; `left_later`: those beyond that are expected.
    `after_search`: epochs in a row that follow a search run of the present wave;
    `longest`: the longest chain of a segment, also while others are waited for. `outcome`: what other units wait for,
    as text: how a teacher ended, or an anchor's best setting ("" = there is none); None until it is known. `best`: the
    same of the whole search of a cell.
    """

    cell: Cell
    phase: str
    ready: list[Segment] = field(default_factory=list)
    prune: list[Segment] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    unknown_runs: int = 0
    undrawn: int = 0
    left_of: dict[str, int] = field(default_factory=dict)
    left_later: int = 0
    after_search: int = 0
    longest: int = 0
    outcome: str | None = None
    best: str | None = None
    problem: str = ""

    def train(self, run: Run, state: RunState, until: int, phase: str, trial: int | None = None) -> None:
        """Count a run of this unit, and make it ready where it has not come to `until` yet."""
        self.runs[run.run_id] = state.status
        full = run.config.recipe.epochs
        if state.status not in ("finished", *ENDED_BADLY) and (state.epochs < until or until == full):
            self.left_of[run.run_id] = max(0, until - state.epochs)
            chain = full - state.epochs + (self.after_search if phase == "search" else 0)
            self.longest = max(self.longest, chain)
            self.ready.append(Segment(run, until, phase, self.cell, chain, trial))

    def without(self, others: Collection[str]) -> Unit:
        """The same without some of its runs."""
        if not others:
            return self
        left = {run_id: epochs for run_id, epochs in self.left_of.items() if run_id not in others}
        runs = {run_id: status for run_id, status in self.runs.items() if run_id not in others}
        return replace(self, runs=runs, left_of=left)

    def confirmations(self) -> tuple[set[str], int]:
        """Its runs that stand in the matrix, and how many rows of it wait for a run that is still to be decided."""
        return self._confirmed([row for row in self.rows if not row.setting.startswith(FROM)])

    def exchanges(self) -> tuple[set[str], int]:
        """The same of the settings that it has of other cells, without the runs that are its own confirmations too."""
        known, unknown = self._confirmed([row for row in self.rows if row.setting.startswith(FROM)])
        return known - self.confirmations()[0], unknown

    def _confirmed(self, rows: Sequence[Row]) -> tuple[set[str], int]:
        known = {row.run_id for row in rows if row.run_id in self.runs}
        return known, sum(row.status == "waiting" and row.run_id is None for row in rows)

    @property
    def left(self) -> int:
        """Epochs it is still expected to train."""
        return self.left_later + sum(self.left_of.values())

    def tally(self) -> Counter[str]:
        """Runs by status; those that have not ended or are not known yet stand under ""."""
        count = Counter(self.runs.values())
        count[""] += self.unknown_runs
        return count
