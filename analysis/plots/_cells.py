"""The ink of a heat map: cells with a number, with a reason for having none, and the names of models and families."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from analysis.cells import family_order
from analysis.colours import GAIN, LOSS, NONE
from analysis.labels import family_label, number, shorten, wrap

COLOURS = LinearSegmentedColormap.from_list("gains", [LOSS, NONE, GAIN])

LABEL = 6.5
_WORD, _NUMBER, _SMALL = 6.5, 7.0, 6.5
_ROOMY = (32.0, 20.0)
_EM = 0.62
_ABSENT, _GREY, _LINE = "white", "0.9", "0.15"
_SIGNS = {"waiting": "…", "running": "…"}


def scale(limit: float) -> ScalarMappable:
    """The colours of gains from -limit to limit points."""
    return ScalarMappable(Normalize(-limit, limit), COLOURS)


def cell_points(ax: Axes, columns: int, rows: int) -> tuple[float, float]:
    """Width and height of one of the cells that share `ax`, in points."""
    figure = ax.figure.get_figure(root=True)
    assert figure is not None
    box, (width, height) = ax.get_position(), figure.get_size_inches()
    return 72 * box.width * width / columns, 72 * box.height * height / rows


def draw_cell(cell: Any, ax: Axes, size: tuple[float, float], limit: float) -> None:
    """A row of `gain_heatmap.prepare` at its place: number, interval and seeds in a roomy cell, else the number."""
    corner, roomy = (cell.column - 0.5, cell.row - 0.5), size[0] >= _ROOMY[0] and size[1] >= _ROOMY[1]
    centre: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.05}
    if pd.isna(cell.gain):
        absent = cell.reason == "not in study"
        ax.add_artist(Rectangle(corner, 1, 1, facecolor=_ABSENT if absent else _GREY, edgecolor="white", linewidth=0.8))
        if not absent:
            lines = max(1, int(size[1] // (_WORD * 1.3)))
            text = wrap(cell.reason, int(size[0] / (_WORD * _EM)), lines) if roomy else _sign(cell.reason)
            ax.text(cell.column, cell.row, text, fontsize=_WORD if roomy else _SMALL, color="0.25", **centre)
        return
    face = scale(limit).to_rgba(cell.gain)[:3]
    ink, weight = "black", "bold" if cell.significant else "normal"
    ax.add_artist(Rectangle(corner, 1, 1, facecolor=face, edgecolor="white", linewidth=0.8))
    if not cell.significant:
        mark = 0.8 * np.array(face) + 0.2 * np.array(to_rgb(ink))
        inside = (cell.column - 0.48, cell.row - 0.47)
        ax.add_artist(Rectangle(inside, 0.96, 0.94, facecolor="none", edgecolor=mark, hatch="////", linewidth=0))
    if cell.gain < -limit:
        notch = [(corner[0], corner[1] + 0.7), (corner[0], corner[1] + 1), (corner[0] + 0.3, corner[1] + 1)]
        ax.add_artist(Polygon(notch, facecolor="0.2", linewidth=0))
    halo = [withStroke(linewidth=1.4, foreground=face)]
    style: dict[str, Any] = {"color": ink, "path_effects": halo, **centre}
    if not roomy:
        ax.text(cell.column, cell.row, _short(cell.gain), fontsize=_SMALL, fontweight=weight, **style)
        return
    below = evidence(cell)
    rise = (below.count("\n") + 1) * _WORD * 0.58 / size[1] if below else 0.0
    ax.text(cell.column, cell.row - rise, _long(cell.gain), fontsize=_NUMBER, fontweight=weight, **style)
    if below:
        drop = _NUMBER * 0.62 / size[1]
        ax.text(cell.column, cell.row + drop, below, fontsize=_WORD, **style)


def evidence(cell: Any) -> str:
    """The half width of the interval, and the number of seeds where it is not the planned one."""
    partial = f"n={cell.n} of {cell.planned}" if cell.n < cell.planned else "n=1" if cell.n == 1 else ""
    half = "" if pd.isna(cell.half) else f"±{cell.half:.{1 if cell.half >= 9.95 else 2}f}"
    return "\n".join(part for part in (half, partial) if part)


def name_models(frame: pd.DataFrame, ax: Axes, size: tuple[float, float]) -> None:
    """Students along the bottom, teachers along the left, families along the top and the right, with lines between."""
    students = frame.drop_duplicates("column").sort_values("column")
    teachers = frame.drop_duplicates("row").sort_values("row")
    labels, turned = student_labels(list(students["student"]), size[0])
    ax.set_xticks(range(len(students)), labels, fontsize=LABEL, rotation=90 if turned else 0)
    ax.set_yticks(range(len(teachers)), teacher_labels(teachers["teacher"]), fontsize=LABEL)
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)
    for start, end, family in spans(list(students["student_family"])):
        ax.annotate(family_label(family), ((start + end) / 2, -0.5), (0, 1.5), textcoords="offset points",
                    ha="center", va="bottom", fontsize=_WORD, color="0.35", annotation_clip=False)  # fmt: skip
        if start > 0:
            ax.axvline(start - 0.5, color=_LINE, linewidth=1.2)
    for start, end, family in spans(list(teachers["teacher_family"])):
        ax.annotate(family_label(family), (len(students) - 0.5, (start + end) / 2), (1.5, 0), rotation=270,
                    textcoords="offset points", ha="left", va="center", fontsize=_WORD, color="0.35",
                    annotation_clip=False)  # fmt: skip
        if start > 0:
            ax.axhline(start - 0.5, color=_LINE, linewidth=1.2)


def teacher_labels(names: Iterable[str]) -> list[str]:
    return [wrap(name, 16) for name in names]


def student_labels(names: Sequence[str], width: float) -> tuple[list[str], bool]:
    """The labels for cells of `width` points, and whether they are turned upright because they are too long."""
    letters = int(width / (LABEL * _EM))
    lines = [wrap(name, letters) if letters > 3 else "…" for name in names]
    if all("".join(line.split("\n")) == name and _whole(line) for line, name in zip(lines, names, strict=True)):
        return lines, False
    return [wrap(name, 22, 1) for name in names], True


def spans(families: Sequence[str]) -> list[tuple[int, int, str]]:
    """Runs of equal families as (first, last, family)."""
    starts = [i for i, family in enumerate(families) if i == 0 or family != families[i - 1]]
    ends = [start - 1 for start in starts[1:]] + [len(families) - 1]
    return [(start, end, families[start]) for start, end in zip(starts, ends, strict=True)]


def inches(labels: Iterable[str]) -> float:
    """The length of the longest line among the labels."""
    return max(_length(line) for label in labels for line in label.split("\n"))


@functools.cache
def _length(line: str) -> float:
    """The length of a line of text in inches."""
    return float(TextPath((0, 0), line, size=LABEL).get_extents().width) / 72


def axis(cells: pd.DataFrame, side: str) -> pd.DataFrame:
    """The distinct models of one side, grouped by family, with label and position."""
    family = f"{side}_family"
    models = cells[[side, family]].drop_duplicates(side).sort_values(side)
    models = models.sort_values(family, key=family_order, kind="stable")
    models[f"{side}_label"] = models[side].map(shorten(models[side]))
    models["row" if side == "teacher" else "column"] = range(len(models))
    return models


def why(gain: float, status: object, reason: object) -> str:
    """Why a pair has no number, from its state and reason; empty where it has one."""
    if pd.notna(gain):
        return ""
    if pd.isna(status):
        return "not in study"
    if not reason:
        return "no scratch run yet" if status == "finished" else str(status)
    return str(reason) if status == "finished" or str(status) in str(reason) else f"{status}: {reason}"


def _whole(label: str) -> bool:
    """Whether a wrapped name is broken at its own joints only."""
    return all(line[-1] in "_.:/-" for line in label.split("\n")[:-1])


def _sign(reason: str) -> str:
    return _SIGNS.get(reason.split(":")[0], "×")


def _long(gain: float) -> str:
    return number(gain, 1 if abs(gain) >= 9.995 else 2)


def _short(gain: float) -> str:
    return number(gain, 0 if abs(gain) >= 9.95 else 1)
