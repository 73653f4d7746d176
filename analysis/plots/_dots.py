"""The ink of a panel of gains: a row for each method, its tuned setting filled, its default hollow, with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.labels import family_label, method_label, number
from analysis.order import order
from analysis.plots.looks import dressed

ROW = {1: 0.135, 2: 0.15}
"""Inches of a row, by how many settings are drawn in it."""

_WORD = 6.5
_EDGE = 0.04


def arrange(frame: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """`frame` (method, setting, gain, low, high) of a study of `methods`, with the columns row (place of its method),
    names (of all rows), height (place of its mark, from the top), left and right (ends of the axis, the same for all;
    points of the score) and those of `dressed`.

    The axis covers 0 and the gains of the tuned settings (of the default, where nothing is tuned) but for those far off
    (`usual`), with as much of their intervals and of the other settings as lies within once more that span, or the
    median interval if that is longer. Gains further out are marked at the edge.
    """
    names, tuned = order(frame["method"]), frame["setting"] == "tuned"
    rows = frame["method"].map({method: i for i, method in enumerate(names)})
    shift = tuned.map({True: -0.24, False: 0.24}) if frame["setting"].nunique() > 1 else 0.0
    main = frame[tuned] if tuned.any() else frame
    length = (main["high"] - main["low"]).astype(float).median()
    length = float(length) if pd.notna(length) else 0.0
    left, right = usual(main["gain"], length)
    far = max(right - left, length)
    near = frame[frame["gain"].between(left - far, right + far)]
    ends = [*near["gain"], *near["low"].dropna().clip(left - far), *near["high"].dropna().clip(None, right + far)]
    left, right = min([left, *ends]), max([right, *ends])
    margin = max(0.1, _EDGE * (right - left))
    labels = pd.Series([tuple(method_label(name) for name in names)] * len(frame), frame.index, dtype=object)
    placed = frame.assign(row=rows, names=labels, height=rows + shift, left=left - margin, right=right + margin)
    return dressed(placed, methods)


def usual(gains: pd.Series, length: float = 0.0) -> tuple[float, float]:
    """The ends of 0 and of `gains` without those that lie further outside the middle 80 % of them than these are wide,
    or than `length`: one method that has failed on a few pairs must not make all others one line."""
    known = gains.dropna().astype(float)
    if known.empty:
        return 0.0, 0.0
    low, high = (float(value) for value in np.quantile(known, (0.1, 0.9)))
    width = max(high - low, length)
    kept = known[known.between(low - width - 1e-9, high + width + 1e-9)]
    return min(0.0, float(kept.min())), max(0.0, float(kept.max()))


def draw_dots(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of a frame that went through `arrange`."""
    left, right, names = frame[["left", "right", "names"]].iloc[0]
    ax.axvline(0, color="0.4", linewidth=0.7, zorder=1)
    for mark in frame.itertuples():
        _draw_mark(mark, ax)
    ax.set_xlim(left, right)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0, pad=5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    for row in range(1, len(names)):
        ax.axhline(row - 0.5, color="0.95", linewidth=0.5, zorder=0)
    return ax


def _draw_mark(mark: Any, ax: Axes) -> None:
    colour = mark.colour
    y, main = mark.height, mark.setting == "tuned" or mark.height == mark.row
    if pd.isna(mark.gain):
        share = (0.5 if main else 0.99, "center" if main else "right")
        ax.text(share[0], y, mark.reason, transform=ax.get_yaxis_transform(), ha=share[1], va="center", fontsize=_WORD,
                color="0.45", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
        return
    if mark.gain < mark.left or mark.gain > mark.right:
        low = mark.gain < mark.left
        edge = mark.left if low else mark.right
        ax.plot([edge], [y], marker="<" if low else ">", markersize=3, color=colour, clip_on=False, zorder=3)
        away = 4 if main else 28  # beside the number of the other setting, not over it
        ax.annotate(number(mark.gain, 1), (edge, y), (away if low else -away, 0), textcoords="offset points",
                    va="center", ha="left" if low else "right", fontsize=_WORD, color="0.2")  # fmt: skip
        return
    if pd.notna(mark.low):
        ax.plot([mark.low, mark.high], [y, y], color=colour, linewidth=1.1 if main else 0.7, zorder=2)
    size, face = (3.4, colour) if main else (2.8, "white")
    ax.plot([mark.gain], [y], marker=mark.marker, markersize=size, markerfacecolor=face, markeredgecolor=colour,
            markeredgewidth=0.7, zorder=3)  # fmt: skip


def head(ax: Axes, families: str, below: str) -> Axes:
    """The heading of a panel: `families` in bold, under it one or two lines."""
    ax.set_title(below, fontsize=6.5, pad=3)
    ax.annotate(families, (0.5, 1), (0, 12 + 8 * below.count("\n")), xycoords="axes fraction", ha="center",
                textcoords="offset points", fontsize=6.5, fontweight="bold", color="0.35")  # fmt: skip
    return ax


def family_pair(row: pd.Series) -> str:
    """Teacher's and student's family of a row: CNN → ViT."""
    return f"{family_label(row['teacher_family'])} → {family_label(row['student_family'])}"


def beyond(frame: pd.DataFrame) -> list[str]:
    """Sentences for a caption about what does not fit the axis of a frame that went through `arrange`."""
    parts = []
    outside = (frame["gain"] < frame["left"]) | (frame["gain"] > frame["right"])
    if outside.any():
        parts.append("A triangle at the edge stands for a gain beyond the axis, given in numbers.")
    if ((frame["low"] < frame["left"]) | (frame["high"] > frame["right"]))[~outside].any():
        parts.append("An interval that reaches the edge goes on beyond it.")
    return parts
