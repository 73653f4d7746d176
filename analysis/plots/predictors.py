"""Which teacher should I take: how what is known of a teacher ranks with what each method gains with it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cells import main_setting
from analysis.frames import Frames
from analysis.labels import method_label
from analysis.order import order
from analysis.plots import COLUMN, PAGE, WHOM, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import evidence
from analysis.plots.looks import dressed
from analysis.stats import LEVEL
from analysis.tables.predictors import PREDICTORS

_ROW, _HEAD, _FOOT = 0.14, 0.55, 0.25
"""Inches: of a method's row; of what else a panel needs; below all."""


def prepare(frames: Frames) -> pd.DataFrame:
    """The rows of the table of predictors of the main setting, with `row` (place of the method) and the columns of
    `looks.dressed`."""
    table = frames.table("predictors")
    table = table[table["setting"] == main_setting(frames.cells)]
    places = {method: i for i, method in enumerate(order(table["method"]))}
    return dressed(table.assign(row=table["method"].map(places)), frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one predictor."""
    ax.axvline(0, color="0.4", linewidth=0.7, zorder=1)
    mark: Any
    for mark in frame.itertuples():
        ax.plot([mark.low, mark.high], [mark.row] * 2, color=mark.colour, linewidth=1.0)
        ax.plot([mark.rho], [mark.row], marker=mark.marker, color=mark.colour, markersize=3.4)
    ax.set_xlim(-1, 1)
    ax.set_ylim(frame["row"].max() + 0.6, -0.6)
    ax.set_yticks(range(int(frame["row"].max()) + 1))
    ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "", "0", "", "1"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    return ax


@register_plot("predictors", 35, WHOM)
def compose(frames: Frames) -> list[Drawing]:
    """A panel for each predictor of which something can be said."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("a correlation needs students with several teachers, at least four pairs beyond one each")
    names = [name for name in PREDICTORS if (frame["predictor"] == name).any()]
    methods = order(frame["method"])
    width, across = (PAGE, min(4, len(names))) if len(names) > 2 else (COLUMN, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(width, down * (len(methods) * _ROW + _HEAD) + _FOOT), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for name, ax in zip(names, axes.flat, strict=False):
        draw(frame[frame["predictor"] == name], ax)
        ax.set_title(PREDICTORS[name].replace(": ", "\n"), fontsize=6.5)
    axes[0, 0].set_yticks(range(len(methods)), [method_label(method) for method in methods])
    axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    figure.supxlabel("rank correlation with the gain, within students", fontsize=7)
    return [Drawing("predictors", "What is known of a teacher, and what it gives", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    return (
        "Spearman's rank correlation, over the teachers of each student, of what is known of a teacher before a "
        f"student is trained with the gain over scratch, {frame['setting'].iloc[0]} setting, up to "
        f"{frame['pairs'].max()} pairs. {evidence(frames)} Intervals: {LEVEL:.0%}, Fisher's; where they hold 0, this "
        "does not say which teacher to take."
    )
