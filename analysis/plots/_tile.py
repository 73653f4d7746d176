"""The ink of the atlas: a tile for each pair, and the means along its edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from analysis.labels import method_label, number, wrap
from analysis.plots._cells import scale
from analysis.plots.looks import Look

_HEAD = 10.0
"""Points: the head of a tile, which holds the gain and the ring."""

_TEXT, _LETTER = 6.5, 4.3
_ROOMY = 40.0
"""Points: the width of a tile from which its gain has two digits and its ring is large."""

_GREY, _PALE, _DARK = "0.88", "0.96", "0.15"


def draw_tile(
    tile: pd.DataFrame, ax: Axes, size: tuple[float, float], styles: Mapping[str, Look], dearest: float
) -> None:
    """The methods of one pair (rows of `atlas.prepare`) at its place, in a tile of `size` points; the ring is full
    where a run costs as much as the `dearest`."""
    column, row = tile["column"].iloc[0], tile["row"].iloc[0]
    if tile["gain"].isna().all():
        _empty(tile, ax, size, column, row)
        return
    head = min(0.5, _HEAD / size[1])
    ax.add_artist(Rectangle((column - 0.49, row - 0.5 + head), 0.98, 0.98 - head, facecolor=_PALE, linewidth=0))
    _bars(tile, ax, (column - 0.46, row - 0.45 + head), (0.92, 0.88 - head), styles)
    chosen: Any
    for chosen in tile[tile["chosen"]].itertuples():
        _head(chosen, ax, size, head, dearest)
        if chosen.default:
            corner = [(column + 0.49, row + 0.48 - 5 / size[1]), (column + 0.49, row + 0.48)]
            ax.fill(*zip(*corner, (column + 0.49 - 5 / size[0], row + 0.48), strict=True), color=_DARK, linewidth=0)


def draw_margin(frame: pd.DataFrame, ax: Axes, tiles: Axes, below: bool) -> None:
    """The means of the students `below` the tiles, or of the teachers beside them, on `ax`: their names go along."""
    place, gain = frame["place"], frame["gain"]
    ends = (frame["low"], frame["high"])
    low, high = min(0.0, gain.min()), max(0.0, gain.max())
    far = 0.5 * (high - low) or 1.0  # an interval that goes on beyond the panel must not flatten all means
    span = max(low - far, min(low, ends[0].min()) - 0.1 * far), min(high + far, max(high, ends[1].max()) + 0.1 * far)
    if below:
        ax.vlines(place, *ends, color="0.3", linewidth=1)
        ax.plot(place, gain, "o", color="0.1", markersize=3)
        ax.axhline(0, color="0.5", linewidth=0.6)
        ax.set(xlim=tiles.get_xlim(), ylim=span)
        ax.set_xticks(tiles.get_xticks(), [label.get_text() for label in tiles.get_xticklabels()])
        for label, above in zip(ax.get_xticklabels(), tiles.get_xticklabels(), strict=True):
            label.set(rotation=above.get_rotation(), fontsize=above.get_fontsize())
        tiles.tick_params(labelbottom=False)
        ax.tick_params(axis="x", length=0)
        ax.yaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2))
        ax.grid(axis="y")
        ax.spines["bottom"].set_visible(False)
        return
    ax.hlines(place, *ends, color="0.3", linewidth=1)
    ax.plot(gain, place, "o", color="0.1", markersize=3)
    ax.axvline(0, color="0.5", linewidth=0.6)
    ax.set(ylim=tiles.get_ylim(), xlim=span)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    ax.grid(axis="x")
    ax.set_title("mean", fontsize=_TEXT, pad=3)


def _empty(tile: pd.DataFrame, ax: Axes, size: tuple[float, float], column: int, row: int) -> None:
    """A pair without any number: nothing where it is not in the study, else grey with the first reason."""
    reasons = [reason for reason in tile["reason"] if reason != "not in study"]
    if not reasons:
        return
    ax.add_artist(Rectangle((column - 0.49, row - 0.5), 0.98, 0.98, facecolor=_GREY, linewidth=0))
    text = wrap(reasons[0], max(4, int(size[0] / _LETTER)), max(1, int(size[1] // (_TEXT * 1.3))))
    ax.text(column, row, text if size[0] > _ROOMY else "…", fontsize=_TEXT, color="0.3", ha="center", va="center")


def _head(chosen: Any, ax: Axes, size: tuple[float, float], head: float, dearest: float) -> None:
    """Gain, method where there is room, and the ring of the cost."""
    colour = scale(chosen.limit).to_rgba(chosen.gain) if chosen.sure else _GREY
    corner = (chosen.column - 0.49, chosen.row - 0.5)
    ax.add_artist(Rectangle(corner, 0.98, head, facecolor=colour, linewidth=0))
    roomy = size[0] > _ROOMY
    digits, ring = (2, 6.0) if roomy else (1 if abs(chosen.gain) < 9.95 else 0, 4.0)
    text, name = number(chosen.gain, digits), method_label(chosen.method)
    room = size[0] - ring - 4
    if (len(text) + 1 + len(name)) * _LETTER < room:
        text = f"{text} {name}"
    middle = chosen.row - 0.5 + head / 2
    ax.text(corner[0] + 1 / size[0], middle, text, fontsize=_TEXT, va="center_baseline", ha="left",
            fontweight="bold" if chosen.sure and len(text) * _LETTER * 1.1 < room else "normal")  # fmt: skip
    if pd.isna(chosen.cost):
        return
    place = [chosen.column + 0.49 - (ring / 2 + 1.5) / size[0]], [middle]
    ax.scatter(*place, s=ring**2, facecolor="white", edgecolor=_DARK, linewidth=0.6, zorder=3)
    share = float(min(1.0, chosen.cost / dearest))
    wedge = Path.unit_circle() if share > 0.995 else Path.wedge(90 - 360 * share, 90)
    ends = np.abs(wedge.vertices).max()  # a marker is drawn so that its furthest point is at half its size
    ax.scatter(*place, s=(ring * ends) ** 2, marker=wedge, facecolor=_DARK, linewidth=0, zorder=4)


def _bars(
    tile: pd.DataFrame, ax: Axes, corner: tuple[float, float], extent: tuple[float, float], styles: Mapping[str, Look]
) -> None:
    """A bar for each method from the line of no gain, with its interval; an arrow where it goes beyond the scale."""
    left, right = tile[["left", "right"]].iloc[0]
    span = right - left or 1.0
    slot = extent[0] / len(tile)

    def height(gain: float) -> float:
        return float(corner[1] + extent[1] * (right - min(max(gain, left), right)) / span)

    zero = height(0.0)
    ax.plot([corner[0], corner[0] + extent[0]], [zero, zero], color="0.5", linewidth=0.5, zorder=1)
    bar: Any
    for place, bar in enumerate(tile.itertuples()):
        if pd.isna(bar.gain):
            continue
        x, y, colour = corner[0] + (place + 0.5) * slot, height(bar.gain), styles[bar.method].colour
        frame = {"edgecolor": _DARK, "linewidth": 0.8} if bar.chosen else {"linewidth": 0}
        ax.add_artist(
            Rectangle((x - 0.36 * slot, min(y, zero)), 0.72 * slot, abs(y - zero), facecolor=colour, zorder=2, **frame)
        )
        if pd.notna(bar.low):
            ax.plot([x, x], [height(bar.low), height(bar.high)], color=_DARK, linewidth=0.5, zorder=3)
        if not left <= bar.gain <= right:
            ax.plot([x], [y], marker="v" if bar.gain < left else "^", color=_DARK, markersize=2, zorder=4)
