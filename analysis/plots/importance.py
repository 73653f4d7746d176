"""How much of a cell's order of settings each hyper-parameter explains alone: a panel for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.frames import Frames
from analysis.labels import method_label, wrap
from analysis.order import order
from analysis.plots import COLUMN, SETTINGS, TALLEST, Drawing, NothingToShow, register_plot
from analysis.plots.looks import looks
from analysis.tables import importance

LEVEL = 0.05
_ROW, _TITLE, _AXIS, _NAMES = 0.17, 0.32, 0.5, 1.3
"""Inches: the height of a hyper-parameter, a panel's title, the scale with its label; the width of the names."""

_LETTERS = 23


def prepare(frames: Frames) -> pd.DataFrame:
    """`analysis.tables.importance.by_method`, the largest importance of a method first, and a row for each cell.

    Columns: method, parameter, row (place from the top), teacher, student (empty: the mean over cells), trials,
    cells, importance, low, high (NaN for a cell), told (p <= 0.05: it can be told from nothing).
    """
    means = importance.by_method(frames).assign(teacher="", student="")
    each = frames.table("importance").assign(cells=1, low=np.nan, high=np.nan).drop(columns="adjusted")
    means = means.sort_values(["method", "importance", "parameter"], ascending=[True, False, True])
    means["row"] = means.groupby("method").cumcount()
    rows = pd.concat([means, each.merge(means[["method", "parameter", "row"]], on=["method", "parameter"])])
    rows["told"] = rows["p"] <= LEVEL
    columns = ["method", "parameter", "row", "teacher", "student", "trials", "cells", "importance", "low", "high"]
    return rows[[*columns, "told"]].reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes, colour: str = "0.2") -> Axes:
    """One method's rows of `prepare` on `ax`: small dots the cells, the large one their mean with its interval."""
    means, cells = frame[frame["teacher"] == ""], frame[frame["teacher"] != ""]
    several = means["cells"].max() > 1
    if several:
        ax.plot(
            cells["importance"],
            cells["row"] + 0.28,
            linestyle="",
            marker=".",
            markersize=2.4,
            color="0.55",
            clip_on=False,
        )
    known = means.dropna(subset="low")
    ax.hlines(known["row"], known["low"].clip(0, 1), known["high"].clip(0, 1), color=colour, linewidth=1.0)
    for told, face in ((True, colour), (False, "white")):
        part = means[means["told"] == told]
        ax.plot(
            part["importance"], part["row"], "o", markersize=4.2, markeredgecolor=colour, markerfacecolor=face,
            clip_on=False, zorder=3,
        )  # fmt: skip
    ax.set_yticks(means["row"], [wrap(name, _LETTERS, 1) for name in means["parameter"]])
    ax.set_ylim(means["row"].max() + 0.55, -0.55)
    ax.set_xlim(0, 1)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    name, count = method_label(frame["method"].iloc[0]), int(means["cells"].max())
    trials = f"{count} {'cells' if count > 1 else 'cell'}, {int(means['trials'].max())} finished trials"
    ax.set_title(f"{name}  ({trials})", loc="left", pad=3)
    return ax


@register_plot("importance", 64, SETTINGS)
def compose(frames: Frames) -> list[Drawing]:
    """The methods under one another, as many to a drawing as a page is high."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow(f"no cell has {importance.NEEDED} finished trials of differing scores: too few to judge by")
    colours = {name: look.colour for name, look in looks(frame["method"]).items()}
    drawings = []
    for number, methods in enumerate(_pages(frame), start=1):
        figure = _page(frame[frame["method"].isin(methods)], methods, colours)
        name = "importance" + (f"_{number}" if number > 1 else "")
        drawings.append(Drawing(name, "Importance of the hyper-parameters", _caption(frames, frame), figure))
    return drawings


def _page(frame: pd.DataFrame, methods: Sequence[str], colours: Mapping[str, str]) -> Figure:
    """The panels at places of their own: with many of them the automatic layout leaves no room for the names."""
    height = sum(_height(frame, method) for method in methods) + _AXIS
    figure = Figure(figsize=(COLUMN, height))
    figure.set_layout_engine("none")
    top = height
    for method in methods:
        panel = _height(frame, method)
        top -= panel
        wide, tall = COLUMN - _NAMES - 0.15, panel - _TITLE
        ax = figure.add_axes((_NAMES / COLUMN, top / height, wide / COLUMN, tall / height))
        draw(frame[frame["method"] == method], ax, colours[method]).tick_params(labelbottom=method == methods[-1])
    figure.text(0.99, 0.1 / height, "importance (share of the order of scores explained)", ha="right", fontsize=7)
    return figure


def _height(frame: pd.DataFrame, method: str) -> float:
    """Inches of a method's panel and its title."""
    return _TITLE + _ROW * (int(frame.loc[frame["method"] == method, "row"].max()) + 1)


def _pages(frame: pd.DataFrame) -> list[list[str]]:
    """The methods in their order, cut where a page is full."""
    pages: list[list[str]] = [[]]
    used = _AXIS
    for method in order(frame["method"]):
        height = _height(frame, method)
        if pages[-1] and used + height > TALLEST:
            pages.append([])
            used = _AXIS
        pages[-1].append(method)
        used += height
    return pages


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    cells = int(frame.loc[frame["teacher"] == "", "cells"].max())
    text = (
        "Share of the order of a cell's finished trials that one hyper-parameter explains alone, chance taken off "
        "(epsilon squared of the ranks, in three or four groups of the hyper-parameter's values). 0: nothing, 1: it "
        f"alone sets the order. One seed a trial, validation images of {frames.data}; cells with fewer than "
        f"{importance.NEEDED} finished trials are left out. "
    )
    if cells > 1:
        text += (
            "Large dot: mean over the cells, with its 95 % t interval over cells where there are three; small: a cell. "
        )
    return text + (
        "Hollow: cannot be told from 0 (p > 0.05 of 999 permutations of the scores within each cell, not corrected for "
        "the number of hyper-parameters). Only settings that the search drew and did not prune count, so that a range "
        "that it left early seems less important than it is; joint effects of two hyper-parameters count for neither."
    )
