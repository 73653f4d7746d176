"""What warm starts save: trials until a cell's search has 95 % of its final improvement, with and without anchors.

`python -m tests.bench warm` measures it on synthetic response surfaces: they say what follows if the best settings of
cells are alike to a stated degree, never how alike they are. `python -m tests.bench.warm COLD WARM` measures it on the
folders of two real studies that differ in their anchors alone.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from analysis.stats import paired_t
from pat.models import family
from sweeps.configs import default_options
from sweeps.planning.anchors import anchors_of, is_anchor
from sweeps.planning.halving import search_cell
from sweeps.planning.planned import rungs_of
from sweeps.planning.search import Result, draw_wave
from sweeps.planning.units import Run, Runs, Unit
from sweeps.planning.unsynced import unsynced_models
from sweeps.planning.view import RunState, View, read_view
from sweeps.presets import preset
from sweeps.spaces import BEFORE, Log
from sweeps.store import read_study
from sweeps.study import SEARCH_SEED, Cell, Search, Study
from sweeps.teachers import recorded
from tests.bench.compare import EXACT

SHARES, METHODS, SEEDS, TRIALS = (0.0, 0.5, 0.9), ("kd", "pat"), 12, 16
REACHED = 0.95
DEPTH = 40.0
"""Points lost at distance 1 from the top, from end to end of a space."""
NOISE, EARLY_NOISE = 0.3, 0.7
TOLERANCE = EXACT
"""Seeded draws on made-up surfaces. They hang on Optuna's version and on run_ids too."""
family = cache(family)


class Surface:
    """Validation scores that nobody trained: a paraboloid over a cell's space, with noise.

    The place of its top varies between cells; `share` of that variance is common to the cells of a student and to
    those of a pair of families, half each, and the rest is a cell's own.
    """

    def __init__(self, study: Study, seed: int, share: float) -> None:
        self.study, self.seed, self.share = study, seed, share
        self._true: dict[str, float] = {}

    def true(self, run: Run, cell: Cell) -> float:
        """Top-1 of a run at full length without noise: 75 % at the top."""
        if run.run_id not in self._true:
            self._true[run.run_id] = self._height(cell, run.config.method.options)
        return self._true[run.run_id]

    def _height(self, cell: Cell, options: Mapping[str, Any]) -> float:
        places = self._places(cell, options)
        weights = {name: random.Random(f"{cell.method} {name}").expovariate(1) for name in places}
        lost = sum(weights[name] * (place - self._top(cell, name)) ** 2 for name, place in places.items())
        return 75 - DEPTH * lost / sum(weights.values())

    def seen(self, run: Run, cell: Cell, epoch: int) -> float:
        """What a search is told after an epoch."""
        part = epoch / run.config.recipe.epochs
        noise = random.Random(f"{self.seed} {run.run_id} {epoch}").gauss(0, NOISE + EARLY_NOISE * (1 - part))
        return self.true(run, cell) * (1 - 0.5 * math.exp(-5 * part)) + noise

    def _top(self, cell: Cell, name: str) -> float:
        kinds = family(cell.teacher), family(cell.student)
        owners = ((cell.student,), kinds, (cell.teacher, cell.student))
        draws = [random.Random(f"{self.seed} {cell.method} {name} {owner}").gauss(0, 0.3) for owner in owners]
        shares = (self.share / 2, self.share / 2, 1 - self.share)
        place = 0.5 + sum(math.sqrt(share) * draw for share, draw in zip(shares, draws, strict=True))
        return min(0.95, max(0.05, place))

    def _places(self, cell: Cell, options: Mapping[str, Any]) -> dict[str, float]:
        """Where a setting lies in each dimension of the space, from 0 to 1."""
        return {name: _place(kind, options[name]) for name, kind in self.study.space(cell.method).items()}


def _place(kind: Log | tuple[Any, ...], value: Any) -> float:
    if isinstance(kind, tuple):
        return kind.index(value) / max(1, len(kind) - 1)
    return math.log(value / kind.low) / math.log(kind.high / kind.low)


