"""Does the best setting of one cell serve another: a matrix of regrets for each method."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label
from analysis.order import order
from analysis.plots import COLUMN, PAGE, SETTINGS, TALLEST, Drawing, NothingToShow, register_plot
from analysis.searches import marked, pairs
from analysis.tables import transfer

COLOURS = "YlOrBr"
"""Sequential, safe for the common kinds of colour blindness: the darker, the more is lost."""

_LARGEST, _NARROW, _MOST = 20, 5, 12
_ROW, _EDGE, _GAP = 0.24, 0.95, 0.35
_SOURCES = {"default": "default setting", "average": "mean of its trials"}


def prepare(frames: Frames) -> pd.DataFrame:
    """`analysis.tables.transfer` with the places in the matrix.

    Columns: method, source, row, column, row_label, column_label, regret, exact, distance, spearman, common. Cells
    stand in the order of the families, from 0; the rows of the default and the average below them, _GAP apart.
    """
    table = frames.table("transfer")
    known = pairs(marked(frames.table("trials"), frames.matrix))
    known["place"] = range(len(known))
    for side in ("a", "b"):
        table = table.merge(known.add_suffix(f"_{side}"), how="left", on=[f"teacher_{side}", f"student_{side}"])
    cells = table[["method", "place_b"]].drop_duplicates().sort_values(["method", "place_b"])
    cells["column"] = cells.groupby("method").cumcount()
    table = table.merge(cells, on=["method", "place_b"])
    rows = cells.rename(columns={"place_b": "place_a", "column": "row"})
    table = table.merge(rows, how="left", on=["method", "place_a"])
    below = table.groupby("method")["column"].transform("max") + 1 + _GAP
    for step, (source, label) in enumerate(_SOURCES.items()):
        table["row"] = table["row"].where(table["source"] != source, below + step)
        table["label_a"] = table["label_a"].where(table["source"] != source, label)
    table = table.rename(columns={"label_a": "row_label", "label_b": "column_label"})
    columns = ["method", "source", "row", "column", "row_label", "column_label", "regret", "exact", "distance"]
    return table[[*columns, "spearman", "common"]]


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One method's rows of `prepare` on `ax`; framed: that very setting was tried, dash: it was not finished there."""
    colour = _colour(frame)
    for cell in frame.itertuples():
        _draw_cell(cell, ax, colour)
    size = int(frame["column"].max()) + 1
    for i in range(size):
        ax.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, facecolor="0.93", edgecolor="white", linewidth=0.8))
    rows = frame.drop_duplicates("row").sort_values("row")
    labels = [
        f"{label}  {int(row) + 1}" if source == "cell" else label
        for label, row, source in zip(rows["row_label"], rows["row"], rows["source"], strict=True)
    ]
    ax.set_yticks(rows["row"], labels)
    ax.set_xticks(range(size), [str(i + 1) for i in range(size)])
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0, pad=2, labelsize=6.5)
    ax.set_xlim(-0.5, size - 0.5)
    ax.set_ylim(frame["row"].max() + 0.5, -0.5)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("used in cell")
    ax.set_ylabel("best setting of cell")
    return ax


@register_plot("transfer", 66, SETTINGS)
def compose(frames: Frames) -> list[Drawing]:
    """A drawing for each method that was searched in at least two cells."""
    frame = prepare(frames)
    sizes = frame.groupby("method")["column"].max() + 1
    methods = [method for method in order(frame["method"]) if sizes[method] > 1]
    if not methods:
        raise NothingToShow("no method has a finished search in two cells")
    drawings = []
    for method in methods[:_MOST]:
        rows = frame[frame["method"] == method]
        shown = rows[(rows["column"] < _LARGEST) & ((rows["source"] != "cell") | (rows["row"] < _LARGEST))].copy()
        size = int(shown["column"].max()) + 1
        shown["row"] = shown["row"].where(shown["source"] == "cell", shown["row"] - int(sizes[method]) + size)
        title = f"Transfer of settings of {method_label(method)}"
        caption = _caption(frames, rows, int(sizes[method]) - size, len(methods) - _MOST)
        drawings.append(
            Drawing(f"transfer_{method}", title, caption, _figure(shown, size, frames.metric.points), more=True)
        )
    return drawings


def _figure(frame: pd.DataFrame, size: int, points: str) -> Figure:
    height = min(TALLEST, (size + _GAP + len(_SOURCES)) * _ROW + _EDGE)
    figure = Figure(figsize=(COLUMN if size <= _NARROW else PAGE, height))
    ax = draw(frame, figure.subplots())
    bar = figure.colorbar(_colour(frame), ax=ax, orientation="horizontal", extend="max", aspect=40, pad=0.03)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.set_label(f"regret ({points})", fontsize=6.5)
    bar.ax.tick_params(labelsize=6.5)
    bar.outline.set_visible(False)
    return figure


def _colour(frame: pd.DataFrame) -> ScalarMappable:
    """Colours up to the 95th percentile of a method's regrets, so that one useless setting does not hide the rest."""
    known = frame["regret"].dropna().astype(float)
    limit = max(0.5, float(np.ceil(np.percentile(known, 95) * 2) / 2)) if len(known) else 0.5
    return ScalarMappable(Normalize(0, limit), mpl.colormaps[COLOURS])


def _draw_cell(cell: Any, ax: Axes, colour: ScalarMappable) -> None:
    x, y, regret = cell.column, cell.row, float(cell.regret)
    face = (1.0, 1.0, 1.0) if np.isnan(regret) else colour.to_rgba(np.array([regret]))[0, :3]
    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=0.8))
    if cell.exact:
        ax.add_patch(Rectangle((x - 0.45, y - 0.42), 0.9, 0.84, fill=False, edgecolor="black", linewidth=0.6))
    if np.isnan(regret):
        ax.text(x, y, "–", ha="center", va="center", fontsize=6.5)
        return
    ink = "white" if np.dot(face, (0.299, 0.587, 0.114)) < 0.5 else "black"
    text = f"{regret:.1f}" if regret < 9.95 else f"{regret:.0f}"
    ax.text(x, y, text, ha="center", va="center", fontsize=6.5, color=ink)


def _caption(frames: Frames, frame: pd.DataFrame, left: int, more: int) -> str:
    cells = frame[frame["source"] == "cell"]
    exact = cells["exact"].astype(bool)
    text = (
        "Regret: how much worse a cell (column) does with the best setting of another (row) than with its own best, on "
        f"the validation images of {frames.data}, one run and one seed a setting, so that small regrets are noise. "
        f"Framed: the cell has tried that very setting ({int(exact.sum())} of {len(cells)}); a dash: and did not "
        "finish it (pruned or failed). Not framed: the nearest setting that it has finished instead"
    )
    distances = cells.loc[~exact, "distance"].astype(float)
    text += (
        f", at a median distance of {distances.median():.2f} (0 the same, 1 opposite ends)" if len(distances) else ""
    )
    text += ". Below: the default setting in each cell, and the mean regret of all that the cell has finished: "
    text += "a setting that transfers must be clearly better than this mean. "
    known = cells["spearman"].dropna().astype(float)
    needed = transfer.COMMON_NEEDED
    if len(known):
        text += (
            f"Rank correlation of the settings that two cells share: median {known.median():.2f} over "
            f"{len(known) // 2} pairs of cells with at least {needed} of them."
        )
    else:
        text += f"No two cells share {needed} finished settings, so that there is no rank correlation."
    text += f" {left} more cells are left out." if left > 0 else ""
    return text + (f" The matrices of {more} more methods are left out." if more > 0 else "")
