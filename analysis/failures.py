"""What went wrong and what was done about it, in words: runs that failed, and runs that had to be made to fit."""

from __future__ import annotations

import pandas as pd

from analysis.schema import FAILURES
from analysis.words import few, markdown

_MESSAGE = 100
_RUN = ["teacher", "student", "method", "seed", "run_id"]


def failures(runs: pd.DataFrame) -> str:
    """The runs that failed or diverged, by class: how many, which cells, the first message; empty without any."""
    failed = runs[runs["status"].isin(("failed", "diverged"))]
    rows = []
    for kind in FAILURES:
        group = failed[failed["failure_class"] == kind].sort_values(_RUN)
        if len(group):
            retry = "diverged" if kind == "diverged" else "failed"
            message = next(iter(group["message"].dropna()), "")
            shown = message if len(message) <= _MESSAGE else message[: _MESSAGE - 1] + "…"
            cells = {"failure": kind, "runs": str(len(group)), "cells": few(_names(group))}
            rows.append(cells | {"first message": shown, "to run them again": f"--retry {retry}"})
    text = "Runs that failed, by kind. Their records stay until the study's command is given with --retry."
    return f"{text}\n\n{markdown(pd.DataFrame(rows))}" if rows else ""


def fitted(runs: pd.DataFrame) -> str:
    """The runs whose memory did not suffice at first, by what was done; empty without any."""
    rows = runs[runs["memory_measures"].notna()].sort_values(_RUN)
    lines = [
        f"- {measures}, {len(group)} of {len(runs)} runs: {few(_names(group))}"
        for measures, group in rows.groupby("memory_measures")
    ]
    text = "Made to fit the device's memory, and therefore not claimed to be equal bit for bit to runs that were not:"
    return "\n".join([text, "", *lines]) if lines else ""


def _names(runs: pd.DataFrame) -> list[str]:
    """What each run is, in words."""
    return [
        f"{teacher} → {student} {method}" if teacher else f"{student} as {phase}"
        for teacher, student, method, phase in runs[["teacher", "student", "method", "phase"]].to_numpy()
    ]
