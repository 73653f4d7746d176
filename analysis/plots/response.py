"""How the score answers each hyper-parameter: a row for each pair, a column for each hyper-parameter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label, wrap
from analysis.order import order
from analysis.plots import PAGE, SETTINGS, TALLEST, Drawing, NothingToShow, register_plot
from analysis.plots.looks import looks
from analysis.searches import evidence, marked, pairs, parameters

_ROWS, _ACROSS, _MOST = 12, 7, 12
_PANEL, _EDGE = 0.95, 1.0
"""Inches: the height of a row of panels where there is room; what stands above and below all rows."""

_MARGINS = (1.38, 0.12, 0.5, 0.52)
"""Inches left (room for pairs and numbers), right, below and above all panels."""

_TICKS = 4
_COLUMNS = [
    "method", "teacher", "student", "pair", "trial", "parameter", "scale", "value", "level", "levels", "score",
    "status", "default", "chosen",
]  # fmt: skip


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per trial, finished or pruned, and hyper-parameter that varies within a cell of its method.

    Columns: method, teacher, student, pair (label), trial, parameter, scale ("log", "linear", "levels", "words"), value
    (where it stands on the axis: the value itself, or its place among the `levels`), level (its text there), levels
    (how many the method has), score (of validation, in percent; of a pruned trial at its last rung), status,
    default, chosen.
    """
    every = marked(frames.table("trials"), frames.matrix)
    every = every.merge(pairs(every).rename(columns={"label": "pair"}), how="left", on=["teacher", "student"])
    parts = [pd.DataFrame(columns=_COLUMNS)]
    for _, rows in every.groupby("method", sort=False):
        for found in parameters(rows):
            words = np.array([*found.levels, ""], dtype=object)
            places = np.where(np.isnan(found.values), -1, found.values).astype(int) if found.levels else -1
            part = rows.assign(parameter=found.name, scale=found.scale, value=found.values, levels=len(found.levels))
            parts.append(part.assign(level=words[places])[_COLUMNS])
    frame = pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]
    kept = frame["status"].isin(["finished", "pruned"]) & frame["score"].notna() & frame["value"].notna()
    return frame[kept].reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes, colour: str = "0.2") -> Axes:
    """One cell and hyper-parameter (rows of `prepare`) on `ax`; pruned trials below the finished ones stand on the
    lower edge."""
    finished, pruned = frame[frame["status"] == "finished"], frame[frame["status"] == "pruned"]
    low, high = _limits(finished if len(finished) else pruned)
    ax.plot(
        pruned["value"], pruned["score"].clip(low, high), "o", markersize=2.6, markerfacecolor="white",
        markeredgecolor=colour, markeredgewidth=0.5, clip_on=False, alpha=0.8,
    )  # fmt: skip
    ax.plot(finished["value"], finished["score"], "o", markersize=2.8, color=colour, markeredgewidth=0, alpha=0.85)
    default, chosen = frame[frame["default"]], frame[frame["chosen"]]
    ax.plot(
        default["value"], default["score"].clip(low, high), "D", markersize=5.2, markerfacecolor="none",
        markeredgecolor="black", markeredgewidth=0.7, clip_on=False,
    )  # fmt: skip
    ax.plot(
        chosen["value"], chosen["score"], "*", markersize=6.5, color=colour, markeredgecolor="black",
        markeredgewidth=0.5, clip_on=False, zorder=4,
    )  # fmt: skip
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(axis="y", labelsize=6.5, pad=1.5)
    ax.tick_params(axis="x", labelsize=6.5, pad=4)
    ax.grid(axis="y")
    return ax


@register_plot("response", 62, SETTINGS)
def compose(frames: Frames) -> list[Drawing]:
    """A drawing for each method, and more where its pairs do not fit a page; the first pages come first."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("the study has no search whose settings differ")
    colours = {name: look.colour for name, look in looks(frame["method"]).items()}
    pages = [page for method in order(frame["method"]) for page in _pages(frame[frame["method"] == method])]
    first = [page for page in pages if page[1] == 1] + [page for page in pages if page[1] > 1]
    drawings = []
    for rows, number, names, labels in first[:_MOST]:
        method = str(rows["method"].iloc[0])
        figure = _page(rows, names, labels, colours[method], frames.metric.axis("validation {plain}"))
        name = f"response_{method}" + (f"_{number}" if number > 1 else "")
        title = f"Response of {method_label(method)} to its hyper-parameters"
        drawings.append(Drawing(name, title, _caption(frames, rows, len(first) - _MOST), figure, more=True))
    return drawings


def _pages(frame: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, int, Sequence[str], Sequence[str]]]:
    """One method's pages: their rows, number from 1, hyper-parameters and pairs."""
    names, labels = sorted(frame["parameter"].unique()), list(frame["pair"].drop_duplicates())
    number = 0
    for i in range(0, len(labels), _ROWS):
        for j in range(0, len(names), _ACROSS):
            number += 1
            page = labels[i : i + _ROWS], names[j : j + _ACROSS]
            rows = frame[frame["pair"].isin(page[0]) & frame["parameter"].isin(page[1])]
            yield rows, number, page[1], page[0]


