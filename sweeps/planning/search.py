"""One cell's waves: Optuna rebuilt from what the earlier waves found, in the order (wave, index).

Nothing is remembered between two calls: a wave is a function of the study, the cell and the earlier waves' results.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import BaseTrial, TrialState, create_trial
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from sweeps.configs import default_options
from sweeps.settings import complete_setting
from sweeps.spaces import Log, Range, Space, at, distribution, inside, place
from sweeps.study import Cell, Study

REDRAWS, SOBOL_BITS = 100, 10
LEARNING = ("tpe", "gp")
"""Samplers that propose from what has been found."""
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Result:
    """How one trial ended: `finished`, `pruned` or `failed`, and its score at each rung that it reached."""

    options: Mapping[str, Any]
    status: str
    scores: tuple[tuple[int, float], ...] = ()


class Wave(NamedTuple):
    """The settings of one wave of a cell, in order."""

    cell: Cell
    number: int
    settings: Sequence[Mapping[str, Any]]


Waves = Mapping[tuple[Cell, int], Sequence[Mapping[str, Any]]]
"""Settings by cell and number of the wave."""


def draw_wave(
    study: Study, cell: Cell, wave: int, earlier: Sequence[Result], warm: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The settings of wave `wave`, given the results of all earlier waves in order.

    The very first is the paper's default; those of `warm` that lie in the cell's space follow, each once, as far as
    there is room. A setting drawn before is drawn again, at most 100 times in all for one place; then the wave stays
    smaller.
    """
    default, space = default_options(study, cell), searched(study, cell, wave)
    settings = [default] if wave == 0 else []
    if not space:
        return settings
    seen = {_key(result.options) for result in earlier} | {_key(default)}
    for options in warm if wave == 0 else ():
        if len(settings) < study.search.wave and _key(options) not in seen and lies_in_space(study, cell, options):
            seen.add(_key(options))
            settings.append(dict(options))
    proposals = _proposals(study, cell, wave, earlier)
    while len(settings) < study.search.wave:
        for drawn in itertools.islice(proposals, REDRAWS):
            options = complete(study, cell, drawn)
            if _key(options) not in seen:
                break
        else:
            return settings
        seen.add(_key(options))
        settings.append(options)
    return settings


def searched(study: Study, cell: Cell, wave: int) -> Space:
    """What a wave of a cell changes: the first options of its method's space."""
    return dict(itertools.islice(study.space(cell.method).items(), study.search.options(wave)))


