"""The readable report: Markdown whose columns are aligned, so that it also reads well in a terminal."""

from __future__ import annotations

import pandas as pd

from analysis.account import guessing
from analysis.cost import device_hours, money
from analysis.failures import failures, fitted
from analysis.frames import Frames
from analysis.metrics import Metric
from analysis.schema import PHASES
from analysis.stats import LEVEL
from analysis.tables import Table, list_tables
from analysis.tables.forms import text
from analysis.words import counted, few, markdown

_NONE = "–"


def overview(frames: Frames) -> str:
    """The whole text: progress, the table of cells and how to read it, failures, optimism of selection, cost."""
    parts = (
        heading(frames),
        markdown(readable(frames.cells, frames.metric)),
        unfinished(frames.cells),
        damaged(frames),
        legend(frames.cells, frames.metric),
        failures(frames.runs),
        fitted(frames.runs),
        methods(frames),
        optimism(frames),
        cost(frames),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def heading(frames: Frames) -> str:
    """Study, data set and progress; and what digits does not show."""
    counts = frames.cells["status"].value_counts()
    done = int(counts.get("finished", 0))
    others = ", ".join(f"{counts[state]} {state}" for state in sorted(counts.index) if state != "finished")
    progress = f"Cells finished: {done} of {len(frames.cells)}" + (f"; {others}." if others else ".")
    lines = [f"# {frames.study}", "", f"Data set {frames.data}. {progress}"]
    if account := frames.account.get("account"):
        lines += ["", f"Images: {account}."]
    if text := guessing(frames):
        lines += ["", text]
    if frames.data == "digits":
        lines += ["", "Digits shows that the system works. It is far too small to prove anything about PAT."]
    return "\n".join(lines)


def readable(cells: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """One row per pair and method, tuned and default setting side by side where both occur; all values are text."""
    rows, present = [], set(cells["setting"])
    for (teacher, student, method), group in cells.groupby(["teacher", "student", "method"], sort=False):
        most = group.sort_values("n", kind="stable").iloc[-1]
        own = _number(group["teacher_score"].max())
        row = {"teacher": teacher, f"teacher {metric.short}": own, "student": student, "method": method}
        row |= {"scratch": _score(most["scratch_mean"], most["scratch_std"])}
        for setting in (name for name in ("tuned", "default") if name in present):
            found = group[group["setting"] == setting]
            row |= _setting(setting, found.iloc[0] if len(found) else None)
        rows.append(row)
    return pd.DataFrame(rows)


def methods(frames: Frames) -> str:
    """The methods over all pairs that every one of them has finished; empty where there are fewer than two pairs."""
    table = _table(frames, "methods")
    frame = frames.table(table.name)
    return f"{table.title}. {table.note}\n\n{markdown(text(table, frame))}" if frame["pairs"].max() > 1 else ""


def optimism(frames: Frames) -> str:
    """What choosing the epoch on the test set would have added; empty where nothing is finished."""
    table = _table(frames, "optimism")
    frame = frames.table(table.name)
    return f"{table.title}. {table.note}\n\n{markdown(text(table, frame))}" if len(frame) else ""


def _table(frames: Frames, name: str) -> Table:
    return next(table for table in list_tables(frames.metric) if table.name == name)


def unfinished(cells: pd.DataFrame) -> str:
    """The cells without all of their seeds, by reason; empty where there are none."""
    open_cells = cells[(cells["status"] != "finished") | (cells["reason"] != "")]
    lines = []
    for (status, reason), group in open_cells.groupby(["status", "reason"]):
        names = [f"{row.teacher} → {row.student} {row.method} {row.setting}" for row in group.itertuples()]
        why = ": ".join(part for part in (str(status), str(reason)) if part)
        lines.append(f"- {why}: {few(names)}")
    return "\n".join(["Cells that lack seeds:", "", *lines]) if lines else ""


def damaged(frames: Frames) -> str:
    """The files that could not be read and were left out; empty where there are none."""
    lines = [f"- {error}" for error in frames.damaged]
    return "\n".join(["Damaged files, left out:", "", *lines]) if lines else ""


def legend(cells: pd.DataFrame, metric: Metric) -> str:
    """How to read the table of cells."""
    shown = sorted({f"{rule} epoch, {weights} weights" for rule, weights in cells[["rule", "weights"]].to_numpy()})
    rules = "; ".join(shown).replace("best_val epoch", "epoch best on validation").replace("best_test", "best test")
    further = "paired t and all p-values"
    if metric.per_image:
        further = "paired t, all p-values, and intervals over seeds and test images"
    lines = [
        f"Test {metric.plain} in percent, mean (standard deviation) over seeds. Selection rule: {rules}.",
        f"Teacher {metric.short}: the teacher's own test {metric.plain} in percent, measured in the runs it taught.",
        f"Gain in {metric.points}, paired by seed. Over KD: tuned against tuned KD, default against default KD.",
        *_intervals(cells),
        f"* marks p < {1 - LEVEL:.2f} after Holm's correction over all cells. The cells of a student share its scratch "
        "runs and are not independent; Holm's correction holds all the same.",
        f"Every gain is given the study's own teachers. Each cell's own {further}: report/tables/cells.parquet.",
        *filter(None, [metric.no_images]),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _intervals(cells: pd.DataFrame) -> list[str]:
    """What the intervals stand on, where there are any."""
    if not cells["gain_over_scratch_low"].notna().any():
        return ["No gain has an interval: single seeds, of which nothing can be pooled."] if len(cells) else []
    return [
        f"± is the {LEVEL:.0%} interval: moderated t, variance pooled over the study's cells. A single seed has the "
        "pooled variance alone."
    ]


def cost(frames: Frames) -> str:
    """What was really spent, by phase, and what was lost on the way."""
    runs = frames.runs
    hours = device_hours(runs, frames.gpu_share).groupby(runs["phase"]).sum()
    parts = ", ".join(f"{phase} {hours[phase]:.2f}" for phase in PHASES if phase in hours)
    text = f"Spent: {hours.sum():.2f} device-hours of training in {counted(len(runs), 'run')}"
    text += f" ({parts})" if parts else ""
    text += "." if frames.price is None else f", that is {money(float(hours.sum()), frames.price)}."
    joules = float(runs["energy_joules"].astype(float).sum())
    text += f" Energy, where known: {joules / 3.6e6:.2f} kWh." if joules > 0 else ""
    retries, preemptions = (int(runs[name].fillna(0).sum()) for name in ("retries", "preemptions"))
    if retries or preemptions:
        text += f" Processes lost: {retries}, and {preemptions} more by preemption."
    skipped = runs["skipped_images"].fillna(0)
    if skipped.any():
        text += (
            f" Unreadable images left out: up to {int(skipped.max())}, in {(skipped > 0).sum()} of {len(runs)} runs."
        )
    return text


def _setting(setting: str, row: pd.Series | None) -> dict[str, str]:
    """The columns of one setting."""
    if row is None:
        values = [_NONE] * 4
    else:
        seeds = str(row["n"]) if row["n"] == row["seeds_planned"] else f"{row['n']}/{row['seeds_planned']}"
        score = _score(row["score_mean"], row["score_std"])
        values = [score, _gain(row, "gain_over_scratch"), _gain(row, "gain_over_kd"), seeds]
    return dict(zip((setting, f"{setting} gain", f"{setting} over KD", f"{setting} n"), values, strict=True))


def _gain(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return _NONE
    half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
    star = "*" if row[f"{name}_p_holm"] < 1 - LEVEL else " "
    return f"{round(row[name], 2) + 0.0:+.2f}" + (f" ± {half:.2f}{star}" if pd.notna(half) else "")


def _score(mean: float, std: float) -> str:
    return _number(mean) + (f" ({std:.2f})" if pd.notna(std) else "")


def _number(value: float) -> str:
    return _NONE if pd.isna(value) else f"{value:.2f}"