Settings = Sequence[Mapping[str, Any]]


def follow(runs: Runs, cell: Cell, view: View, warm: Settings, drawn: dict[int, Any]) -> tuple[list[Run], Unit]:
    """A search as far as the view has come, its runs in canonical order; `drawn` remembers the settings of waves."""
    tried: list[Run] = []

    def draw(wave: int, earlier: Sequence[Result]) -> list[dict[str, Any]]:
        if wave not in drawn:
            drawn[wave] = draw_wave(runs.study, cell, wave, earlier, warm)
        tried.extend(runs.student(cell, options, SEARCH_SEED) for options in drawn[wave])
        return drawn[wave]

    unit = Unit(cell, "search")
    search_cell(runs, unit, view, draw)
    return tried, unit


def search(
    surface: Surface, runs: Runs, cell: Cell, warm: Settings, view: dict[str, RunState]
) -> tuple[list[Run], Unit]:
    """A whole search on a surface."""
    drawn: dict[int, Any] = {}
    rungs = rungs_of(runs.study)
    while True:
        tried, unit = follow(runs, cell, view, warm, drawn)
        if not unit.ready:
            return tried, unit
        for segment in unit.ready:
            told = {epoch: surface.seen(segment.run, cell, epoch) for epoch in rungs if epoch <= segment.until}
            status = "finished" if segment.until == segment.config.recipe.epochs else ""
            view[segment.run_id] = RunState(status, segment.until, {"raw": told, "ema": told})


def handed_on(study: Study, cell: Cell, anchors: Mapping[Cell, Unit]) -> list[dict[str, Any]]:
    """The settings that a cell takes over."""
    return [json.loads(outcome) for near in anchors_of(study, cell) if (outcome := anchors[near].outcome)]


class Saved(NamedTuple):
    """Of one cell: trials needed without and with anchors, and points gained by them after the first wave."""

    cold: float
    warm: float
    points: float


def saved(default: float, cold: Sequence[float], warm: Sequence[float], wave: int) -> Saved | None:
    """What anchors save, from the score of each trial of both searches (-inf: it did not finish).

    Trials are counted until 95 % of what the better search gains over the default; one that never gets there counts
    one more than it has. None where nothing is gained.
    """
    final = max(*cold, *warm)
    if not -math.inf < default < final:
        return None
    goal = default + REACHED * (final - default)
    after = [max(default, *values[:wave]) for values in (warm, cold)]
    return Saved(_first(cold, goal), _first(warm, goal), after[0] - after[1])


def _first(values: Sequence[float], goal: float) -> int:
    return next((place for place, value in enumerate(values, start=1) if value >= goal), len(values) + 1)


def report() -> dict[str, float]:
    """Synthetic surfaces on the pairs of the cifar100 preset, the first pair of each student being an anchor."""
    print(f"SYNTHETIC surfaces: {TRIALS} trials in waves of 8, noise {NOISE} points at full length, more before. Mean")
    print(
        f"over the cells that are no anchors, then over {SEEDS} seeds with its 95 % interval. Trials until 95 % of the"
    )
    print("gain over the default; shared: of the variance of optima, by cells of a student and of a pair of families.")
    print("shared   method   without   with   saved                  points gained after the first wave")
    ratios = {}
    for share in SHARES:
        for method in METHODS:
            seeds = [_one_seed(seed, share, method) for seed in range(SEEDS)]
            fewer, points = _interval([s.cold - s.warm for s in seeds]), _interval([s.points for s in seeds])
            cold, warm = fmean(s.cold for s in seeds), fmean(s.warm for s in seeds)
            print(f"{share:6.0%}   {method:6} {cold:9.1f} {warm:6.1f}   {fewer:22} {points}", flush=True)
            ratios[f"{share:.0%} shared, {method}/trials with anchors over without"] = warm / cold
    return ratios


