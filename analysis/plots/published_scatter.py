"""Gain over scratch as published against as measured here, for the pairs and methods that both have; no ranking."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label
from analysis.order import order
from analysis.plots import COLUMN, PAGE, TRUST, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import evidence, intervals, listed
from analysis.plots.looks import dressed
from analysis.words import counted

_ACROSS = 4
_NAMED = 3
"""How many of the differences between the published and our procedure the caption names."""


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per paper, pair, method and setting that has been published and measured.

    Columns: paper, teacher, student, method, setting, published_gain, gain, low, high (points), differences (text),
    left and right (ends of both axes; they cover what was published and every measured gain that lies not much further
    out, with its interval), and those of `looks.dressed`.
    """
    columns = ["paper", "teacher", "student", "method", "setting", "published_gain", "gain", "gain_low", "gain_high",
               "differences"]  # fmt: skip
    frame = frames.table("published").dropna(subset=["published_gain", "gain"])[columns]
    frame = frame.rename(columns={"gain_low": "low", "gain_high": "high"}).reset_index(drop=True)
    left, right = min(0.0, frame["published_gain"].min()), max(0.0, frame["published_gain"].max())
    far = max(1.0, right - left)
    near = frame[frame["gain"].between(left - far, right + far)]
    ends = [*near["gain"], *near["low"].dropna().clip(left - far), *near["high"].dropna().clip(None, right + far)]
    left, right = min([left, *ends]), max([right, *ends])
    margin = 0.06 * (right - left)
    return dressed(frame.assign(left=left - margin, right=right + margin), frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one method. On the diagonal, measured equals published."""
    left, right = float(frame["left"].iloc[0]), float(frame["right"].iloc[0])
    method, colour, marker = frame[["method", "colour", "marker"]].iloc[0]
    ax.plot([left, right], [left, right], color="0.6", linewidth=0.7, linestyle="--", zorder=1)
    ax.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    ax.axvline(0, color="0.85", linewidth=0.6, zorder=0)
    for row in frame.to_dict("records"):
        face = colour if row["setting"] == "tuned" else "white"
        x, y = row["published_gain"], min(max(row["gain"], left), right)
        if y != row["gain"]:
            ax.plot([x], [y], marker="v" if y == left else "^", markersize=3, color=colour, clip_on=False)
            continue
        if pd.notna(row["low"]):
            ax.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=0.7, zorder=2)
        ax.plot([x], [y], marker=marker, markersize=3.2, markerfacecolor=face, markeredgecolor=colour,
                markeredgewidth=0.7, zorder=3)  # fmt: skip
    ax.set(xlim=(left, right), ylim=(left, right), box_aspect=1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], min_n_ticks=3))
    ax.set_title(method_label(method), fontweight="bold", pad=3)
    return ax


@register_plot("published_scatter", 60, TRUST)
def compose(frames: Frames) -> list[Drawing]:
    """One panel a method."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no pair of this study has been published")
    methods = order(frame["method"])
    down = -(-len(methods) // _ACROSS)
    across = -(-len(methods) // down)
    width = PAGE if across > 2 else COLUMN
    figure = Figure(figsize=(width, down * (width / across + 0.05) + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for position, ax in enumerate(axes.flat):
        if position >= len(methods):
            ax.set_axis_off()
            continue
        draw(frame[frame["method"] == methods[position]], ax)
        ax.tick_params(labelbottom=position + across >= len(methods))
    figure.supxlabel(f"published gain over scratch ({frames.metric.points})", fontsize=7)
    figure.supylabel(f"measured here ({frames.metric.points})", fontsize=7)
    return [Drawing("published_scatter", "Published and measured gains", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    pairs = len(frame[["teacher", "student"]].drop_duplicates())
    parts = [
        f"Gain over the scratch student of the same source, in {frames.metric.points}, as published (across) and as "
        f"measured here (up), {counted(pairs, 'pair')} that stand in both; dashed: equal.",
        f"Published in {listed(sorted(set(frame['paper'])))}.",
        "Filled: tuned setting; hollow: default setting."
        if frame["setting"].nunique() > 1
        else f"Measured with the {frame['setting'].iloc[0]} setting.",
        evidence(frames),
        intervals(frame["low"]),
        f"The two are not comparable, and neither confirms nor refutes the other{_differences(frame['differences'])}.",
    ]
    if ((frame["gain"] < frame["left"]) | (frame["gain"] > frame["right"])).any():
        parts.append("A triangle at the edge stands for a gain beyond the axis.")
    return " ".join(parts)


def _differences(texts: pd.Series) -> str:
    """The most frequent differences, as `: this; that`. One of them may read `theirs …; ours …`."""
    counts = Counter(part for text in texts.dropna() for part in re.split(r";\s+(?!ours)", str(text)) if part)
    named = [part.replace("; ", ", ") for part, _ in counts.most_common(_NAMED)]
    return ": " + "; ".join(named) if named else ""
