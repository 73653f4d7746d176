"""What a gain costs: device-hours against gain over scratch, with the front of what nothing cheaper beats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.cells import FAMILIES
from analysis.cost import whole_hours
from analysis.frames import Frames
from analysis.labels import family_label, method_label, number
from analysis.order import order
from analysis.plots import COLUMN, COST, PAGE, Drawing, NothingToShow, register_plot
from analysis.plots._dots import usual
from analysis.plots._evidence import evidence, intervals
from analysis.plots.looks import looks
from analysis.plots.response import round_numbers
from analysis.words import counted

MARKERS = dict(zip(FAMILIES, ("o", "s", "^"), strict=True))
"""The student's family; any other is a diamond."""

_CELL = ["teacher", "student", "method"]
_GAIN = "gain_over_scratch"
_HEIGHT = 2.9


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per cell and setting with a gain and finished runs.

    Columns: teacher, student, student_family, method, setting, hours (device-hours of one run and the pre-training it
    begins with, mean over the setting's finished confirmation runs), spent (the same and, for the tuned setting, the
    hours of the cell's search), gain, low, high (points over scratch; NaN bounds where there is no interval), front (no
    cell of the setting gains as much in fewer hours of a run).
    """
    cells = frames.cells[[*_CELL, "student_family", "setting", _GAIN, f"{_GAIN}_low", f"{_GAIN}_high"]]
    runs = frames.runs[frames.runs["status"] == "finished"]
    hours = pd.Series(whole_hours(runs, frames.gpu_share).to_numpy(), pd.Index(runs["run_id"]))
    matrix = frames.matrix.assign(hours=frames.matrix["run_id"].map(hours).astype(float))
    mean = matrix.groupby([*_CELL, "setting"])["hours"].mean().rename("hours").reset_index()
    frame = cells.merge(mean, how="left", on=[*_CELL, "setting"])
    frame = frame.merge(frames.table("costs")[[*_CELL, "search_hours"]], how="left", on=_CELL)
    frame["spent"] = frame["hours"] + frame["search_hours"].fillna(0.0) * (frame["setting"] == "tuned")
    frame = frame.rename(columns={_GAIN: "gain", f"{_GAIN}_low": "low", f"{_GAIN}_high": "high"})
    frame = frame[frame["gain"].notna() & (frame["hours"] > 0)].reset_index(drop=True)
    frame["front"] = False
    for _, rows in frame.groupby("setting"):
        frame.loc[rows.index, "front"] = _front(rows["hours"].to_numpy(float), rows["gain"].to_numpy(float))
    names = ["student_family", "method", "setting", "hours", "spent", "gain", "low", "high", "front"]
    return frame[["teacher", "student", *names]]


def by_method(frame: pd.DataFrame) -> pd.DataFrame:
    """Per method and setting the means over those pairs of `prepare` that have them all: method, setting, pairs, hours,
    spent, gain, front (no other row gains as much for fewer hours spent). No row where no pair has them all."""
    wanted = len(frame[["method", "setting"]].drop_duplicates())
    full = frame[frame.groupby(["teacher", "student"])["method"].transform("size") == wanted]
    grouped = full.groupby(["method", "setting"])
    table = grouped[["hours", "spent", "gain"]].mean().assign(pairs=grouped.size()).reset_index()
    return table.assign(front=_front(table["spent"].to_numpy(float), table["gain"].to_numpy(float)))


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """The cells of one setting (rows of `prepare`) on `ax`: hours of a run against gain."""
    styles = looks(frame["method"])
    for (method, family), rows in frame.groupby(["method", "student_family"], dropna=False):
        colour = styles[str(method)].colour
        ax.vlines(rows["hours"], rows["low"], rows["high"], color=colour, linewidth=0.6, alpha=0.3, zorder=1)
        ax.plot(
            rows["hours"], rows["gain"], MARKERS.get(str(family), "D"), color=colour, markersize=3.4,
            markeredgecolor="white", markeredgewidth=0.3,
        )  # fmt: skip
    _finish(ax, frame["hours"], frame[frame["front"]], "hours")
    _edge(ax, frame, "hours")
    ax.set_xlabel("device-hours of one training run")
    return ax


def draw_methods(frame: pd.DataFrame, ax: Axes) -> Axes:
    """The methods (rows of `by_method`) on `ax`: hours spent to get the student against gain, default to tuned."""
    for method, look in looks(frame["method"]).items():
        rows = frame[frame["method"] == method].sort_values("setting")
        ax.plot(rows["spent"], rows["gain"], color=look.colour, linewidth=0.6, alpha=0.6)
        for setting, face in (("default", "white"), ("tuned", look.colour)):
            one = rows[rows["setting"] == setting]
            ax.plot(
                one["spent"], one["gain"], look.marker, markerfacecolor=face,
                markeredgecolor=look.colour, markersize=4, zorder=3,
            )  # fmt: skip
    _finish(ax, frame["spent"], frame[frame["front"]], "spent")
    _edge(ax, frame, "spent")
    ax.set_xlabel("device-hours of search and one run")
    return ax


@register_plot("cost_gain", 70, COST)
def compose(frames: Frames) -> list[Drawing]:
    """The cells of the tuned setting (of the default where none is tuned); beside them the methods where both exist."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no cell has a gain and a known training time yet")
    setting = "tuned" if (frame["setting"] == "tuned").any() else "default"
    shown = frame[frame["setting"] == setting]
    means = by_method(frame)
    both = set(means["setting"]) == {"default", "tuned"}
    figure = Figure(figsize=(PAGE if both else COLUMN, _HEIGHT + 0.4))
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    draw(shown, axes[0]).set_ylabel(f"gain over scratch ({frames.metric.points})")
    axes[0].set_title(f"each cell, {setting} setting", pad=4)
    if both:
        draw_methods(means, axes[1]).set_ylabel(f"mean gain over scratch ({frames.metric.points})")
        axes[1].set_title("each method, its search included", pad=4)
    _legend(frame, figure, both)
    title = "Cost and gain"
    return [Drawing("cost_gain", title, _caption(frames, shown, means if both else None), figure)]


