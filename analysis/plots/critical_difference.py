"""Mean ranks of the methods over all pairs, with the critical difference of Nemenyi's test (Demšar 2006)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.frames import Frames
from analysis.labels import method_label
from analysis.plots import COLUMN, METHODS, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import evidence
from analysis.plots.looks import dressed
from analysis.stats import LEVEL
from analysis.stats.ranks import alike

FEWEST_METHODS, FEWEST_PAIRS = 3, 5
_LINE = 0.135
"""Inches of a line of text."""

_BAR, _TOP = 0.45, 3.0
"""Lines between two bars, and above the axis for its numbers and the critical difference."""

_SIDE = 0.82
"""Inches at each side for the names."""


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting and method, best first, of the settings with at least 3 methods and 5 complete pairs.

    Columns: setting, method, mean_rank (1 is best), place (0 is best), pairs, critical_difference, friedman_p,
    and those of `looks.dressed`.
    """
    columns = ["setting", "method", "mean_rank", "pairs", "critical_difference", "friedman_p"]
    frame = frames.table("methods").dropna(subset=["mean_rank", "critical_difference"])[columns]
    enough = frame.groupby("setting")["method"].transform("nunique") >= FEWEST_METHODS
    frame = frame[enough & (frame["pairs"] >= FEWEST_PAIRS)].sort_values(["setting", "mean_rank", "method"])
    frame = frame.assign(place=frame.groupby("setting").cumcount()).reset_index(drop=True)
    return dressed(frame, frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One diagram on `ax`: rows of `prepare` of one setting. Down the axis a unit is a line of text."""
    count, gap = len(frame), float(frame["critical_difference"].iloc[0])
    ranks = frame["mean_rank"]
    bars = alike(ranks, gap)
    low = _BAR * (len(bars) + 1)
    ax.plot([1, count], [0, 0], color="black", linewidth=0.8)
    for rank in range(1, count + 1):
        ax.plot([rank, rank], [0, 0.25], color="black", linewidth=0.6)
        ax.text(rank, 0.4, str(rank), ha="center", va="bottom", fontsize=6.5)
    _draw_gap(ax, count, gap)
    for depth, bar in enumerate(bars, 1):
        ends = [ranks.iloc[bar[0]] - 0.04, ranks.iloc[bar[-1]] + 0.04]
        ax.plot(ends, [-depth * _BAR] * 2, color="0.25", linewidth=2.2, solid_capstyle="butt", zorder=3)
    half = -(-count // 2)
    for row in frame.to_dict("records"):
        left, rank = row["place"] < half, row["mean_rank"]
        y = -low - (row["place"] if left else count - 1 - row["place"]) - 0.5
        x = 1 - 0.02 * count if left else count + 0.02 * count
        ax.plot([rank, rank, x], [0, y, y], color=row["colour"], linewidth=0.9, linestyle=row["line"], zorder=2)
        ax.plot([rank], [0], marker=row["marker"], markersize=3.2, color=row["colour"], clip_on=False, zorder=4)
        words = (method_label(row["method"]), f"{rank:.2f}")
        text = "  ".join(words if left else words[::-1])
        ax.text(x, y, f" {text} ", ha="right" if left else "left", va="center", fontsize=6.5)
    side = _SIDE * (count - 1) / (COLUMN - 2 * _SIDE)
    ax.set_xlim(1 - side, count + side)
    ax.set_ylim(-low - half - 0.2, _TOP)
    ax.set_axis_off()
    return ax


@register_plot("critical_difference", 40, METHODS)
def compose(frames: Frames) -> list[Drawing]:
    """One diagram a setting."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow(
            f"ranks need {FEWEST_METHODS} methods and {FEWEST_PAIRS} pairs that all of them have finished"
        )
    drawings = []
    for setting in ("tuned", "default"):
        part = frame[frame["setting"] == setting].reset_index(drop=True)
        if part.empty:
            continue
        bars = len(alike(part["mean_rank"], float(part["critical_difference"].iloc[0])))
        lines = _TOP + _BAR * (bars + 1) + -(-len(part) // 2) + 0.2
        figure = Figure(figsize=(COLUMN, lines * _LINE))
        figure.set_layout_engine("none")
        draw(part, figure.add_axes((0, 0, 1, 1)))
        name, title = f"critical_difference_{setting}", f"Mean ranks of the methods, {setting} settings"
        drawings.append(Drawing(name, title, _caption(frames, part), figure))
    return drawings


def _draw_gap(ax: Axes, count: int, gap: float) -> None:
    """The critical difference to scale, above the axis; in words where it is longer than the axis."""
    if gap > count - 1:
        ax.text((1 + count) / 2, 2.2, f"CD = {gap:.2f}, more than the axis is long", ha="center", fontsize=6.5)
        return
    ax.plot([1, 1 + gap], [1.7, 1.7], color="black", linewidth=0.8, marker="|", markersize=4)
    ax.text(1 + gap / 2, 1.95, f"CD = {gap:.2f}", ha="center", va="bottom", fontsize=6.5)


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    return (
        f"Mean rank of each method over the {int(first['pairs'])} pairs that all methods have finished (1 is best), "
        f"{first['setting']} settings, ranked by mean gain over scratch. {evidence(frames)} Methods joined by a bar "
        f"differ by less than the critical difference (CD) of Nemenyi's test at {1 - LEVEL:.2f} and cannot be told "
        f"apart here (Demšar 2006). Friedman's test of no difference at all: p = {_p(first['friedman_p'])}. Both take "
        "pairs as independent; pairs that share a model are not quite."
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