def _page(frame: pd.DataFrame, names: Sequence[str], labels: Sequence[str], colour: str, axis: str) -> Figure:
    height = min(TALLEST, len(labels) * _PANEL + _EDGE)
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(PAGE, height))
    axes = figure.subplots(len(labels), len(names), squeeze=False, sharex="col", sharey="row")
    left, right, bottom, top = _MARGINS
    figure.subplots_adjust(left / PAGE, bottom / height, 1 - right / PAGE, 1 - top / height, 0.12, 0.3)
    cells = {key: part for key, part in frame.groupby(["pair", "parameter"])}
    for i, label in enumerate(labels):
        for j, name in enumerate(names):
            if (label, name) in cells:
                draw(cells[label, name], axes[i, j], colour)
        axes[i, 0].annotate(
            _two_lines(label), (0, 0.5), (-0.33 * 72, 0), "axes fraction", "offset points", fontsize=6.5, ha="right",
            va="center",
        )  # fmt: skip
    for j, name in enumerate(names):
        _scale(frame[frame["parameter"] == name], axes[-1, j])
        axes[-1, j].set_xlabel(wrap(name, 15), fontsize=6.5, labelpad=2)
        if len(labels) > 4:
            axes[0, j].set_title(wrap(name, 15), fontsize=6.5, pad=5)
    figure.supylabel(axis, fontsize=7, x=0.012, ha="left")
    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=size, markerfacecolor=face, markeredgecolor=edge,
               markeredgewidth=0.6)
        for marker, size, face, edge in (
            ("o", 3, colour, colour), ("o", 3, "white", colour), ("D", 5, "none", "black"), ("*", 6.5, colour, "black"),
        )
    ]  # fmt: skip
    figure.legend(handles, ["finished", "pruned", "default", "best"], loc="upper center", ncols=4)
    return figure


def _two_lines(label: str) -> str:
    """`teacher → student` with its student on a line of its own."""
    teacher, student = label.split(" → ")
    return f"{wrap(teacher, 19, 1)} →\n{wrap(student, 21, 1)}"


def _scale(frame: pd.DataFrame, ax: Axes) -> None:
    """The horizontal axis that all panels of a hyper-parameter share."""
    if frame["scale"].iloc[0] in ("levels", "words"):
        levels = frame.drop_duplicates("value").sort_values("value")
        levels = levels.iloc[:: -(-len(levels) // 8)]
        ax.set_xticks(levels["value"], [wrap(level, 7, 1) for level in levels["level"]])
        ax.set_xlim(-0.5, frame["levels"].iloc[0] - 0.5)
        return
    low, high = frame["value"].min(), frame["value"].max()
    if frame["scale"].iloc[0] == "linear":
        ax.margins(x=0.08)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        return
    ax.set_xscale("log")
    ticks = round_numbers(low, high)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    reach = (high / low) ** 0.08
    ax.set_xlim(low / reach, high * reach)


def round_numbers(low: float, high: float) -> list[float]:
    """Up to _TICKS round numbers for a log axis: powers of ten, where fewer than two fit more digits of each."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    found: list[float] = []
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
        found = [tick for tick in ticks if low <= tick <= high]
        if len(found) > 1:
            break
    return found[:: -(-len(found) // _TICKS)] if found else [float(f"{low:.2g}")]


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    low, high = float(frame["score"].min()), float(frame["score"].max())
    edge = max(0.12 * (high - low), 0.15)
    return low - edge, high + edge


def _caption(frames: Frames, frame: pd.DataFrame, left: int) -> str:
    trials = frame.drop_duplicates(["pair", "trial"])
    pruned = int((trials["status"] == "pruned").sum())
    counts = trials.groupby("pair").size()
    number = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else f"{counts.max()}"
    text = (
        f"Each dot is one of the {number} settings that a cell's search has trained; the other hyper-parameters vary "
        f"with it. {evidence(frames)} Diamond: the default setting; star: the best finished one. "
    )
    if pruned:
        text += (
            f"Hollow: pruned ({pruned} of {len(trials)}), with the score at the last rung reached, not comparable with "
            "the full length and on the panel's edge where it is below or above the finished ones. "
        )
    text += "Each row has its own vertical scale; failed trials are not shown."
    return text + (f" {left} further drawings of this plot are left out." if left > 0 else "")