def _front(hours: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other reaches for as little and with as much gain; of equal points the first."""
    ordered = np.lexsort((-gain, hours))
    before = np.concatenate([[-np.inf], np.maximum.accumulate(gain[ordered])[:-1]])[: len(gain)]
    front = np.zeros(len(gain), dtype=bool)
    front[ordered] = gain[ordered] > before
    return front


def _finish(ax: Axes, hours: pd.Series, front: pd.DataFrame, column: str) -> None:
    """The front, the line of no gain and a logarithmic axis that shows at least two numbers."""
    low, high = float(hours.min()), float(hours.max())
    reach = max(1.15, (high / low) ** 0.06, (2 * low / high) ** 0.5)
    front = front.sort_values(column)
    x, y = [*front[column], high * reach], [*front["gain"], front["gain"].max()]
    ax.plot(x, y, drawstyle="steps-post", color="black", linewidth=0.8, zorder=2)
    ax.axhline(0, color="0.55", linewidth=0.6, zorder=0)
    ax.set_xscale("log")
    ax.set_xlim(low / reach, high * reach)
    ticks = round_numbers(low / reach, high * reach)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y")


def _far(gains: pd.Series) -> pd.Series:
    """Which gains lie so far off that an axis with them would show nothing of the others."""
    low, high = usual(gains)
    return ~gains.between(low, high)


def _edge(ax: Axes, frame: pd.DataFrame, column: str) -> None:
    """The axis ends at the usual gains; those further off are arrows at its edge."""
    low, high = usual(frame["gain"])
    margin = 0.06 * (high - low) + 0.1
    ax.set_ylim(low - margin, high + margin)
    styles = looks(frame["method"])
    mark: Any
    for mark in frame[_far(frame["gain"])].itertuples():
        above = mark.gain > high
        ax.plot([getattr(mark, column)], [high + margin if above else low - margin], marker="^" if above else "v",
                color=styles[mark.method].colour, markersize=5, clip_on=False, zorder=4)  # fmt: skip


def _legend(frame: pd.DataFrame, figure: Figure, both: bool) -> None:
    styles = looks(frame["method"])
    handles = [Line2D([], [], color=styles[method].colour, linewidth=2.2) for method in order(frame["method"])]
    labels = [method_label(method) for method in order(frame["method"])]
    families = [family for family in FAMILIES if (frame["student_family"] == family).any()]
    others = not frame["student_family"].isin(FAMILIES).all()
    for name, marker in [(family_label(family), MARKERS[family]) for family in families] + [("other", "D")] * others:
        handles.append(Line2D([], [], color="0.3", marker=marker, linestyle="", markersize=3.6))
        labels.append(f"{name} student")
    handles.append(Line2D([], [], color="black", linewidth=0.8))
    labels.append("Pareto front")
    figure.legend(
        handles, labels, loc="outside upper center", ncols=7 if both else 3, handlelength=1.2, columnspacing=1.2
    )


def _caption(frames: Frames, frame: pd.DataFrame, means: pd.DataFrame | None) -> str:
    setting = str(frame["setting"].iloc[0])
    missing = int((frames.cells["setting"] == setting).sum()) - len(frame)
    text = (
        f"{evidence(frames)} Device-hours: of one GPU, or of the CPUs of one run. Each cell: mean hours of the "
        "finished confirmation runs of the setting, that is of training the student beside its teacher; neither the "
        "search nor the teacher's own training is in it. "
    )
    text += f"{intervals(frame['low'])} "
    if means is not None:
        text += (
            f"Each method: mean over the {counted(int(means['pairs'].iloc[0]), 'pair')} with every method and setting. "
            "Hollow: default setting, one run; filled: tuned setting, the cell's whole search and one run. "
        )
    text += "The front joins what nothing cheaper beats; the noise of the gains makes it look better than it is."
    if (far := frame.loc[_far(frame["gain"]), "gain"]).size:
        ends = f"{number(far.min())} to {number(far.max())}"
        text += f" Arrows at the edge: further off ({counted(len(far), 'cell')}, {ends})."
    return text + (f" {missing} cells without a gain or time are not shown." if missing > 0 else "")
