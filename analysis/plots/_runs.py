"""The runs whose epochs are drawn."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.labels import shorten


def shown_runs(frames: Frames) -> pd.DataFrame:
    """Per pair those of each method's tuned setting (the default one where nothing is tuned) and the student's scratch
    runs: pair (position, families in their order), teacher, student (labels), method, setting, run_id, weights."""
    matrix, cells = frames.matrix, frames.cells
    pairs = cells[["teacher", "student"]].drop_duplicates().reset_index(drop=True)
    teachers, students = shorten(pairs["teacher"]), shorten(pairs["student"])
    pairs["pair"] = range(len(pairs))
    tuned = set(matrix.loc[matrix["setting"] == "tuned", "method"])
    wanted = matrix["method"].map(lambda method: "tuned" if method in tuned else "default")
    shown = matrix[(matrix["setting"] == wanted) & matrix["run_id"].notna()].merge(pairs, on=["teacher", "student"])
    scratch = matrix[(matrix["setting"] == "scratch") & matrix["run_id"].notna()].drop(columns="teacher")
    rows = pd.concat([shown, scratch.merge(pairs, on="student")], ignore_index=True)
    columns = ["pair", "teacher", "student", "method", "setting", "run_id", "weights"]
    return rows.assign(teacher=rows["teacher"].map(teachers), student=rows["student"].map(students))[columns]
