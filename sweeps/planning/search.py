"""One cell's waves: Optuna rebuilt from what the earlier waves found, in the order (wave, index).

Nothing is remembered between two calls: a wave is a function of the study, the cell and the earlier waves' results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FixedTrial, TrialState, create_trial

from sweeps.configs import default_options
from sweeps.planning.spaces import lies_in_space, searchable, suggest
from sweeps.study import Cell, Study

REDRAWS = 100
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Result:
    """How one trial ended: `finished`, `pruned` or `failed`, and its score at each rung that it reached."""

    options: Mapping[str, Any]
    status: str
    scores: tuple[tuple[int, float], ...] = ()


def draw_wave(
    study: Study, cell: Cell, wave: int, earlier: Sequence[Result], warm: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The settings of wave `wave`, given the results of all earlier waves in order.

    The very first is the paper's default; those of `warm` that lie in the cell's space follow, each once, as far as
    there is room. A setting drawn before is drawn again, at most 100 times in all for one place; then the wave stays
    smaller.
    """
    default = default_options(study, cell)
    settings = [default] if wave == 0 else []
    if not searchable(cell.method):
        return settings
    seen = {_key(result.options) for result in earlier} | {_key(default)}
    for options in warm if wave == 0 else ():
        if len(settings) < study.search.wave and _key(options) not in seen and lies_in_space(study, cell, options):
            seen.add(_key(options))
            settings.append(dict(options))
    optuna_study = _rebuild(study, cell, wave, earlier)
    while len(settings) < study.search.wave:
        for _ in range(REDRAWS):
            options = suggest(study, cell, optuna_study.ask())
            if _key(options) not in seen:
                break
        else:
            return settings
        seen.add(_key(options))
        settings.append(options)
    return settings


def seed_of(study: Study, cell: Cell, wave: int) -> int:
    """The sampler's seed: a function of the study's name, the cell and the wave."""
    text = json.dumps([study.name, *cell, wave])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _rebuild(study: Study, cell: Cell, wave: int, earlier: Sequence[Result]) -> optuna.Study:
    """An in-memory Optuna study that has been told every earlier trial."""
    startup = study.search.wave
    sampler = optuna.samplers.TPESampler(seed=seed_of(study, cell, wave), n_startup_trials=startup)
    rebuilt = optuna.create_study(direction="maximize", sampler=sampler)
    for result in earlier:
        rebuilt.add_trial(_told(study, cell, result))
    return rebuilt


def _told(study: Study, cell: Cell, result: Result) -> optuna.trial.FrozenTrial:
    """A trial as Optuna is told it: its parameters are read back by running the space on the setting."""
    replay = FixedTrial(dict(result.options))
    suggest(study, cell, replay)
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    state = states[result.status]
    return create_trial(
        state=state,
        params=replay.params,
        distributions=replay.distributions,
        intermediate_values={} if state == TrialState.FAIL else dict(result.scores),
        value=result.scores[-1][1] if state == TrialState.COMPLETE else None,
    )
