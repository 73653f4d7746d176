"""The bytes of a study's folder: at their peak and at the end, by what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

from sweeps.costs.expect import Size
from sweeps.engine.kept import KEEP, Keep, outlives
from sweeps.planning.planner import Planner
from sweeps.planning.units import Key

RECORD_BYTES = 40_000
"""A run's two tables in the ledger, about."""


@dataclass(frozen=True)
class Disk:
    """Bytes by `--keep`: `peak` is the most at any time, `end` what stays."""

    peak: Mapping[Keep, int]
    end: Mapping[Keep, int]


def disk(planner: Planner, sizes: Mapping[Key, Size], fetched: int, slots: int = 0) -> Disk | None:
    """What the whole study takes; None where the size of a run is unknown. `fetched`: given teachers; `slots`: runs at
    a time.

    At the peak every cell's wave is taken to wait at its first rung with a checkpoint for each of its runs, while each
    slot writes a checkpoint beside the last two: no order of the work takes more.
    """
    if any(key not in sizes for key in planner.units):
        return None
    kept: Counter[Keep] = Counter(dict.fromkeys(KEEP, fetched))
    held: Counter[Keep] = Counter(dict.fromkeys(KEEP, fetched))
    waiting = 0
    for key in planner.units:
        size = sizes[key]
        for keep in KEEP:
            kept[keep] += size.student * sum(_kept(planner, key, keep).values())
            held[keep] += size.student * sum(_students(planner, key, keep).values())
        waiting += size.checkpoint * _paused(planner, key)
    records = RECORD_BYTES * sum(planner.counts()[1:])
    largest = max((sizes[key].checkpoint for key in planner.units), default=0)
    running = 3 * max(1, slots) * largest if any(unit.left for unit in planner.units.values()) else 0
    return Disk(
        peak={keep: held[keep] + waiting + running + records for keep in KEEP},
        end={keep: kept[keep] + records for keep in KEEP},
    )


def _runs(planner: Planner, key: Key) -> dict[str, int]:
    """The runs of a unit by phase, without those that another unit asked for before."""
    unit = planner.counted(key)
    name = "confirm" if key.kind == "cell" else key.kind
    if not _searches(planner, key):
        return {name: len(unit.runs) + unit.unknown_runs}
    confirmed, tried = (len(known) + unknown for known, unknown in (unit.confirmations(), unit.exchanges()))
    search = len(unit.runs) + unit.unknown_runs - confirmed - tried
    return {"search": search, name: confirmed, "exchange": tried}


def _searches(planner: Planner, key: Key) -> bool:
    return not key.awaited and planner.scope.searches(key.cell.method)


def _students(planner: Planner, key: Key, keep: Keep) -> dict[str, int]:
    """How many runs of a unit leave a student when they end, by phase."""
    study, found = planner.scope, _runs(planner, key)
    search = study.search
    if _searches(planner, key):
        rungs = search.epochs(study.epochs(key.cell))
        finalists = [search.finalists(rungs, wave) for wave in range(search.trials // search.wave)]
        found["search"] = min(found["search"], sum(finalists))
    return {phase: count for phase, count in found.items() if outlives(keep, phase)}


def _kept(planner: Planner, key: Key, keep: Keep) -> dict[str, int]:
    """How many of them stay when the study is complete: of `best`, one for each setting."""
    found = _students(planner, key, keep)
    if keep != "best":
        return found
    settings = 2 if key.kind == "cell" and planner.scope.search.trials else 1
    return {phase: min(count, settings) for phase, count in found.items()}


def _paused(planner: Planner, key: Key) -> int:
    """How many runs of a unit may wait at a rung at once."""
    search, unit = planner.scope.search, planner.units[key]
    rungs = search.epochs(planner.scope.epochs(key.cell)) if _searches(planner, key) else ()
    searching = len(rungs) > 1 and unit.confirmations()[1] > 0
    at_once = search.wave if isclose(search.ahead, 1) else search.trials
    return min(at_once, search.trials, _runs(planner, key)["search"]) if searching else 0
