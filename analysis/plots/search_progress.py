"""How far each search has come: the best validation score so far against the trial, a panel for each pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label, wrap
from analysis.order import order
from analysis.plots import COLUMN, PAGE, SETTINGS, TALLEST, Drawing, NothingToShow, register_plot
from analysis.plots._dots import usual
from analysis.plots.looks import looks
from analysis.searches import evidence, marked, pairs

_PANEL, _EDGE = 1.32, 0.75
"""Inches: the height of a row of panels; the legend and the label under them."""

_ROWS, _MOST = 6, 12
_COLUMNS = ["teacher", "student", "pair", "method", "trial", "status", "score", "best"]


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per trial: teacher, student, pair (label), method, trial (from 0), status, score, best (of the finished
    trials up to this one; NaN before the first). Validation scores in percent."""
    rows = marked(frames.table("trials"), frames.matrix)
    labels = pairs(rows).rename(columns={"label": "pair"})
    return rows.merge(labels, how="left", on=["teacher", "student"])[_COLUMNS]


def draw(frame: pd.DataFrame, ax: Axes, wave: int = 0) -> Axes:
    """One pair's rows of `prepare` on `ax`; `wave`: settings drawn at a time, 0 where that is not known.

    Under the curves a lane for each method: a tick for each trial that was pruned, a cross for one that has failed.
    """
    styles = looks(frame["method"])
    methods = order(frame["method"])
    last = int(frame["trial"].max())
    for start in range(wave, last + 1, wave) if wave else ():
        ax.axvline(start + 0.5, color="0.85", linewidth=0.6, zorder=0)
    lane = 0.3 / max(4, len(methods))
    for place, method in enumerate(methods):
        rows, look = frame[frame["method"] == method].sort_values("trial"), styles[method]
        ax.plot(
            rows["trial"] + 1, rows["best"], color=look.colour, linestyle=look.line, drawstyle="steps-post",
            linewidth=1.0,
        )  # fmt: skip
        end = rows.dropna(subset="best").tail(1)
        ax.plot(end["trial"] + 1, end["best"], color=look.colour, marker=look.marker, markersize=3)
        for marker, found in (("|", rows["status"] == "pruned"), ("x", ~rows["status"].isin(["pruned", "finished"]))):
            x = rows.loc[found, "trial"] + 1
            y = np.full(len(x), 0.03 + lane * (len(methods) - 1 - place))
            ax.plot(
                x, y, marker, transform=ax.get_xaxis_transform(), color=look.colour, markersize=2.6, markeredgewidth=0.7
            )
    floor = _scale(frame, ax, 0.08 + lane * len(methods))
    for name, end in _ends(frame).items():
        if end < floor:
            ax.plot([last + 1], [0.06 + lane * len(methods)], "v", transform=ax.get_xaxis_transform(), markersize=3.5,
                    color=styles[str(name)].colour)  # fmt: skip
    ax.set_xlim(0.5, last + 1.5)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y")
    teacher, student = str(frame["pair"].iloc[0]).split(" → ")
    ax.set_title(f"{wrap(teacher, 26, 1)} →\n{wrap(student, 26, 1)}", fontsize=6.5, pad=3)
    return ax


@register_plot("search_progress", 60, SETTINGS)
def compose(frames: Frames) -> list[Drawing]:
    """The pairs in the order of their families, 24 to a drawing."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("the study has no search")
    found = list(frame["pair"].drop_duplicates())
    across = min(len(found), 3 if len(found) <= 9 else 4)
    across = 2 if len(found) == 4 else across
    width = COLUMN if across <= 2 else PAGE
    pages = [found[i : i + across * _ROWS] for i in range(0, len(found), across * _ROWS)]
    search = frames.definition.get("search") or {}
    drawings = []
    for number, page in enumerate(pages[:_MOST], start=1):
        rows = -(-len(page) // across)
        figure = Figure(figsize=(width, min(TALLEST, rows * _PANEL + _EDGE)))
        axes = figure.subplots(rows, across, squeeze=False, sharex=True)
        for ax in axes.flat[len(page) :]:
            ax.set_axis_off()
        for pair, ax in zip(page, axes.flat, strict=False):
            draw(frame[frame["pair"] == pair], ax, int(search.get("wave") or 0))
        for ax in axes.flat[max(0, len(page) - across) : len(page)]:
            ax.tick_params(labelbottom=True)
        figure.supxlabel("trial", fontsize=7)
        figure.supylabel(frames.metric.axis("best validation {plain} so far"), fontsize=7)
        _legend(frame, figure, 3 if width == COLUMN else 5)
        name = "search_progress" + (f"_{number}" if number > 1 else "")
        left = len(found) - sum(map(len, pages[:_MOST]))
        drawings.append(Drawing(name, "Progress of the searches", _caption(frames, frame, left), figure))
    return drawings


def _ends(frame: pd.DataFrame) -> pd.Series:
    """What each method's search has come to."""
    return frame.dropna(subset="best").groupby("method")["best"].max()


def _scale(frame: pd.DataFrame, ax: Axes, lanes: float) -> float:
    """Room for the lanes under the curves: they take the share `lanes` of the height. Curves of methods that end far
    below the others do not widen the scale; returns where that begins."""
    ends = _ends(frame)
    floor = float(ends.max() + usual(ends - ends.max())[0]) if len(ends) else 0.0
    best = frame.loc[frame["method"].isin(ends[ends >= floor - 1e-9].index), "best"].dropna()
    low, high = (float(best.min()), float(best.max())) if len(best) else (0.0, 100.0)
    span = max(high - low, 0.5)
    ax.set_ylim(low - span * lanes / (1 - lanes) - 0.05 * span, high + 0.08 * span)
    return floor - 1e-9


def _legend(frame: pd.DataFrame, figure: Figure, columns: int) -> None:
    styles = looks(frame["method"])
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker, markersize=3, linewidth=1.0)
        for look in (styles[method] for method in order(frame["method"]))
    ]
    labels = [method_label(method) for method in order(frame["method"])]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(columns, len(labels)), handlelength=1.8)


def _caption(frames: Frames, frame: pd.DataFrame, left: int) -> str:
    counts = frame.groupby(["teacher", "student", "method"]).size()
    number = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else f"{counts.max()}"
    states = frame["status"].value_counts()
    lost = len(frame) - int(states.get("finished", 0)) - int(states.get("pruned", 0))
    search = frames.definition.get("search") or {}
    text = (
        f"Best score of a cell's finished trials so far, {number} trials a cell in the order in which their settings "
        f"were drawn. {evidence(frames)} Ticks at the bottom: pruned trials ({int(states.get('pruned', 0))} of "
        f"{len(frame)}), crosses: failed or diverged ones ({lost}). "
    )
    if search.get("wave"):
        text += f"Grey lines: a wave of {search['wave']} settings ends, the next is drawn from what it has shown. "
    text += (
        "Each panel has its own vertical scale; an arrow: a method that ends far below it. The best of many noisy "
        "scores is too good: the gains are those of the confirmation."
    )
    return text + (f" {left} more pairs are left out; the table of trials has them." if left > 0 else "")
