"""Gain over scratch per architecture pair: an overview of all methods, and each method with its settings in detail."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.colours import end
from analysis.frames import Frames
from analysis.labels import method_label
from analysis.order import order
from analysis.plots import COLUMN, HELPS, PAGE, TALLEST, Drawing, register_plot
from analysis.plots._cells import (
    axis,
    cell_points,
    draw_cell,
    inches,
    name_models,
    scale,
    student_labels,
    teacher_labels,
    why,
)
from analysis.plots._evidence import continued, evidence, intervals, numbered
from analysis.stats import LEVEL

SETTINGS = ("tuned", "default")
_WIDEST, _NARROWEST, _TALL, _LOW = 0.9, 0.265, 0.37, 0.2
"""Inches: width and height of a cell, at most and at least."""
_HEAD, _GAP, _RIGHT, _FOOT = 0.32, 0.1, 0.18, 0.72
"""Inches: above a panel for its title and families; below and right of it; below all for axis name and colour bar."""


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per method, setting and *possible* pair of the study's teachers and students.

    Columns: method, setting, teacher, student (labels), teacher_family, student_family, row, column (positions),
    gain, half (half width of the 95 % interval), n, planned, significant (p after Holm below 0.05), reason (why there
    is no number; empty where there is one), limit (end of the colour scale, the same for all), clipped (some loss of
    the study lies beyond it). Points of the score.
    """
    cells = frames.cells
    teachers, students = axis(cells, "teacher"), axis(cells, "student")
    panels = cells[["method", "setting"]].drop_duplicates()
    every = panels.merge(teachers, how="cross").merge(students, how="cross")
    found = cells[
        ["method", "setting", "teacher", "student", "gain_over_scratch", "gain_over_scratch_low",
         "gain_over_scratch_high", "gain_over_scratch_p_holm", "n", "seeds_planned", "status", "reason"]
    ]  # fmt: skip
    frame = every.merge(found, how="left", on=["method", "setting", "teacher", "student"])
    frame["gain"] = frame["gain_over_scratch"].astype(float)
    frame["half"] = (frame["gain_over_scratch_high"] - frame["gain_over_scratch_low"]) / 2
    frame["n"] = frame["n"].fillna(0).astype(int)
    frame["planned"] = frame["seeds_planned"].fillna(0).astype(int)
    frame["significant"] = frame["gain_over_scratch_p_holm"] < 1 - LEVEL
    frame["reason"] = [why(*state) for state in zip(frame["gain"], frame["status"], frame["reason"], strict=True)]
    frame["limit"] = end(frame["gain"])
    frame["clipped"] = bool((frame["gain"] < -frame["limit"]).any())
    frame["teacher"], frame["student"] = frame["teacher_label"], frame["student_label"]
    return frame[
        ["method", "setting", "teacher", "student", "teacher_family", "student_family", "row", "column", "gain", "half",
         "n", "planned", "significant", "reason", "limit", "clipped"]
    ]  # fmt: skip


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel (rows of `prepare` of one method and setting) on `ax`, whose place on its figure is final."""
    rows, columns = int(frame["row"].max()) + 1, int(frame["column"].max()) + 1
    size = cell_points(ax, columns, rows)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    for cell in frame.itertuples():
        draw_cell(cell, ax, size, float(frame["limit"].iloc[0]))
    name_models(frame, ax, size)
    ax.set_title(f"{method_label(frame['method'].iloc[0])}, {frame['setting'].iloc[0]}", pad=10, fontweight="bold")
    return ax


@register_plot("gain_heatmap", 10, HELPS)
def compose(frames: Frames) -> list[Drawing]:
    """The overview, one panel a method, then each method by itself."""
    frame = prepare(frames)
    panels = {key: panel for key, panel in frame.groupby(["method", "setting"])}
    found = [[(m, s) for s in SETTINGS if (m, s) in panels] for m in order(frame["method"])]
    first = [panels[settings[0]] for settings in found]
    drawings = []
    for page, part in enumerate(_pages(first), 1):
        name, title = numbered("gain_heatmap", page), continued("Gain over scratch", page)
        figure = _arrange(part, PAGE, frames.metric.points)
        drawings.append(Drawing(name, title, _caption(frames, frame, False), figure))
    for settings in found:
        method = settings[0][0]
        figure = _arrange([panels[key] for key in settings], COLUMN, frames.metric.points)
        title = f"Gain of {method_label(method)} over scratch"
        drawings.append(Drawing(f"gain_heatmap_{method}", title, _caption(frames, frame, True), figure, more=True))
    return drawings


def _pages(panels: list[pd.DataFrame]) -> list[list[pd.DataFrame]]:
    """The overview's panels in parts that fit a page each."""
    rows, columns = _shape(panels[0])
    across = _across(len(panels), columns, _left(panels[0]))
    down = max(1, int((TALLEST - _FOOT - 1.2) / (_HEAD + _GAP + rows * _LOW)))
    return [panels[i : i + across * down] for i in range(0, len(panels), across * down)]


