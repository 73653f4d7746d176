"""What was predicted of a study when it began, beside what it has cost."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis import ledger, storage
from analysis.cost import device_hours
from analysis.schema import PHASES, LedgerError
from sweeps.costs.forecast import Forecast
from sweeps.looking.words import number
from sweeps.planning.planner import Planner
from sweeps.study import Study

FILE, VERSION = "forecast.json", 1


def remember(folder: Path, planner: Planner, predicted: Forecast) -> None:
    """Keep the first forecast for what the planner is to do; a later one for the same content is not kept.

    Raises LedgerError where the storage refuses.
    """
    key, known = content_of(planner.scope), _read(folder)
    if key in known:
        return
    known[key] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "device_hours": {phase.name: phase.expected for phase in predicted.phases},
        "before_pruning": {phase.name: phase.before for phase in predicted.phases},
        "sources": dict(predicted.sources),
        "slots": predicted.slots,
        "share": predicted.share,
    }
    text = json.dumps({"version": VERSION, "forecasts": known}, indent=1) + "\n"
    storage.write_file(folder, FILE, text.encode())


def predicted_against_actual(folder: Path, planner: Planner) -> str:
    """A table: the device-hours of each phase as predicted when this content of the study began, and as they were.

    Empty where nothing was predicted. Only runs that the planner's part of the study asks for count.
    """
    stored = _read(folder).get(content_of(planner.scope))
    if stored is None:
        return ""
    predicted, actual = stored["device_hours"], _actual(folder, planner)
    lines = [f"{'device-hours':12}{'predicted':>12}{'actual':>12}{'actual / predicted':>21}"]
    for name in (*PHASES, "total"):
        before = sum(predicted.values()) if name == "total" else predicted.get(name, 0.0)
        after = sum(actual.values()) if name == "total" else actual[name]
        if before or after:
            ratio = f"{after / before:.2f}" if before else ""
            lines.append(f"{name:12}{number(before):>12}{number(after):>12}{ratio:>21}")
    return "\n".join(lines)


def content_of(study: Study) -> str:
    """What identifies the work of a study: all of it but the share of a GPU, and where teachers' files lie."""
    values = study.to_dict()
    del values["gpu_share"]
    for source in values["teachers"].values():
        if "sha256" in source:
            del source["path"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _actual(folder: Path, planner: Planner) -> dict[str, float]:
    runs = ledger.read_runs(folder, columns=("run_id", "phase", "seconds", "workers", "device"))
    wanted = {run_id for unit in planner.units.values() for run_id in unit.runs}
    runs = runs[runs["run_id"].isin(wanted)]
    spent = device_hours(runs, planner.study.gpu_share or 1.0)
    return {name: float(spent[runs["phase"] == name].sum()) for name in PHASES}


def _read(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(storage.read_file(folder, FILE) or b"{}")
        return dict(values["forecasts"]) if values["version"] == VERSION else {}
    except (LedgerError, ValueError, KeyError, TypeError):
        return {}
