"""What runs that are trained together save of the time that each takes alone (`planning.together`)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import timm

from pat.config import RunConfig
from sweeps.planning.together import common, group_size
from sweeps.planning.units import Key
from sweeps.study import SCRATCH, Study


class Alone(NamedTuple):
    """Seconds of an epoch of a run by itself; of these, those that its views and its teacher's plain passes take."""

    seconds: float
    views: float = 0.0
    plain: float = 0.0

    def together(self, shares: Shares) -> float:
        """The seconds of the same epoch in groups of such a size."""
        return self.seconds - self.views * (1 - shares.views) - self.plain * (1 - shares.plain)


class Shares(NamedTuple):
    """The share of a run in the views that it sees and in the passes of its teacher: one divided by how many they are
    made for, on average over its epochs."""

    views: float = 1.0
    plain: float = 1.0


class _Stage(NamedTuple):
    """Runs of a unit that may stand at one place at once, and the epochs of all that pass it."""

    phase: str
    name: str
    runs: int
    epochs: int
    alike: int = 1


def shares(study: Study, runs: Mapping[Key, RunConfig], slots: int, most: int) -> dict[Key, Shares]:
    """Of each unit (`expect.configs`), on so many slots and with at most so many runs in a process.

    Those count that wait at one place of their training while everything is ready that can be, which is so where work
    is plenty for the slots: the settings of all cells at one rung of a wave, the confirmations of all cells under a
    seed. They are handed out as the driver does it; those of one teacher and student first.
    """
    if most == 1:
        return {}
    ones = {key: run for key, run in runs.items() if study.workers_of(key.cell.method) == 1}
    stages = {key: [(stage, _place(stage, run)) for stage in _stages(study, key, run)] for key, run in ones.items()}
    ready: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for key, found in stages.items():
        for stage, place in found:
            ready[place][key.cell.teacher] += stage.runs
    waiting: Counter[tuple[str, str]] = Counter()
    for found in stages.values():
        for stage, _ in found:
            waiting[stage.phase, stage.name] += stage.runs * stage.alike
    size = {place: count / _groups(count, max(1, slots), most) for place, count in waiting.items()}

    def mean(key: Key) -> Shares:
        views = plain = 0.0
        for stage, place in stages[key]:
            views += stage.epochs * _share(ready[place].total(), size[stage.phase, stage.name])
            plain += stage.epochs * _share(ready[place][key.cell.teacher], size[stage.phase, stage.name])
        epochs = sum(stage.epochs for stage, _ in stages[key])
        return Shares(views / epochs, plain / epochs)

    return {key: mean(key) for key in stages}


def _share(ready: int, size: float) -> float:
    """Groups a run, of so many in groups of a mean size."""
    return math.ceil(ready / size) / ready


def _groups(ready: int, slots: int, most: int) -> int:
    """Into how many groups runs go that are ready at once."""
    count = 0
    while ready > 0:
        ready -= group_size(ready, slots, most)
        count += 1
    return count


def _place(stage: _Stage, run: RunConfig) -> Hashable:
    """Runs at one place may be in one group and see the same views there."""
    return stage.phase, stage.name, common(replace(run, seed=0)), run.recipe.epochs, _statistics(run.student)


@lru_cache(maxsize=256)
def _statistics(name: str) -> Hashable:
    """By which a model's images are normalised."""
    cfg = timm.get_pretrained_cfg(name)
    return (cfg.mean, cfg.std) if cfg else ()


def _stages(study: Study, key: Key, run: RunConfig) -> Iterator[_Stage]:
    """What a unit's runs come to, one after the other."""
    full, search = run.recipe.epochs, study.search
    searched = study.searches(key.cell.method)
    if key.kind == "pretrain":
        yield _Stage(key.kind, "", search.wave if searched else 1, full * (search.trials if searched else 1))
        return
    if key.kind == "teacher":
        yield _Stage(key.kind, "", 1, full)
        return
    if searched:
        waves, alive, before = search.trials // search.wave, search.wave, 0
        for rung in search.epochs(full):
            yield _Stage(key.kind, f"search to {rung}", alive, waves * alive * (rung - before))
            alive, before = search.going_on(alive, default=False), rung
    settings, seeds = (2 if searched and key.cell.method != SCRATCH else 1), len(study.confirming)
    yield _Stage(key.kind, "confirm", settings, settings * full * seeds, seeds)
