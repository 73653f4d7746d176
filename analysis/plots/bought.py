"""Gain bought per hour: each method's gain as its search goes on, against scratch given the same hours."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.budget import Array, bought, largest, luck
from analysis.frames import Frames
from analysis.labels import method_label, number
from analysis.plots import COLUMN, COST, Drawing, NothingToShow, register_plot
from analysis.plots._dots import usual
from analysis.plots._evidence import evidence
from analysis.plots.looks import SCRATCH_GREY, dressed
from analysis.stats import LEVEL

_STEPS, _HEIGHT, _WORD = 40, 2.9, 6.5


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per method and cost: method (scratch: given the same hours), times (multiples of a scratch run), gain,
    low, high (points), pairs, and those of `looks.dressed`."""
    found, chance, rows = bought(frames), luck(frames), []
    for method, one in found.items():
        rows.append((method, one.begins, *one.gain(0.0)[:3], len(one.students)))
        for times in np.geomspace(one.begins, one.ends, _STEPS)[1:] if one.ends > one.begins else ():
            rows.append((method, float(times), *one.gain(times)[:3], len(one.students)))
    if rows and pd.notna(chance):
        for times in np.geomspace(1.0, max(row[1] for row in rows), _STEPS):
            rows.append(("scratch", float(times), chance * float(largest(times)), np.nan, np.nan, 0))
    frame = pd.DataFrame(rows, columns=["method", "times", "gain", "low", "high", "pairs"])
    return dressed(frame, frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """All lines on `ax`: hollow where a method is at its default setting, filled where its search has ended."""
    methods = [name for name in frame["method"].unique() if name != "scratch"]
    low, high = usual(frame.groupby("method")["gain"].last())
    margin = 0.12 * (high - low) + 0.1
    ax.set_ylim(low - margin, high + margin)
    again = frame[frame["method"] == "scratch"]
    ax.plot(again["times"], again["gain"], color=SCRATCH_GREY, linewidth=2, drawstyle="steps-post", zorder=1)
    ax.axhline(0, color="0.4", linewidth=0.6, zorder=0)
    for method in methods:
        line = frame[frame["method"] == method]
        colour, marker, dash = line[["colour", "marker", "line"]].iloc[0]
        ax.fill_between(line["times"], line["low"], line["high"], color=colour, alpha=0.1, linewidth=0, step="post")
        ax.plot(line["times"], line["gain"], color=colour, linestyle=dash, drawstyle="steps-post", linewidth=1.1)
        for end, face in ((line.iloc[0], "white"), (line.iloc[-1], colour)):
            ax.plot([end["times"]], [end["gain"]], marker=marker, color=colour, markerfacecolor=face, markersize=3.4)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y")
    _name(frame.groupby("method", sort=False).last(), ax)
    return ax


@register_plot("bought", 52, COST)
def compose(frames: Frames) -> list[Drawing]:
    """One panel."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no pair has a search, and gains of its default and of its tuned setting")
    figure = Figure(figsize=(COLUMN, _HEIGHT), layout="constrained")
    ax = draw(frame, figure.subplots())
    ax.set_xlabel("device-hours spent, as a multiple of a scratch run")
    ax.set_ylabel(f"gain over scratch ({frames.metric.points})")
    return [Drawing("bought", "Gain bought per hour", _caption(frames, frame), figure)]


def _name(ends: pd.DataFrame, ax: Axes) -> None:
    """The names of the lines at their right ends, kept apart, in the order of the gains."""
    low, high = ax.get_ylim()
    ends = ends.sort_values("gain")
    wanted = np.clip((ends["gain"].to_numpy(float) - low) / (high - low), 0.0, 1.0)
    places, gap = spread_out(wanted, _WORD * 1.15 / (72 * (_HEIGHT - 0.5))), ends["times"].max()
    for place, (method, end) in zip(places, ends.iterrows(), strict=True):
        label = "scratch again" if method == "scratch" else method_label(str(method))
        label += "" if low <= end["gain"] <= high else f" {number(end['gain'], 1)}"
        ax.annotate(
            label, (gap, end["gain"]), (1.03, place), xycoords="data", textcoords="axes fraction", va="center",
            fontsize=_WORD, color="0.45" if method == "scratch" else end["colour"], annotation_clip=False,
        )  # fmt: skip


def spread_out(places: Array, gap: float) -> Array:
    """Ascending `places` moved as little as need be so that each lies `gap` above the one before, around where they
    were together."""
    steps = gap * np.arange(len(places))
    found = np.maximum.accumulate(places - steps) + steps
    return found - max(0.0, (found - places).mean())


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    pairs = frame.loc[frame["method"] != "scratch", "pairs"]
    many = f"{pairs.min()} to {pairs.max()}" if pairs.min() < pairs.max() else f"{pairs.max()}"
    text = (
        f"Mean gain over {many} pairs against all that it has cost, without the teacher's own training. Each line "
        "begins (hollow) with one run of the method's default setting and ends (filled) with a run of the setting that "
        "its whole search has found; both are confirmed on fresh seeds. In between, the best setting so far lies "
        f"between the two as its validation score does. Bands: {LEVEL:.0%}, these pairs, other seeds. "
    )
    if (frame["method"] == "scratch").any():
        text += (
            "Grey: scratch given the same hours, as so many runs of which the best on validation is taken (estimated "
            "from the covariance of validation and test scores over seeds); where a line crosses it, distilling begins "
            "to pay. "
        )
    else:
        text += "Scratch given the same hours is not shown: no two scratch runs of a student kept validation images. "
    return text + evidence(frames)
