"""How near a cell's search comes to the best setting for its epochs, on synthetic surfaces: ours against others.

Nothing is trained. A surface says what a setting of PAT scores after so many epochs: a paraboloid over the space of the
`cifar100` preset, whose top, curvature, shift in short runs and noise are drawn. It says how searches compare where
the response is like that, never what PAT gains. The search of the presets was laid out on other surfaces of this kind
(seeds 1000 and up) than the 40 that are reported.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean, stdev
from typing import Any

import optuna

from sweeps.configs import default_options
from sweeps.planning.halving import search_cell
from sweeps.planning.search import Result, complete, draw_wave, suggest
from sweeps.planning.units import Runs, Unit, as_text
from sweeps.planning.view import RunState
from sweeps.presets import preset
from sweeps.spaces import Log, at, place
from sweeps.study import Cell, Search, Study
from tests.bench.compare import EXACT

SURFACES, BUDGETS, FULL = 40, (1000, 2000, 4000), 300
BIAS, NOISE, EARLY_NOISE = 0.15, 0.45, 0.5
TOPS = {"near": 62.0, "anywhere": 19.0}
"""Where tops lie: normally around the default with 0.3 of each range, or anywhere; points lost at distance 1 from the
top, so that the default loses about 3.6 points in both."""
TODAY = Search(trials=0, wave=8, rungs=(1 / 30, 1 / 10, 1 / 3, 1.0))
"""Of the presets before: one wave of eight, here as many as the epochs allow."""
TOLERANCE = EXACT
"""Seeded draws on made-up surfaces. They hang on Optuna's version, too."""
Setting = Mapping[str, Any]


class Surface:
    """Validation scores that nobody trained; `spent` counts the epochs that were asked for."""

    def __init__(self, study: Study, cell: Cell, tops: str, seed: int) -> None:
        self.space, self.seed, self.spent = study.space(cell.method), f"{tops} {seed}", 0
        self.default = default_options(study, cell)
        self.draw = lambda trial: complete(study, cell, suggest(self.space, trial))
        rng = random.Random(f"surface {self.seed}")
        self._depth = TOPS[tops]
        self._tops = {name: self._top(rng, name, tops) for name in self.space}
        weights = {name: rng.expovariate(1) for name in self.space}
        self._weights = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        self._shifts = {name: rng.gauss(0, BIAS) for name in self.space}
        self._best = 0.0
        self._best = self.regret({name: self._nearest(name) for name in self.space})

    def _top(self, rng: random.Random, name: str, tops: str) -> float:
        if tops == "anywhere":
            return rng.random()
        return min(0.98, max(0.02, rng.gauss(place(self.space[name], self.default[name]), 0.3)))

    def _nearest(self, name: str) -> Any:
        kind, top = self.space[name], self._tops[name]
        return at(kind, top) if isinstance(kind, Log) else min(kind, key=lambda value: abs(place(kind, value) - top))

    def _lost(self, setting: Setting, part: float) -> float:
        """Points lost after this part of a run: in short ones the top is elsewhere."""
        distances = {
            name: place(kind, setting[name]) - self._tops[name] - self._shifts[name] * (1 - part)
            for name, kind in self.space.items()
        }
        return self._depth * sum(self._weights[name] * distance**2 for name, distance in distances.items())

    def regret(self, setting: Setting) -> float:
        """Points that a setting scores less than the best one at full length, without noise."""
        return self._lost(setting, 1.0) - self._best

    def seen(self, setting: Setting, epoch: int, before: int = 0) -> float:
        """The score after an epoch of a run that goes on from the epoch `before`."""
        self.spent += epoch - before
        part = epoch / FULL
        noise = random.Random(f"{self.seed} {as_text(setting)} {epoch}").gauss(0, NOISE + EARLY_NOISE * (1 - part))
        return (1 - 0.5 * math.exp(-5 * part)) * (75 - self._lost(setting, part)) + noise


def ours(search: Search, study: Study, cell: Cell, surface: Surface) -> Iterator[tuple[int, Setting]]:
    """The product's own search, one wave longer each time: epochs spent, and the setting chosen. Waves are prefixes."""
    runs, view = Runs(study), dict[str, RunState]()
    waves: dict[int, Sequence[Setting]] = {}

    def draw(wave: int, earlier: Sequence[Result]) -> Sequence[Setting]:
        if wave not in waves:
            waves[wave] = draw_wave(runs.study, cell, wave, earlier)
        return waves[wave]

    for count in range(1, 100):
        runs.study = replace(study, search=replace(search, trials=count * search.wave))
        while True:
            unit = Unit(cell, "search")
            found = search_cell(runs, unit, view, draw)
            if not unit.ready:
                break
            for segment in unit.ready:
                old = view.get(segment.run_id, RunState())
                score = surface.seen(segment.config.method.options, segment.until, old.epochs)
                scores = {**old.scores.get("ema", {}), segment.until: score}
                status = "finished" if segment.until == FULL else ""
                view[segment.run_id] = RunState(status, segment.until, {"raw": scores, "ema": scores})
        assert found.best is not None
        yield surface.spent, found.best


