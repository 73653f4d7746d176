"""For each student the teacher and method to take: chosen on validation, judged on the test set, with what it costs."""

from __future__ import annotations

import pandas as pd

from analysis.cells import family_order
from analysis.choice import choose
from analysis.cost import whole_hours
from analysis.frames import Frames
from analysis.tables import INT, REAL, TEXT, register_table

_CELL = ["teacher", "student", "method", "setting"]
_KEPT = {"gain_over_scratch": "gain", "gain_over_scratch_low": "low", "gain_over_scratch_high": "high"}


@register_table(
    "best",
    3,
    title="For each student: which teacher, which method",
    note="The cell that its validation scores would have chosen among all teachers and methods of the student; "
    "chosen_on says which scores. Gain and interval are those of the test set: other seeds, this very test set. Costs "
    "are multiples of one scratch run of the student, without the teacher's own training.",
    columns={
        "student": (TEXT, "timm name"),
        "teacher": (TEXT, "timm name"),
        "method": (TEXT, "how it was distilled"),
        "setting": (TEXT, "default or tuned"),
        "gain": (REAL, "gain over scratch, {points}"),
        "low": (REAL, "95 % interval, other seeds on this very test set"),
        "high": (REAL, "its upper end"),
        "verdict": (TEXT, "helps, does not matter, not known or hurts"),
        "score_mean": (REAL, "test {short}, percent"),
        "scratch_mean": (REAL, "test {short} of the scratch runs of the same seeds, percent"),
        "n": (INT, "seeds of the gain"),
        "run_cost": (REAL, "device-hours of one run over those of one scratch run"),
        "whole_cost": (REAL, "the same with the cell's search"),
        "choices": (INT, "teachers and methods it was chosen among"),
        "chosen_on": (TEXT, "the search (another seed), validation (these runs), or the test set (too good)"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per student with a gain, families in their order."""
    found = choose(frames, ["student"]).rename(columns=_KEPT)
    found = found.merge(relative_costs(frames), how="left", on=_CELL)
    return found.sort_values(["student_family", "student"], key=family_order, ignore_index=True)[list(_COLUMNS)]


_COLUMNS = (
    "student", "teacher", "method", "setting", "gain", "low", "high", "verdict", "score_mean", "scratch_mean", "n",
    "run_cost", "whole_cost", "choices", "chosen_on",
)  # fmt: skip


def relative_costs(frames: Frames) -> pd.DataFrame:
    """Per cell (teacher, student, method, setting) what a run costs over a scratch run of the student, `run_cost`, and
    with the search of the cell, `whole_cost`; NaN where a time is not known."""
    runs = frames.runs[frames.runs["status"] == "finished"]
    hours = pd.Series(whole_hours(runs, frames.gpu_share).to_numpy(), pd.Index(runs["run_id"]))
    rows = frames.matrix.assign(hours=frames.matrix["run_id"].map(hours).astype(float))
    scratch = rows[rows["setting"] == "scratch"].groupby("student")["hours"].mean()
    mean = rows[rows["setting"] != "scratch"].groupby(_CELL)["hours"].mean().rename("run").reset_index()
    search = frames.table("costs").set_index(_CELL[:3])["search_hours"].rename("search").reset_index()
    found = mean.merge(search, how="left", on=_CELL[:3])
    base = found["student"].map(scratch)
    whole = found["run"] + found["search"].fillna(0.0) * (found["setting"] == "tuned")
    return found.assign(run_cost=found["run"] / base, whole_cost=whole / base)[[*_CELL, "run_cost", "whole_cost"]]
