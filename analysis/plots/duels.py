"""Each method against each other: the mean difference in points, a row minus a column."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.cells import main_setting
from analysis.colours import end
from analysis.frames import Frames
from analysis.labels import method_label, number
from analysis.plots import COLUMN, METHODS, PAGE, Drawing, NothingToShow, register_plot
from analysis.plots._cells import scale
from analysis.plots._dots import usual
from analysis.plots._evidence import evidence
from analysis.stats import LEVEL
from analysis.tables.duels import BEST_OTHER

_CELL, _ROW, _LEFT = 0.46, 0.3, 0.75
"""Inches: width and height of a cell, and left of all for the names."""
_MOST = 12


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per ordered two methods of the main setting, and per method and the best other.

    Columns: method, other, row, column (places, best mean difference first; the best other last), difference, half
    (half width of the interval), sure (p after Holm below 0.05; against the best other p itself), limit.
    """
    table = frames.table("duels")
    table = table[table["setting"] == main_setting(frames.cells)]
    turned = table[table["other"] != BEST_OTHER].rename(columns={"method": "other", "other": "method"})
    turned = turned.assign(difference=-turned["difference"])
    frame = pd.concat([table, turned], ignore_index=True)
    frame["half"] = (frame["high"] - frame["low"]) / 2
    frame["sure"] = frame["p_holm"].fillna(frame["p"]).astype(float) < 1 - LEVEL
    means = frame[frame["other"] != BEST_OTHER].groupby("method")["difference"].mean()
    places = {name: i for i, name in enumerate(means.sort_values(ascending=False, kind="stable").index)}
    frame["row"] = frame["method"].map(places)
    frame["column"] = frame["other"].map(places | {BEST_OTHER: len(places)})
    frame = frame[(frame["row"] < _MOST) & ((frame["column"] < _MOST) | (frame["other"] == BEST_OTHER))]
    frame["limit"] = end(pd.Series(usual(frame["difference"])))
    columns = ["method", "other", "row", "column", "difference", "half", "sure", "limit"]
    return frame.sort_values(["row", "column"], ignore_index=True)[columns]


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """All rows of `prepare` on `ax`."""
    colours = scale(float(frame["limit"].iloc[0]))
    cell: Any
    for cell in frame.itertuples():
        face = colours.to_rgba(cell.difference)
        ax.add_patch(Rectangle((cell.column - 0.5, cell.row - 0.5), 1, 1, facecolor=face, edgecolor="white"))
        weight = "bold" if cell.sure else "normal"
        ax.text(cell.column, cell.row, number(cell.difference, 1 if abs(cell.difference) >= 9.95 else 2), ha="center",
                va="center", fontsize=6.5, fontweight=weight, color="black" if cell.sure else "0.35")  # fmt: skip
    rows = frame.drop_duplicates("row").sort_values("row")
    columns = frame.drop_duplicates("column").sort_values("column")
    names = [BEST_OTHER.replace(" ", "\n") if name == BEST_OTHER else method_label(name) for name in columns["other"]]
    ax.set_yticks(rows["row"], [method_label(name) for name in rows["method"]])
    ax.set_xticks(columns["column"], names)
    ax.xaxis.tick_top()
    ax.tick_params(length=0, pad=2, labelsize=6.5)
    ax.set_xlim(-0.5, columns["column"].max() + 0.5)
    ax.set_ylim(rows["row"].max() + 0.5, -0.5)
    ax.spines[:].set_visible(False)
    return ax


@register_plot("duels", 45, METHODS)
def compose(frames: Frames) -> list[Drawing]:
    """One drawing of the main setting."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no two methods have a pair in common yet")
    rows, columns = frame["row"].nunique(), frame["column"].nunique()
    width = COLUMN if columns * _CELL + _LEFT <= COLUMN else PAGE
    figure = Figure(figsize=(width, rows * _ROW + 0.5), layout="constrained")
    draw(frame, figure.subplots())
    return [Drawing("duels", "Each method against each other", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    table = frames.table("duels")
    pairs = table.loc[table["setting"] == main_setting(frames.cells), "pairs"]
    many = f"{pairs.min()}" if pairs.min() == pairs.max() else f"{pairs.min()} to {pairs.max()}"
    text = (
        f"Mean difference in {frames.metric.points}, the row's method minus the column's, over the {many} pairs that "
        f"both have, paired by pair and seed; scratch runs that they share cancel. {evidence(frames)} Bold: differs "
        f"from 0 at p < {1 - LEVEL:.2f} after Holm's correction over all comparisons of two methods."
    )
    if (frame["other"] == BEST_OTHER).any():
        text += (
            " Last column: against the best of all others on each pair, chosen on validation (bold: p of its own); "
            "what is above 0 there is better than choosing among the rest would have been."
        )
    return text
