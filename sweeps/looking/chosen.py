"""Which run stands for a cell: of all seeds and settings the one that is best on validation after its last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import ledger
from analysis.definition import below
from analysis.schema import LedgerError
from analysis.words import few
from pat.kept import STUDENT

COLUMNS = ("teacher", "student", "method", "seed", "score", "run_id", "file")


def best(folder: Path) -> pd.DataFrame:
    """Of each student, teacher and method the finished run with the best score on validation, after the last epoch,
    with its student's file where that was kept."""
    runs = ledger.read_runs(folder)
    done = runs[(runs["status"] == "finished") & runs["phase"].isin(("scratch", "confirm"))].copy()
    done["score"] = done["val_last_ema"].fillna(done["val_last_raw"])
    order = done.sort_values(["score", "seed"], ascending=[False, True], kind="stable")
    found = order.drop_duplicates(["teacher", "student", "method"]).sort_values(["student", "teacher", "method"])
    files = [folder / "runs" / run_id / STUDENT for run_id in found["run_id"]]
    found["file"] = [str(file) if file.exists() else "" for file in files]
    return found[list(COLUMNS)].reset_index(drop=True)


def chosen(folder: Path, cell: str) -> Mapping[str, Any]:
    """The row of `best` of a cell `teacher:student:method` (of scratch `:student:scratch`), or of the run with this id.

    Raises LedgerError where there is no such cell or run, or its student was not kept.
    """
    rows = best(folder)
    names = [f"{row['teacher']}:{row['student']}:{row['method']}" for row in rows.to_dict("records")]
    if cell in names:
        row = {str(key): value for key, value in rows.iloc[names.index(cell)].to_dict().items()}
    else:
        found = ledger.read_run(folder, cell) if cell.isalnum() else None
        if found is None or found["status"] != "finished":
            here = f"; here are {few(names)}" if names else f"; nothing here has finished{below(folder)}"
            raise LedgerError(f"{cell!r}: a cell as teacher:student:method, or the id of a finished run{here}")
        path = folder / "runs" / cell / STUDENT
        row = {**found, "file": str(path) if path.exists() else ""}
    if not row["file"]:
        raise LedgerError(f"the student of run {row['run_id']} was not kept (--keep)")
    return row
