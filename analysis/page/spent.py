"""What a study has cost, beside what was predicted when it began."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.cost import device_hours, money
from analysis.frames import Frames
from analysis.schema import PHASES, LedgerError
from analysis.storage import Folder, read_file
from analysis.words import counted, duration

_FORECAST = "forecast.json"


def spent(frames: Frames) -> dict[str, Any]:
    """`rows`: phase, runs, hours, predicted, ratio as text, last the total; `notes`: money, energy, losses in words.
    `predicted`: when the shown forecast was written, empty without one."""
    runs = frames.runs
    hours = device_hours(runs, frames.gpu_share).groupby(runs["phase"]).sum()
    counts = runs["phase"].value_counts()
    forecast = read_forecast(frames.place)
    expected: Mapping[str, Any] = forecast.get("device_hours", {})
    rows = [
        _row(phase, int(counts.get(phase, 0)), float(hours.get(phase, 0.0)), expected.get(phase))
        for phase in PHASES
        if phase in counts.index or expected.get(phase)
    ]
    whole = sum(expected.values()) if expected else None
    rows.append(_row("total", len(runs), float(hours.sum()), whole))
    written = str(forecast.get("written", "")).replace("T", " ").replace("+00:00", " UTC")
    sources = ", ".join(f"{count} from {name}" for name, count in forecast.get("sources", {}).items())
    return {"rows": rows, "notes": _notes(frames, float(hours.sum())), "predicted": written, "sources": sources}


def read_forecast(place: Folder) -> dict[str, Any]:
    """The last forecast in the study's folder, as `sweeps.costs.predicted` writes it; empty where there is none that
    can be read. The last one is that of the study as it was asked for last."""
    try:
        values = json.loads((read_file(place, _FORECAST) if place else None) or b"{}")
        last = max(values["forecasts"].values(), key=lambda forecast: str(forecast["written"]))
        hours = {str(phase): float(value) for phase, value in last["device_hours"].items()}
        return {"written": str(last["written"]), "device_hours": hours, "sources": dict(last.get("sources", {}))}
    except (LedgerError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _row(phase: str, runs: int, hours: float, expected: float | None) -> dict[str, str]:
    row = {"phase": phase, "runs": f"{runs:,}", "hours": _hours(hours), "predicted": "–", "ratio": "–"}
    if expected:
        row |= {"predicted": _hours(expected), "ratio": f"{hours / expected:.2f}"}
    return row


def _hours(hours: float) -> str:
    return f"{hours:.3f}" if hours < 1 else f"{hours:,.2f}"


def _notes(frames: Frames, hours: float) -> list[str]:
    runs = frames.runs
    notes = []
    if frames.price is not None:
        notes.append(f"Money: {money(hours, frames.price)}.")
    joules = float(runs["energy_joules"].astype(float).sum())
    known = int(runs["energy_joules"].notna().sum())
    energy = f"Energy: {joules / 3.6e6:.2f} kWh in the {known:,} of {len(runs):,} runs of which it is known."
    notes.append(energy if known else "Energy: not known on these devices.")
    began, ended = runs["started"].min(), runs["ended"].max()
    if pd.notna(began) and pd.notna(ended):
        notes.append(f"From the first run's start to the last one's end: {duration((ended - began).total_seconds())}.")
    retries, preemptions = (int(runs[name].fillna(0).sum()) for name in ("retries", "preemptions"))
    if retries or preemptions:
        notes.append(f"Processes lost: {retries}, and {preemptions} more by preemption.")
    fitted = int(runs["memory_measures"].notna().sum())
    if fitted:
        notes.append(
            f"Made to fit the device's memory: {counted(fitted, 'run')}, not claimed to be equal bit for bit to others."
        )
    return notes
