"""Versions, hardware, failures and the command of a study, as rows of text for the page."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from analysis.frames import Frames
from analysis.page.matrix import records
from analysis.schema import FAILURES

_MESSAGE = 300
_RUNS = 5
_VERSIONS = {"torch": "torch", "timm": "timm", "python": "python", "pat_version": "pat", "git_commit": "git commit"}
_HARDWARE = {
    "device": "device",
    "cpu": "cpu",
    "host": "host",
    "workers": "workers a run",
    "threads": "threads a worker",
}

Rows = list[dict[str, Any]]


def versions(runs: pd.DataFrame) -> Rows:
    """{"name", "values": [(value, runs)]} of each program; several values where runs differ."""
    return _distinct(runs, _VERSIONS)


def hardware(runs: pd.DataFrame) -> Rows:
    """The same of devices, CPUs, machines, workers and threads."""
    return _distinct(runs, _HARDWARE)


def failed(runs: pd.DataFrame) -> Rows:
    """One row for each class of failure: how many runs, the first message, the first few runs, how to try again."""
    rows = []
    bad = runs[runs["status"].isin(("failed", "diverged"))]
    for kind in FAILURES:
        group = bad[bad["failure_class"] == kind].sort_values(["teacher", "student", "method", "seed", "run_id"])
        if len(group):
            message = str(next(iter(group["message"].dropna()), ""))
            row = {"kind": kind, "count": len(group), "message": message[:_MESSAGE]}
            row |= {"retry": f"--retry {'diverged' if kind == 'diverged' else 'failed'}"}
            rows.append(row | {"runs": [_run(run) for run in records(group.head(_RUNS))]})
    return rows


def failing(cells: pd.DataFrame) -> Rows:
    """The cells that lack seeds, by state and reason."""
    rows = []
    lacking = cells[(cells["status"] != "finished") | (cells["reason"] != "")]
    for (status, reason), group in lacking.groupby(["status", "reason"]):
        names = [f"{row.teacher} → {row.student} {row.method} {row.setting}" for row in group.itertuples()]
        rows.append({"status": status, "reason": reason, "cells": names})
    return rows


def reproduce(frames: Frames) -> list[str]:
    """The commands that compute the study and this report anew; empty where the driver left none."""
    command = frames.driver.command if frames.driver else ""
    if not command:
        return []
    commits = frames.runs["git_commit"].dropna().unique()
    checkout = len(commits) == 1 and re.fullmatch("[0-9a-f]{7,40}", str(commits[0]))
    python = "python " if command.split()[0].endswith(".py") else ""
    lines = [f"git checkout {commits[0]}"] if checkout else []
    return [*lines, f"{python}{command}", f"python -m analysis report {frames.place}".rstrip()]


def _run(run: dict[str, Any]) -> dict[str, str]:
    pair = f"{run['teacher']} → {run['student']}" if run["teacher"] else run["student"]
    return {"id": run["run_id"], "what": f"{pair} {run['method']} ({run['phase']}, seed {run['seed']})"}


def _distinct(runs: pd.DataFrame, names: dict[str, str]) -> Rows:
    rows = []
    for column, name in names.items():
        texts = runs[column].astype(object).where(runs[column].notna() & (runs[column].astype(str) != ""), "not known")
        counts = texts.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value)).value_counts()
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rows.append({"name": name, "values": ordered})
    return rows
