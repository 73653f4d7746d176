"""One cell's waves: Optuna rebuilt from what the earlier waves found, in the order (wave, index).

Nothing is remembered between two calls: a wave is a function of the study, the cell and the earlier waves' results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import optuna
from optuna.trial import BaseTrial, TrialState, create_trial

from pat.methods import method_options
from sweeps.configs import default_options
from sweeps.spaces import Log, Space, distribution, inside
from sweeps.study import Cell, Study

REDRAWS = 100
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
    default, space = default_options(study, cell), study.space(cell.method)
    settings = [default] if wave == 0 else []
    if not space:
        return settings
    seen = {_key(result.options) for result in earlier} | {_key(default)}
    for options in warm if wave == 0 else ():
        if len(settings) < study.search.wave and _key(options) not in seen and lies_in_space(study, cell, options):
            seen.add(_key(options))
            settings.append(dict(options))
    optuna_study = _rebuild(study, cell, wave, earlier)
    while len(settings) < study.search.wave:
        for _ in range(REDRAWS):
            options = complete(study, cell, suggest(space, optuna_study.ask()))
            if _key(options) not in seen:
                break
        else:
            return settings
        seen.add(_key(options))
        settings.append(options)
    return settings


def suggest(space: Space, trial: BaseTrial) -> dict[str, Any]:
    """A value for each option of a space, drawn from `trial`."""
    return {
        name: float(f"{trial.suggest_float(name, kind.low, kind.high, log=True):.4g}")
        if isinstance(kind, Log)
        else trial.suggest_categorical(name, kind)
        for name, kind in space.items()
    }


def complete(study: Study, cell: Cell, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A complete setting: what was drawn, what the study has fixed of the method, and the cell's default."""
    return method_options(cell.method, {**default_options(study, cell), **study.fixed(cell.method), **drawn})


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
    startup = study.search.wave
    sampler = optuna.samplers.TPESampler(seed=seed_of(study, cell, wave), n_startup_trials=startup)
    rebuilt = optuna.create_study(direction="maximize", sampler=sampler)
    space = study.space(cell.method)
    rebuilt.add_trials([told(space, result) for result in earlier if _fits(space, result.options)])
    return rebuilt


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
