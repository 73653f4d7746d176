"""Does a setting travel: the share of the tuning gain that is left with the best setting of another cell."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.frames import Frames
from analysis.labels import method_label, number
from analysis.order import order
from analysis.plots import COLUMN, SETTINGS, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import evidence
from analysis.plots.looks import dressed
from analysis.stats import LEVEL, mean_gain
from analysis.tables.travel import ALL, DEFAULT
from analysis.travel import KINDS, trips
from analysis.words import counted

_LEAST, _MOST = -0.6, 1.8
"""Where the axis ends at the latest; what lies further out is marked at the edge."""
_BIG, _SMALL, _ACROSS = 13, 6.5, 4
_WHENCE = {"student": "cells of the same student", "families": "the same families", "other": "other families"}
_BAND, _FEET, _LEGEND = 0.62, 0.55, 0.16
"""Inches: of a kind, of the axis, of a row of the legend."""


def prepare(frames: Frames) -> pd.DataFrame:
    """The rows of `analysis.tables.travel` whose share can be said, but for the default setting: method, kind, row
    (place of the kind, from the top), height (of the mark), pooled (over all methods), trips, share, low, high, and
    those of `looks.dressed`."""
    table = frames.table("travel")
    table = table[(table["kind"] != DEFAULT) & table["survives"].notna()]
    rows = {kind: place for place, kind in enumerate(kind for kind in KINDS if (table["kind"] == kind).any())}
    methods = order(method for method in table["method"] if method != ALL)
    alone = len(methods) == 1
    steps = {method: 0.68 * (place + 0.5) / len(methods) - 0.24 for place, method in enumerate(methods)}
    frame = table.rename(columns={"survives": "share", "survives_low": "low", "survives_high": "high"})
    frame = frame.assign(row=frame["kind"].map(rows), pooled=(frame["method"] == ALL) | alone)
    height = frame["row"] + frame["method"].map(steps).where(~frame["pooled"], 0.0 if alone else -0.34)
    kept = ["method", "kind", "row", "height", "pooled", "trips", "share", "low", "high"]
    return dressed(frame.assign(height=height)[kept], frames.cells["method"]).reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """All rows of `prepare` on `ax`: methods small, all of them together large, their share in words at the right."""
    left = max(_LEAST, min(-0.1, frame["low"].min(), frame["share"].min()))
    right = min(_MOST, max(1.1, frame["high"].max(), frame["share"].max()))
    ax.set_xlim(left - 0.03, right + 0.03)
    for place, style in ((0.0, "-"), (1.0, "--")):
        ax.axvline(place, color="0.4", linewidth=0.7, linestyle=style, zorder=0)
    mark: Any
    for mark in frame.itertuples():
        colour, width, size = ("black", 1.6, 4.5) if mark.pooled else (mark.colour, 0.8, 3.2)
        ends = [min(max(end, left), right) for end in (mark.low, mark.high)]
        ax.plot(ends, [mark.height] * 2, color=colour, linewidth=width, alpha=1.0 if mark.pooled else 0.75)
        at, shape = min(max(mark.share, left), right), "D" if mark.pooled else mark.marker
        shape = shape if at == mark.share else "<" if at == left else ">"
        ax.plot([at], [mark.height], marker=shape, color=colour, markersize=size, zorder=3)
    for row in range(1, int(frame["row"].max()) + 1):
        ax.axhline(row - 0.5, color="0.85", linewidth=0.5)
    for mark in frame[frame["pooled"]].itertuples():
        words = [f"{100 * value:.0f}".replace("-", "−") for value in (mark.share, mark.low, mark.high)]
        ax.annotate(f"{words[0]} %", (1.04, mark.row), xycoords=("axes fraction", "data"), va="bottom", fontsize=_BIG,
                    xytext=(0, -5), textcoords="offset points", annotation_clip=False)  # fmt: skip
        ax.annotate(f"{words[1]} to {words[2]}", (1.04, mark.row), xycoords=("axes fraction", "data"), va="top",
                    fontsize=_SMALL, xytext=(0, -7), textcoords="offset points", annotation_clip=False)  # fmt: skip
    kinds = frame.drop_duplicates("row").sort_values("row")["kind"]
    ax.set_yticks(range(len(kinds)), [KINDS[kind].replace(", ", ",\n") for kind in kinds])
    ax.set_ylim(len(kinds) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xticks([0.0, 0.5, 1.0], ["default\nsetting", "half", "own best\nsetting"])
    return ax


@register_plot("travel", 65, SETTINGS)
def compose(frames: Frames) -> list[Drawing]:
    """One panel; not where tuning itself has no clear gain, of which there could be a share."""
    found = trips(frames)
    if not len(found.frame):
        none = frames.exchange.empty
        raise NothingToShow("no setting was tried in another cell (--exchange N)" if none else "none has finished yet")
    own = found.cells()
    tuning = mean_gain(own.tuning, own.students)
    frame = prepare(frames)
    if frame.empty or not tuning.low > 0:
        seen = f"{number(tuning.value)} ({number(tuning.low)} to {number(tuning.high)}) {frames.metric.points}"
        raise NothingToShow(f"tuning gains {seen} over the default settings here: too little for shares of it")
    names = order(frame.loc[~frame["pooled"], "method"])
    lines = -(-len(names) // _ACROSS)
    height = frame["row"].nunique() * _BAND + _FEET + lines * _LEGEND
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    draw(frame, figure.subplots())
    looks: Any = frame[~frame["pooled"]].drop_duplicates("method").itertuples()
    lines_of = {
        one.method: Line2D([], [], color=one.colour, marker=one.marker, linewidth=0.8, markersize=3.2) for one in looks
    }
    if names:
        handles, labels = [lines_of[name] for name in names], [method_label(name) for name in names]
        figure.legend(handles, labels, loc="outside lower center", ncols=_ACROSS, fontsize=_SMALL, frameon=False)
    return [Drawing("travel", "Does a setting travel?", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    table = frames.table("travel")
    stayed = table[table["kind"] == DEFAULT].iloc[0]
    pooled: Any = frame[frame["pooled"]].itertuples()
    text = (
        "What the best setting of another cell gains over the default setting, as a share of what a cell's own best "
        f"setting gains over it ({number(stayed['tuning'])} {frames.metric.points} on average over "
        f"{counted(int(stayed['trips']), 'cell')}). All are confirmed on the same fresh seeds, "
        + ", ".join(f"{row.trips} from {_WHENCE[row.kind]}" for row in pooled)
        + f". Black and in words: over all methods. Intervals: {LEVEL:.0%}, Fieller's, these pairs, other seeds. "
    )
    if pd.notna(stayed["kept"]):
        ends = stayed[["kept", "kept_low", "kept_high"]]
        share, low, high = (f"{100 * value:.0f}" for value in ends)
        text += f"The default setting keeps {share} % ({low} to {high}) of the tuned setting's gain over scratch. "
    return text + evidence(frames)
