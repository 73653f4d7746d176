"""What a study would do and cost: told to a person by `plan_text`, here to a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.costs.expect import Expected, expect
from sweeps.costs.forecast import Forecast, forecast
from sweeps.engine.kept import Keep
from sweeps.engine.siblings import Found, adoptable
from sweeps.planning.planned import rungs_of
from sweeps.planning.planner import Planner
from sweeps.planning.units import ENDED, Key
from sweeps.planning.unsynced import unsynced_models
from sweeps.planning.view import read_state, read_view
from sweeps.study import SCRATCH, Study
from sweeps.waves import read_waves


class Plan(NamedTuple):
    """What there is to do, what each run takes, the sum of it, and what is taken over from other studies."""

    planner: Planner
    expected: Expected
    found: Forecast
    adopted: list[tuple[Key, Found]]


def planned(
    study: Study,
    asked: Study,
    folder: Path,
    *,
    device: str = "",
    gpus: bool = False,
    slots: int = 0,
    share: float = 1.0,
    memory: int = 0,
    most: int | None = None,
    data_root: Path = Path("data"),
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """The plan of the part `asked` of `study`, given what its folder holds: runs, times, probes. Changes nothing.

    `device`: the kind of device whose times are wanted (`probe.device_name`; empty: none is there). `gpus`: whether
    it is, or would be, a GPU. `slots`: runs of one worker at a time (0: unknown), each on `share` of a device, with
    `memory` bytes (0: unknown). `most`: so many runs at most share a process, where that is not left to the memory.
    What takes seconds is told `say`.
    """
    planner, adopted = planner_of(study, asked, folder, gpus)
    where = folder, device, gpus, share, data_root, slots, most, memory
    expected = expect(planner.scope, *where, say=say, counting=not planner.complete)
    return Plan(planner, expected, forecast(planner, expected, slots, share), adopted)


def planner_of(study: Study, asked: Study, folder: Path, gpus: bool = False) -> tuple[Planner, list[tuple[Key, Found]]]:
    """That of the part `asked` of `study` as its folder is, and what it would take over from other studies."""
    view, waves = read_view(folder, rungs_of(study)), read_waves(folder)
    planner = Planner(study, view, unsynced_models(study, gpus), asked, waves=waves)
    adopted = list(adoptable(folder, planner))
    for _, run in adopted:
        planner.update(run.run_id, read_state(run.folder, run.run_id))
    return planner, adopted


def plan_facts(
    study: Study, asked: Study, folder: Path, *, price: float | None = None, keep: Keep = "all", **given: Any
) -> dict[str, Any]:
    """`planned` as JSON values: hours of devices, seconds, bytes; null where something is not known."""
    planner, expected, found, adopted = planned(study, asked, folder, **given)
    speeds, total = expected.speeds, found.total
    units = [
        {
            "kind": key.kind,
            "teacher": key.cell.teacher,
            "student": key.cell.student,
            "method": key.cell.method,
            "runs": len(unit.runs) + unit.unknown_runs,
            "done": sum(status in ENDED for status in unit.runs.values()),
            "seconds_an_epoch": None if speeds.source(key) == "none" else speeds.seconds(key),
            "source": speeds.source(key),
            "peak_memory": expected.probes[key].peak_bytes if key in expected.probes else None,
        }
        for key, unit in planner.units.items()
    ]
    return {
        "study": study.name,
        "folder": str(folder),
        "pairs": [list(pair) for pair in asked.pairs],
        "methods": [SCRATCH, *asked.methods],
        "phases": [{**asdict(phase), "expected": phase.expected} for phase in (*found.phases, total)],
        "units": units,
        "adopted": [run.run_id for _, run in adopted],
        "device": expected.device or None,
        "slots": found.slots or None,
        "share_of_device": found.share,
        "chain_seconds": found.chain_seconds,
        "wall_seconds": list(found.wall_seconds()) if found.slots else None,
        "disk_peak": None if found.disk is None else found.disk.peak[keep],
        "disk_end": None if found.disk is None else found.disk.end[keep],
        "money_left": None if price is None else total.left * price,
        "does_not_fit": [str(one.key) for one in found.unfit],
    }
