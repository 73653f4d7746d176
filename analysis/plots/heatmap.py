"""Gain over scratch per architecture pair: a panel for each method and setting, value and interval in the cell."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.cells import family_order
from analysis.frames import Frames
from analysis.labels import method_label, shorten, wrap
from analysis.plots import register_plot

COLOURS = "RdBu"
"""Diverging, safe for the common kinds of colour blindness: red loses, blue gains."""

SETTINGS = ("tuned", "default")
_CELL_INCHES = (0.95, 0.52)
_TITLE_INCHES = 7.0
_BAR_INCHES = 4.5
_ACROSS = 3
_MISSING = "0.9"


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per method, setting and *possible* pair of the study's teachers and students.

    Columns: method, setting, teacher, student (labels), teacher_family, student_family, row, column (positions),
    gain, half (half width of the 95 % interval), n, planned, outside (the interval excludes 0), reason (why there is
    no number; empty where there is one), limit (the colour scale's end, the same for all). Percentage points.
    """
    cells = frames.cells
    teachers, students = _axis(cells, "teacher"), _axis(cells, "student")
    panels = cells[["method", "setting"]].drop_duplicates()
    every = panels.merge(teachers, how="cross").merge(students, how="cross")
    found = cells[
        ["method", "setting", "teacher", "student", "gain_over_scratch", "gain_over_scratch_low",
         "gain_over_scratch_high", "n", "seeds_planned", "status", "reason"]
    ]  # fmt: skip
    frame = every.merge(found, how="left", on=["method", "setting", "teacher", "student"])
    low, high = frame["gain_over_scratch_low"], frame["gain_over_scratch_high"]
    frame["gain"] = frame["gain_over_scratch"].astype(float)
    frame["half"] = (high - low) / 2
    frame["n"] = frame["n"].fillna(0).astype(int)
    frame["planned"] = frame["seeds_planned"].fillna(0).astype(int)
    frame["outside"] = (low > 0) | (high < 0)
    frame["reason"] = [_reason(*state) for state in zip(frame["gain"], frame["status"], frame["reason"], strict=True)]
    largest = frame["gain"].abs().max()
    frame["limit"] = max(0.5, float(np.ceil(largest * 2) / 2)) if pd.notna(largest) else 1.0
    frame["teacher"], frame["student"] = frame["teacher_label"], frame["student_label"]
    return frame[
        ["method", "setting", "teacher", "student", "teacher_family", "student_family", "row", "column", "gain", "half",
         "n", "planned", "outside", "reason", "limit"]
    ]  # fmt: skip


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel (rows of `prepare` of one method and setting) on `ax`."""
    limit = float(frame["limit"].iloc[0])
    colour = ScalarMappable(Normalize(-limit, limit), mpl.colormaps[COLOURS])
    for cell in frame.itertuples():
        _draw_cell(cell, ax, colour)
    rows, columns = int(frame["row"].max()) + 1, int(frame["column"].max()) + 1
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    students = frame.drop_duplicates("column").sort_values("column")
    teachers = frame.drop_duplicates("row").sort_values("row")
    ax.set_xticks(range(columns), [wrap(name, 17) for name in students["student"]])
    ax.set_yticks(range(rows), [wrap(name, 20) for name in teachers["teacher"]])
    ax.tick_params(length=0, pad=3)
    ax.spines[:].set_visible(False)
    ax.set_box_aspect(rows * _CELL_INCHES[1] / (columns * _CELL_INCHES[0]))
    for start, end, family in _spans(list(students["student_family"])):
        ax.text((start + end) / 2, -0.56, _family(family), ha="center", va="bottom", fontsize=7, color="0.35")
        if start > 0:
            ax.axvline(start - 0.5, color="0.15", linewidth=1.2)
    for start, end, family in _spans(list(teachers["teacher_family"])):
        middle = (start + end) / 2
        ax.text(columns - 0.46, middle, _family(family), va="center", rotation=270, fontsize=7, color="0.35")
        if start > 0:
            ax.axhline(start - 0.5, color="0.15", linewidth=1.2)
    ax.set_title(f"{method_label(frame['method'].iloc[0])}, {frame['setting'].iloc[0]}", pad=15, fontweight="bold")
    return ax


@register_plot("gain_heatmap")
def compose(frames: Frames) -> Figure:
    """All panels in one figure, placed by `_grid`."""
    frame = prepare(frames)
    grid = _grid(frame)
    width = (frame["column"].max() + 1) * _CELL_INCHES[0]
    height = (frame["row"].max() + 1) * _CELL_INCHES[1]
    size = (max(_TITLE_INCHES, len(grid[0]) * (width + 0.45) + 1.8), len(grid) * (height + 0.5) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, sharex=True, sharey=True)
    for i, row in enumerate(grid):
        for j, (method, setting) in enumerate(row):
            panel = frame[(frame["method"] == method) & (frame["setting"] == setting)]
            draw(panel, axes[i, j]) if len(panel) else axes[i, j].set_axis_off()
    figure.supxlabel("student", fontsize=8)
    figure.supylabel("teacher", fontsize=8)
    limit = float(frame["limit"].iloc[0])
    colour = ScalarMappable(Normalize(-limit, limit), mpl.colormaps[COLOURS])
    shrink = min(1.0, _BAR_INCHES / size[1])
    bar = figure.colorbar(colour, ax=axes, pad=0.015, shrink=shrink, aspect=shrink * size[1] / 0.2, anchor=(0, 1))
    bar.set_label("accuracy gain over scratch\n(percentage points)")
    bar.outline.set_visible(False)
    figure.suptitle(title(frames), fontsize=9.5)
    return figure


def _grid(frame: pd.DataFrame) -> list[list[tuple[str, str]]]:
    """Which method and setting stands where, KD first; an empty method fills the last row.

    Up to three methods stand side by side above each other's settings; more of them three in a row where there is
    one setting, else one in a row with its settings.
    """
    methods = sorted(frame["method"].unique(), key=lambda method: (method != "kd", method))
    settings = [setting for setting in SETTINGS if (frame["setting"] == setting).any()]
    if len(methods) <= _ACROSS:
        return [[(method, setting) for method in methods] for setting in settings]
    if len(settings) > 1:
        return [[(method, setting) for setting in settings] for method in methods]
    padded = methods + [""] * (-len(methods) % _ACROSS)
    return [[(method, settings[0]) for method in padded[i : i + _ACROSS]] for i in range(0, len(padded), _ACROSS)]


def title(frames: Frames) -> str:
    """What the figure shows and on how much evidence: data set, selection rule, seeds, the meaning of the marks."""
    cells = frames.cells
    names = {"last": "last epoch", "best_val": "epoch best on validation", "best_test": "epoch best on test"}
    shown = " and ".join(sorted({names[rule] for rule in cells["rule"]}))
    weights = " and ".join(sorted({"EMA" if weights == "ema" else weights for weights in cells["weights"]}))
    counts = sorted({int(n) for n in cells.loc[cells["n"] > 0, "n"]})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0]) if counts else "no"
    only = "only " if counts and counts[-1] <= 2 else ""
    plural = "seed" if seeds == "1" else "seeds"
    marks = "±: 95 % interval, paired by seed, variance pooled over cells; bold and framed: it excludes 0"
    if cells["gain_over_scratch_low"].isna().all():
        marks = "no intervals: they need at least two seeds"
    return (
        f"Gain over scratch on {frames.data}: test accuracy at the {shown}, {weights} weights, "
        f"{only}{seeds} {plural} confirmed\n{marks}"
    )


def _axis(cells: pd.DataFrame, side: str) -> pd.DataFrame:
    """The distinct models of one side, grouped by family, with label and position."""
    family = f"{side}_family"
    models = cells[[side, family]].drop_duplicates(side).sort_values(side)
    models = models.sort_values(family, key=family_order, kind="stable")
    models[f"{side}_label"] = models[side].map(shorten(models[side]))
    models["row" if side == "teacher" else "column"] = range(len(models))
    return models


def _reason(gain: float, status: object, reason: object) -> str:
    if pd.notna(gain):
        return ""
    if pd.isna(status):
        return "not in study"
    if not reason:
        return "no scratch run yet" if status == "finished" else str(status)
    return str(reason) if status == "finished" or str(status) in str(reason) else f"{status}: {reason}"


def _draw_cell(cell: object, ax: Axes, colour: ScalarMappable) -> None:
    x, y, gain = cell.column, cell.row, cell.gain  # type: ignore[attr-defined]
    corner = (x - 0.5, y - 0.5)
    if pd.isna(gain):
        absent = cell.reason == "not in study"  # type: ignore[attr-defined]
        hatch = None if absent else "////"
        ax.add_patch(Rectangle(corner, 1, 1, facecolor="0.96" if absent else _MISSING, edgecolor="white", hatch=hatch))
        box = {"facecolor": "0.96" if absent else _MISSING, "edgecolor": "none", "pad": 1.0}
        text = wrap(cell.reason, 16, 3)  # type: ignore[attr-defined]
        ax.text(x, y, text, ha="center", va="center", fontsize=5.8, color="0.25", bbox=box)
        return
    face = colour.to_rgba(gain)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor="white", linewidth=1))
    if cell.outside:  # type: ignore[attr-defined]
        ax.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=0.9))
    ink = "white" if np.dot(face[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
    weight = "bold" if cell.outside else "normal"  # type: ignore[attr-defined]
    ax.text(x, y - 0.14, _signed(gain), ha="center", va="center", fontsize=9, fontweight=weight, color=ink)
    ax.text(x, y + 0.23, _evidence(cell), ha="center", va="center", fontsize=6.5, color=ink)


def _signed(gain: float) -> str:
    return f"{round(gain, 2) + 0.0:+.2f}".replace("-", "−")


def _evidence(cell: object) -> str:
    """The interval, and the number of seeds where it is not the planned one."""
    half, n, planned = cell.half, cell.n, cell.planned  # type: ignore[attr-defined]
    partial = f"n={n} of {planned}" if n < planned else "n=1" if n == 1 else ""
    if pd.isna(half):
        return partial
    return f"± {half:.2f}" + (f"  ({partial})" if partial else "")


def _spans(families: list[str]) -> list[tuple[int, int, str]]:
    """Runs of equal families as (first, last, family)."""
    starts = [i for i, family in enumerate(families) if i == 0 or family != families[i - 1]]
    ends = [start - 1 for start in starts[1:]] + [len(families) - 1]
    return [(start, end, families[start]) for start, end in zip(starts, ends, strict=True)]


def _family(name: str) -> str:
    return {"vit": "ViT"}.get(name, str(name).upper())
