"""What went wrong: runs that failed or diverged, by kind, cell and message."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.schema import FAILURES
from analysis.tables import INT, TEXT, register_table

_CELL = ["failure_class", "phase", "teacher", "student", "method", "message"]


@register_table(
    "failures",
    60,
    title="Failures",
    note="Runs that failed or diverged. Their records stay until the study's command is given with --retry.",
    columns={
        "failure_class": (TEXT, "oom, diverged, lost, data or bug"),
        "phase": (TEXT, "teacher, scratch, search, confirm or exchange"),
        "teacher": (TEXT, "timm name; empty without one"),
        "student": (TEXT, "timm name"),
        "method": (TEXT, "how it was distilled"),
        "message": (TEXT, "first line of the error"),
        "runs": (INT, "runs that ended so"),
        "first_run": (TEXT, "one of them"),
        "retry": (TEXT, "the flag that runs them again"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per kind, cell and message, in the order of FAILURES."""
    failed = frames.runs[frames.runs["status"].isin(("failed", "diverged"))].sort_values("run_id")
    rows = failed.groupby(_CELL, dropna=False).agg(runs=("run_id", "size"), first_run=("run_id", "first")).reset_index()
    rows["retry"] = "--retry " + rows["failure_class"].eq("diverged").map({True: "diverged", False: "failed"})
    place = {kind: number for number, kind in enumerate(FAILURES)}
    return rows.sort_values("failure_class", key=lambda column: column.map(place), kind="stable", ignore_index=True)