def _across(panels: int, columns: int, left: float) -> int:
    """How many panels stand side by side on a page: as many as keep their numbers readable, in rows of equal length."""
    most = max(1, int((PAGE - left) / (columns * _NARROWEST + _RIGHT)))
    return -(-panels // -(-panels // min(panels, most)))


def _arrange(panels: list[pd.DataFrame], width: float, points: str) -> Figure:
    """Panels with one colour scale, below each other in a column and side by side on a page."""
    (rows, columns), left = _shape(panels[0]), _left(panels[0])
    across = _across(len(panels), columns, left) if width == PAGE else 1
    down = -(-len(panels) // across)
    wide = min(_WIDEST, ((width - left) / across - _RIGHT) / columns)
    names, turned = student_labels(list(panels[0]["student"].unique()), 72 * wide)
    foot = _FOOT + (inches(names) if turned else 0.1 * (1 + max(name.count("\n") for name in names)))
    tall = max(_LOW, min(0.6 * wide + 0.1, _TALL, ((TALLEST - foot) / down - _HEAD - _GAP) / rows))
    height = down * (_HEAD + rows * tall + _GAP) - _GAP + foot
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    step = columns * wide + _RIGHT
    margin = (width - left - across * step) / 2
    for position, panel in enumerate(panels):
        i, j = divmod(position, across)
        x, y = margin + left + j * step, (i + 1) * _HEAD + i * (rows * tall + _GAP)
        ax = figure.add_axes((x / width, 1 - (y + rows * tall) / height, columns * wide / width, rows * tall / height))
        draw(panel, ax)
        ax.tick_params(labelleft=j == 0, labelbottom=position + across >= len(panels))
        if j == 0:
            figure.text((margin + 0.08) / width, 1 - (y + rows * tall / 2) / height, "teacher", rotation=90,
                        ha="center", va="center", fontsize=7)  # fmt: skip
    middle = margin + left + (across * step - _RIGHT) / 2
    figure.text(middle / width, 0.58 / height, "student", ha="center", va="center", fontsize=7)
    _colour_bar(figure, panels[0], middle, points)
    return figure


def _colour_bar(figure: Figure, panel: pd.DataFrame, middle: float, points: str) -> None:
    """The scale along the bottom around `middle` (inches); pointed where a gain of the study lies beyond it."""
    width, height = figure.get_size_inches()
    place = ((middle - 1) / width, 0.36 / height, 2 / width, 0.08 / height)
    extend = "min" if panel["clipped"].any() else "neither"
    colours = scale(float(panel["limit"].iloc[0]))
    bar = figure.colorbar(colours, cax=figure.add_axes(place), orientation="horizontal", extend=extend)
    bar.set_label(f"gain over scratch ({points})", labelpad=1.5, fontsize=6.5)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.ax.tick_params(labelsize=6.5, pad=1.5)
    bar.outline.set_visible(False)


def _caption(frames: Frames, frame: pd.DataFrame, detailed: bool) -> str:
    limit = float(frame["limit"].iloc[0])
    parts = [
        f"Gain over scratch in {frames.metric.points} for each teacher (row) and student (column), families separated."
    ]
    if detailed:
        parts.append(f"±: half of the interval. {intervals(frame['half'])}")
    parts.append(evidence(frames))
    parts.append(
        f"Bold: differs from 0 at p < {1 - LEVEL:.2f} after Holm's correction over all cells of the study; hatched: "
        "does not, or could not be tested."
    )
    if frame["clipped"].any():
        parts.append(f"Colours end at the largest gain, ±{limit:g} points; a notch marks what loses more.")
    if ((frame["reason"] != "") & (frame["reason"] != "not in study")).any():
        marks = "has no number yet" if detailed else "has no number: × failed or diverged, … still to come"
        parts.append(f"Grey: {marks}.")
    if (frame["reason"] == "not in study").any():
        parts.append("White: not in this study.")
    return " ".join(parts)


def _shape(panel: pd.DataFrame) -> tuple[int, int]:
    return int(panel["row"].max()) + 1, int(panel["column"].max()) + 1


def _left(panel: pd.DataFrame) -> float:
    """Inches left of a panel, for the names of its teachers."""
    return 0.25 + inches(teacher_labels(panel["teacher"].unique()))
