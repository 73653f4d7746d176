"""Which of several cells one would have taken: chosen on validation images, so that the test set judges the choice."""

from __future__ import annotations

import pandas as pd

from analysis.cells import join, main_setting
from analysis.frames import Frames
from analysis.schema import WEIGHTS

_CELL = ["teacher", "student", "method", "setting"]
SEARCH, CONFIRMED, TEST = "the search", "validation", "the test set"
"""What a choice was made on: the best validation score of the cell's search, which is another seed than those that are
confirmed; the mean validation score of these very runs; or, where no run kept validation images, the test score, whose
best is too good."""


def choose(frames: Frames, by: list[str], without: str = "") -> pd.DataFrame:
    """Of the main setting's cells with a gain, but for those of the method `without`, the best of each teacher, student
    or pair (`by`): its row of the table of cells, with `chosen_on` and `choices` (among how many)."""
    cells = frames.cells[frames.cells["setting"] == main_setting(frames.cells)].dropna(subset="gain_over_scratch")
    cells = cells[cells["method"] != without]
    searched = frames.table("trials").groupby(_CELL[:3])["best"].max().rename("searched").reset_index()
    rows = cells.merge(searched, how="left", on=_CELL[:3]).merge(_confirmed(frames), how="left", on=_CELL)
    ways = {SEARCH: "searched", CONFIRMED: "confirmed", TEST: "score_mean"}
    on, column = next(way for way in ways.items() if rows[way[1]].notna().all())
    rows = rows.assign(chosen_on=on, choices=rows.groupby(by)["method"].transform("size"))
    best = rows.sort_values(column, ascending=False, kind="stable").drop_duplicates(by)
    return best.sort_index().drop(columns=["searched", "confirmed"]).reset_index(drop=True)


def _confirmed(frames: Frames) -> pd.DataFrame:
    """Of each cell the mean validation score of its finished runs at the last epoch, under the weights shown."""
    rows = join(frames.matrix, frames.runs).query("setting != 'scratch' and status == 'finished'")
    runs = frames.runs.set_index("run_id")
    scores = {kind: rows["run_id"].map(runs[f"val_last_{kind}"]).astype(float) for kind in WEIGHTS}
    shown = scores["ema"].where(rows["weights"] == "ema", scores["raw"])
    return shown.groupby([rows[name] for name in _CELL]).mean().rename("confirmed").reset_index()