def _interval(values: Sequence[float]) -> str:
    low, high, _ = paired_t(values)
    return f"{fmean(values):+.2f} ({low:+.2f} to {high:+.2f})"


def _one_seed(seed: int, share: float, method: str) -> Saved:
    """The mean over the cells of one surface that have anchors."""
    base = preset("cifar100")
    first = {student: (teacher, student) for teacher, student in reversed(base.pairs)}
    whole = Search(trials=TRIALS, wave=8, rungs=(1 / 30, 1 / 10, 1 / 3, 1.0))
    anchored = tuple(first.values())
    study = replace(base, name=f"warm-{seed}", methods=(method,), search=whole, anchors=anchored, spaces=BEFORE)
    surface, runs, view = Surface(study, seed, share), Runs(study), dict[str, RunState]()
    anchors = {(cell := Cell(*pair, method)): search(surface, runs, cell, (), view)[1] for pair in study.anchors}

    def scores(cell: Cell, warm: Settings) -> list[float]:
        tried, _ = search(surface, runs, cell, warm, view)
        return [surface.true(run, cell) if view[run.run_id].status == "finished" else -math.inf for run in tried]

    found = []
    for cell in study.cells():
        if warm := handed_on(study, cell, anchors):
            default = surface.true(runs.student(cell, default_options(study, cell), SEARCH_SEED), cell)
            found.append(saved(default, scores(cell, ()), scores(cell, warm), whole.wave))
    return Saved(*(fmean(column) for column in zip(*filter(None, found), strict=True)))


def compare(cold: Path, warm: Path) -> None:
    """The same from the ledgers of two studies, by validation scores; the interval is over cells."""
    (_, without, defaults), (study, with_anchors, _) = _ledger(cold), _ledger(warm)
    found = []
    for cell in with_anchors:
        one = saved(defaults[cell], without[cell], with_anchors[cell], study.search.wave) if cell in without else None
        if one and anchors_of(study, cell):
            found.append(one)
            print(f"{cell}: {one.cold:.0f} trials without anchors, {one.warm:.0f} with, {one.points:+.2f} points")
    print(f"{len(found)} cells that have anchors and gain something")
    if found:
        print(f"saved {_interval([s.cold - s.warm for s in found])} trials of", end=" ")
        print(f"{fmean(s.cold for s in found):.1f}; {_interval([s.points for s in found])} points after the first wave")


def _ledger(folder: Path) -> tuple[Study, dict[Cell, list[float]], dict[Cell, float]]:
    """A study, the final validation score of each search run, and that of the default settings.

    A default that was pruned counts with its confirmations, where these hold out validation images; else its cell
    is left out (-inf).
    """
    stored = read_study(folder)
    assert stored is not None, f"{folder} holds no study"
    study = recorded(stored, folder)
    runs, view = Runs(study, unsynced_models(study, gpus=False)), read_view(folder, rungs_of(study))
    anchors = {cell: follow(runs, cell, view, (), {})[1] for cell in study.cells() if is_anchor(study, cell)}

    def final(run: Run) -> float:
        state = view.get(run.run_id, RunState())
        score = state.score(study.weights(run.config.student), run.config.recipe.epochs)
        return score if score is not None and state.status == "finished" else -math.inf

    tried = {cell: follow(runs, cell, view, handed_on(study, cell, anchors), {})[0] for cell in study.cells()}
    defaults = {}
    for cell, cell_runs in tried.items():
        fresh = [runs.student(cell, default_options(study, cell), seed + 1) for seed in range(study.seeds)]
        defaults[cell] = final(cell_runs[0])
        if defaults[cell] == -math.inf:
            defaults[cell] = fmean(final(run) for run in fresh)
    return study, {cell: [final(run) for run in cell_runs] for cell, cell_runs in tried.items()}, defaults


if __name__ == "__main__":
    compare(Path(sys.argv[1]), Path(sys.argv[2]))