def full_length(sampler: optuna.samplers.BaseSampler, surface: Surface) -> Iterator[tuple[int, Setting]]:
    """Every setting to its end, the default first, the others as Optuna's sampler proposes them."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: surface.default[name] for name in surface.space})
    tried: list[tuple[float, Setting]] = []
    while True:
        trial = study.ask()
        setting = surface.draw(trial)
        tried.append((surface.seen(setting, FULL), setting))
        study.tell(trial, tried[-1][0])
        yield surface.spent, max(tried, key=lambda pair: pair[0])[1]


def asha(first: int, surface: Surface, eta: int = 3) -> Iterator[tuple[int, Setting]]:
    """Asynchronous successive halving with independent draws on one device: what can be promoted is, best rung first;
    the choice is the best of the highest rung that anything has reached."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_seed(surface)))
    rungs = [first * eta**k for k in range(10) if first * eta**k <= FULL / 1.5] + [FULL]
    tried: list[tuple[Setting, dict[int, float]]] = [(surface.default, {})]
    while True:
        found = next(_promotable(tried, rungs, eta), None)
        if found is None:
            if tried[-1][1]:
                tried.append((surface.draw(study.ask()), {}))
            found = tried[-1][0], tried[-1][1], 0, rungs[0]
        setting, scores, low, high = found
        scores[high] = surface.seen(setting, high, low)
        top = max(max(scores, default=0) for _, scores in tried)
        yield surface.spent, max((pair for pair in tried if top in pair[1]), key=lambda pair: pair[1][top])[0]


def _promotable(
    tried: Sequence[tuple[Setting, dict[int, float]]], rungs: Sequence[int], eta: int
) -> Iterator[tuple[Setting, dict[int, float], int, int]]:
    for low, high in reversed(list(zip(rungs, rungs[1:], strict=False))):
        there = sorted((pair for pair in tried if low in pair[1]), key=lambda pair: -pair[1][low])
        yield from ((*pair, low, high) for pair in there[: len(there) // eta] if high not in pair[1])


def _seed(surface: Surface) -> int:
    return random.Random(f"sampler {surface.seed}").getrandbits(31)


def regrets(search: Callable[[Surface], Iterator[tuple[int, Setting]]], surface: Surface) -> list[float]:
    """The regret of what a search would choose after each budget; of the default before it has chosen anything."""
    chosen, found = [surface.default] * len(BUDGETS), search(surface)
    for spent, setting in found:
        if spent > BUDGETS[-1]:
            break
        chosen = [setting if spent <= budget else old for budget, old in zip(BUDGETS, chosen, strict=True)]
    return [surface.regret(setting) for setting in chosen]


def compared(study: Study, cell: Cell) -> dict[str, Callable[[Surface], Iterator[tuple[int, Setting]]]]:
    """Every search by its name."""
    now = study.search
    tpe, chance = optuna.samplers.TPESampler, optuna.samplers.RandomSampler
    return {
        "the presets'": partial(ours, now, study, cell),
        "the same, Sobol alone": partial(ours, replace(now, sampler="sobol"), study, cell),
        "the presets' before": partial(ours, TODAY, study, cell),
        "random": lambda surface: full_length(chance(seed=_seed(surface)), surface),
        "TPE": lambda surface: full_length(tpe(seed=_seed(surface)), surface),
        "ASHA from 10 epochs": partial(asha, 10),
        "ASHA from 33 epochs": partial(asha, 33),
    }


def report() -> dict[str, float]:
    """Prints the regret of each search at equal epochs."""
    study = preset("cifar100", methods=("pat",))
    cell = study.cells()[0]
    ratios = {}
    for tops in TOPS:
        surfaces = range(SURFACES)
        default = fmean(Surface(study, cell, tops, seed).regret(default_options(study, cell)) for seed in surfaces)
        print(f"{SURFACES} SYNTHETIC surfaces, tops {tops}; points lost by the chosen setting, its standard error;")
        print(f"the default loses {default:.2f}")
        print(f"{'epochs':24}" + "".join(f"{budget:>16,}" for budget in BUDGETS))
        for name, search in compared(study, cell).items():
            found = [regrets(search, Surface(study, cell, tops, seed)) for seed in surfaces]
            columns = list(zip(*found, strict=True))
            texts = [f"{fmean(column):.2f} ({stdev(column) / math.sqrt(SURFACES):.2f})" for column in columns]
            print(f"{name:24}" + "".join(f"{text:>16}" for text in texts), flush=True)
            ratios |= {
                f"{tops}, {name}/regret over the default's at {budget}": fmean(column) / default
                for budget, column in zip(BUDGETS, columns, strict=True)
            }
        print()
    return ratios