def _proposals(study: Study, cell: Cell, wave: int, earlier: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """Values for what the wave searches, without end: by a sampler that learns, by points that do not, or, where there
    is a prior to fall back on, by both in turns; then the first wave has nothing to learn from."""
    search = study.search
    if search.sampler not in LEARNING or (search.prior and not wave):
        return _spread(study, cell, wave)
    learnt = _learnt(study, cell, wave, earlier)
    return (next(turn) for turn in itertools.cycle((learnt, _spread(study, cell, wave)))) if search.prior else learnt


def _learnt(study: Study, cell: Cell, wave: int, earlier: Sequence[Result]) -> Iterator[dict[str, Any]]:
    rebuilt, space = _rebuild(study, cell, wave, earlier), searched(study, cell, wave)
    while True:
        yield suggest(space, rebuilt.ask())


def _spread(study: Study, cell: Cell, wave: int) -> Iterator[dict[str, Any]]:
    """Points around the default, or over the ranges where there is no prior."""
    default, kinds = default_options(study, cell), searched(study, cell, wave)
    centres = [place(kind, default[name]) for name, kind in kinds.items()]
    for point in _points(study, cell, wave, len(kinds)):
        parts = [_around(centre, study.search.prior, u) for centre, u in zip(centres, point, strict=True)]
        yield {name: at(kind, part) for (name, kind), part in zip(kinds.items(), parts, strict=True)}


def _points(study: Study, cell: Cell, wave: int, count: int) -> Iterator[NDArray[np.float64]]:
    """Points of the unit cube of `count` dimensions, without end: a Sobol sequence of which every wave has its own
    part, as far as that goes, or independent ones."""
    if study.search.sampler != "random":
        sobol = qmc.Sobol(count, rng=seed_of(study, cell, 0))
        yield from sobol.random_base2(SOBOL_BITS)[wave * study.search.wave :]
    rng = np.random.default_rng(seed_of(study, cell, wave))
    while True:
        yield rng.random(count)


def _around(centre: float, width: float, u: float) -> float:
    """The quantile `u` of a normal distribution around `centre` within [0, 1]; `width` 0: of the uniform one."""
    if not width:
        return u
    low, high = ndtr(-centre / width), ndtr((1 - centre) / width)
    return min(1.0, max(0.0, centre + width * float(ndtri(low + u * (high - low)))))


def suggest(space: Space, trial: BaseTrial) -> dict[str, Any]:
    """A value for each option of a space, drawn from `trial`."""
    return {
        name: kind.rounded(trial.suggest_float(name, kind.low, kind.high, log=isinstance(kind, Log)))
        if isinstance(kind, Range)
        else trial.suggest_categorical(name, kind)
        for name, kind in space.items()
    }


def complete(study: Study, cell: Cell, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A complete setting: what was drawn, what the study has fixed of the method, and the cell's default."""
    return complete_setting(cell.method, {**default_options(study, cell), **study.fixed(cell.method), **drawn})


def lies_in_space(study: Study, cell: Cell, options: Mapping[str, Any]) -> bool:
    """Whether the cell's search could draw exactly this complete setting."""
    space = study.space(cell.method)
    drawn = {name: options[name] for name in space}
    return complete(study, cell, drawn) == dict(options) and all(
        inside(kind, drawn[name]) for name, kind in space.items()
    )


def seed_of(study: Study, cell: Cell, wave: int) -> int:
    """The sampler's seed: a function of the study's name, the cell and the wave."""
    text = json.dumps([study.name, *cell, wave])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _rebuild(study: Study, cell: Cell, wave: int, earlier: Sequence[Result]) -> optuna.Study:
    """An in-memory Optuna study that has been told every earlier trial whose setting lies in the space; a default or
    correction outside is a candidate like any other, of which the sampler can make nothing."""
    seed, startup = seed_of(study, cell, wave), study.search.wave
    if study.search.sampler == "gp":
        sampler: optuna.samplers.BaseSampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
        earlier = aligned(earlier)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    rebuilt = optuna.create_study(direction="maximize", sampler=sampler)
    space = searched(study, cell, wave)
    rebuilt.add_trials([told(space, result) for result in earlier if _fits(space, result.options)])
    return rebuilt


def aligned(results: Sequence[Result]) -> list[Result]:
    """The same results as if all had ended at the first rung, for a sampler that knows no rungs.

    The scores of each further rung are moved by what those that reached it have gained there on average.
    """
    values: dict[int, float] = {}
    for rung in sorted({rung for result in results for rung, _ in result.scores}):
        scores = {place: score for place, result in enumerate(results) for at, score in result.scores if at == rung}
        gained = [score - values[place] for place, score in scores.items() if place in values]
        offset = fmean(gained) if gained else 0.0
        values |= {place: score - offset for place, score in scores.items()}
    return [
        replace(result, status="finished", scores=((0, values[place]),)) if result.status != "failed" else result
        for place, result in enumerate(results)
    ]


def _fits(space: Space, options: Mapping[str, Any]) -> bool:
    return all(inside(kind, options[name]) for name, kind in space.items())


def told(space: Space, result: Result) -> optuna.trial.FrozenTrial:
    """A trial as Optuna is told it, whose setting lies in the space."""
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    state = states[result.status]
    return create_trial(
        state=state,
        params={name: result.options[name] for name in space},
        distributions={name: distribution(kind) for name, kind in space.items()},
        intermediate_values={} if state == TrialState.FAIL else dict(result.scores),
        value=result.scores[-1][1] if state == TrialState.COMPLETE else None,
    )
