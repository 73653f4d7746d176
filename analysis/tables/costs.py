"""What each cell, each scratch baseline and each teacher has cost."""

from __future__ import annotations

import pandas as pd

from analysis.cost import device_hours, preceding, whole_hours
from analysis.frames import Frames
from analysis.tables import INT, REAL, TEXT, register_table

_CELL = ["teacher", "student", "method"]


@register_table(
    "costs",
    55,
    title="What it has cost",
    note="One row for each cell, then the scratch baselines and the teachers' own training. Hours are device-hours: of "
    "a GPU, or of the CPUs of one run. The column hours adds up to what the study has spent; teacher_hours is shared "
    "by all cells of a teacher and counts in the teacher's own row only.",
    columns={
        "teacher": (TEXT, "timm name; empty for scratch"),
        "student": (TEXT, "timm name; empty for a teacher's own training"),
        "method": (TEXT, "how it was distilled; scratch; teacher"),
        "search_runs": (INT, "trials of the search, whatever became of them, and pre-trainings of theirs alone"),
        "search_hours": (REAL, "theirs, device-hours"),
        "confirm_runs": (INT, "all other runs: confirmations, their pre-trainings, scratch, a teacher's own"),
        "confirm_hours": (REAL, "theirs, device-hours"),
        "hours": (REAL, "both together, device-hours"),
        "hours_per_run": (REAL, "mean of the finished ones, each with the pre-training it begins with, device-hours"),
        "teacher_hours": (REAL, "of the teacher's own training, device-hours"),
        "seconds_per_epoch": (REAL, "median over the row's runs, scoring included, s"),
        "peak_memory": (REAL, "largest, bytes of the device's memory"),
        "energy_joules": (REAL, "sum of what is known, J"),
        "retries": (INT, "runs begun again after a process was lost"),
        "preemptions": (INT, "losses that do not count as retries"),
        "money": (REAL, "hours times the price of a device-hour"),
    },
    shown=(
        "teacher", "student", "method", "search_runs", "search_hours", "confirm_runs", "confirm_hours", "hours_per_run",
        "teacher_hours", "seconds_per_epoch", "money",
    ),
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per teacher, student and method; scratch has teacher "", a teacher's own training student "" and method
    "teacher". Rows in the order cells, scratch, teachers, each by name.

    Columns: search_runs, search_hours (pre-trainings with which trials alone begin among them); confirm_runs,
    confirm_hours (all other runs: confirmations, their pre-trainings, scratch, a teacher's own); hours (both together);
    hours_per_run (mean of the finished ones among the latter, each with the pre-training it begins with);
    teacher_hours (of the teacher's own training, shared by all its cells and therefore in no cell's hours; NaN where it
    was not trained here); seconds_per_epoch (median over the row's runs, scoring included); peak_memory (bytes of the
    device, maximum); energy_joules (sum of what is known); retries, preemptions; money (hours x price). Hours are
    device-hours as in `analysis.cost`, of failed and pruned runs too: the column `hours` adds up to what the study has
    spent. NaN: not known.
    """
    runs = _named(frames)
    rows = runs[_CELL].drop_duplicates()
    rows = rows.assign(kind=(rows["method"] == "scratch") + 2 * (rows["method"] == "teacher"))
    rows = rows.sort_values(["kind", *_CELL], ignore_index=True)
    index = pd.MultiIndex.from_frame(rows[_CELL])
    searched = runs["phase"] == "search"
    begun = preceding(frames.runs)
    searched |= (runs["phase"] == "pretrain") & ~runs["run_id"].isin(begun[~searched])
    table = rows[_CELL].copy()
    for name, part in (("search", runs[searched]), ("confirm", runs[~searched])):
        hours = part.groupby(_CELL)["hours"].agg(["size", "sum"]).reindex(index)
        table[f"{name}_runs"] = hours["size"].fillna(0).astype(int).to_numpy()
        table[f"{name}_hours"] = hours["sum"].fillna(0.0).to_numpy()
    table["hours"] = table["search_hours"] + table["confirm_hours"]
    finished = runs[~searched & (runs["phase"] != "pretrain") & (runs["status"] == "finished")]
    table["hours_per_run"] = finished.groupby(_CELL)["whole"].mean().reindex(index).to_numpy()
    table["teacher_hours"] = _teacher_hours(table)
    table["seconds_per_epoch"] = _seconds_per_epoch(frames, runs).reindex(index).to_numpy()
    grouped = runs.groupby(_CELL)
    table["peak_memory"] = grouped["peak_memory"].max().astype(float).reindex(index).to_numpy()
    table["energy_joules"] = grouped["energy_joules"].sum(min_count=1).astype(float).reindex(index).to_numpy()
    for name in ("retries", "preemptions"):
        table[name] = grouped[name].sum().fillna(0).astype(int).reindex(index).to_numpy()
    table["money"] = table["hours"] * (float("nan") if frames.price is None else frames.price)
    return table


def _named(frames: Frames) -> pd.DataFrame:
    """The runs with their device-hours, a teacher's own under its name; numbers as floats, NaN where not known."""
    runs = frames.runs[["run_id", "phase", "status", *_CELL]].copy()
    runs["hours"] = device_hours(frames.runs, frames.gpu_share)
    runs["whole"] = whole_hours(frames.runs, frames.gpu_share)
    for name in ("peak_memory", "energy_joules", "retries", "preemptions"):
        runs[name] = pd.to_numeric(frames.runs[name], errors="coerce")
    own = runs["phase"] == "teacher"
    runs["teacher"] = runs["student"].where(own, runs["teacher"].fillna(""))
    runs["student"] = runs["student"].where(~own, "")
    runs["method"] = runs["method"].where(~own, "teacher")
    return runs


def _teacher_hours(table: pd.DataFrame) -> pd.Series:
    own = table[table["method"] == "teacher"].set_index("teacher")["hours"]
    return table["teacher"].map(own).astype(float)


def _seconds_per_epoch(frames: Frames, runs: pd.DataFrame) -> pd.Series:
    place = pd.Index(runs["run_id"]).get_indexer(pd.Index(frames.epochs["run_id"]))
    known = place >= 0
    cell = runs.groupby(_CELL).ngroup().to_numpy()[place[known]]
    seconds = frames.epochs["seconds"].astype(float)[known].groupby(cell).median()
    keys = runs[_CELL].drop_duplicates().sort_values(_CELL)
    return pd.Series(seconds.reindex(range(len(keys))).to_numpy(), pd.MultiIndex.from_frame(keys))
