"""The plan of a study kept up to date: what can run now, what is done, drawn and pruned, as its ledger gets on.

Nothing waits for what it does not need: a cell waits for its teacher, for the runs of its own wave, and with its
search for its anchors; cells may wait for each other's best settings, which hang on the own search alone.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sweeps.configs import default_options
from sweeps.planning.anchors import anchors_of
from sweeps.planning.cells import plan_cell, plan_needed, plan_pretraining, plan_scratch
from sweeps.planning.exchange import guests_of
from sweeps.planning.search import Result, Wave, Waves, draw_wave
from sweeps.planning.units import ENDED, Key, Row, Runs, Segment, Unit, keys
from sweeps.planning.view import RunState, View
from sweeps.pretraining import LONGER
from sweeps.study import SCRATCH, Cell, Study


def rungs_of(study: Study) -> frozenset[int]:
    """Every number of epochs after which a decision of the study asks for a score."""
    lengths = {study.epochs(Cell("", student, method)) for student in study.students for method in (SCRATCH, LONGER)}
    return frozenset(rung for epochs in lengths for rung in study.search.epochs(epochs))


class Planned:
    """A run that has got on recomputes its own units, and those that waited for it.

    `asked` limits everything to the pairs, methods, seeds and trials of another study (a part of this one). `waves` are
    those on record; what is drawn here `drawn` gives, to be recorded before its runs begin. `runs` are of `scope`.
    """

    def __init__(
        self,
        study: Study,
        view: View,
        unsynced: frozenset[str] = frozenset(),
        asked: Study | None = None,
        waves: Waves | None = None,
    ) -> None:
        self.study = study
        self.scope = _part(study, asked) if asked else study
        self.rungs = rungs_of(study)
        self.view = {run_id: state.at(self.rungs) for run_id, state in view.items()}
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
        self._owners: dict[str, tuple[Key, ...]] = {}
        self._counted: dict[Key, Unit] = {}
        self._tally = Counter(dict.fromkeys(("", *ENDED), 0))
        self._left: Counter[Key] = Counter()
        self._pruned: deque[Segment] = deque()
        self._pruning: set[str] = set()
        self.waves = dict(waves or {})
        self._drawn: deque[Wave] = deque()
        self.units: dict[Key, Unit] = {}
        for key in sorted(self._order, key=lambda key: len(self._anchors[key])):  # anchors before those that have some
            self._evaluate(key)

    def update(self, run_id: str, state: RunState) -> None:
        """Take note of how far a run is now."""
        self.view[run_id] = state.at(self.rungs)
        self._pruning.discard(run_id)
        for key in self._owners.get(run_id, ()):
            self._evaluate(key)

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
        whole = self if self.scope == self.study else Planned(self.study, self.view, self._unsynced, waves=self.waves)
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
            self._changed(key)
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

    def _changed(self, key: Key) -> None:
        """A unit has been planned anew."""


def _part(study: Study, asked: Study) -> Study:
    """As much of a study as is asked for. Waves are drawn one after the other, so that fewer trials are the first."""
    search = replace(study.search, trials=asked.search.trials)
    return replace(
        study, pairs=asked.pairs, methods=asked.methods, seeds=asked.seeds, search=search, exchange=asked.exchange
    )
