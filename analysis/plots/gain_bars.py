"""Gain over scratch of every method for each pair: a mark with its interval, tuned and default beside each other."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cells import family_order
from analysis.frames import Frames
from analysis.labels import shorten, wrap
from analysis.plots import COLUMN, HELPS, PAGE, TALLEST, Drawing, NothingToShow, register_plot
from analysis.plots._dots import ROW, arrange, beyond, draw_dots, family_pair, head
from analysis.plots._evidence import continued, evidence, intervals, numbered

_ACROSS = 3
_HEAD, _FOOT = 0.5, 0.45
"""Inches of a panel besides its rows, and of the page besides its panels."""

_LETTERS = 34
_PAIR = ["teacher_family", "student_family", "teacher", "student"]


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per pair, method and setting, pairs of the same two families together.

    Columns: teacher, student (labels), teacher_family, student_family, pair (position), method, setting, gain, low,
    high (points of the score; NaN where there is none), n, planned, reason (the state of a cell without a gain), and
    those of `analysis.plots._dots.arrange`.
    """
    cells = frames.cells.sort_values(_PAIR, key=family_order, kind="stable")
    teachers, students = shorten(cells["teacher"]), shorten(cells["student"])
    gain = cells["gain_over_scratch"].astype(float)
    unfinished = cells["status"].where(cells["status"] != "finished", "no scratch run")
    frame = pd.DataFrame(
        {
            "teacher": cells["teacher"].map(teachers),
            "student": cells["student"].map(students),
            "teacher_family": cells["teacher_family"],
            "student_family": cells["student_family"],
            "pair": cells.groupby(["teacher", "student"], sort=False).ngroup(),
            "method": cells["method"],
            "setting": cells["setting"],
            "gain": gain,
            "low": cells["gain_over_scratch_low"].astype(float),
            "high": cells["gain_over_scratch_high"].astype(float),
            "n": cells["n"],
            "planned": cells["seeds_planned"],
            "reason": unfinished.where(gain.isna(), ""),
        }
    )
    return arrange(frame, frames.cells["method"]).reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one pair."""
    draw_dots(frame, ax)
    pair = frame.iloc[0]
    models = f"{pair['teacher']} → {pair['student']}"
    if len(models) > _LETTERS:
        models = f"{wrap(pair['teacher'], _LETTERS, 1)}\n→ {wrap(pair['student'], _LETTERS, 1)}"
    return head(ax, family_pair(pair), models)


@register_plot("gain_bars", 20, HELPS)
def compose(frames: Frames) -> list[Drawing]:
    """Panels three in a row, as many rows on a page as fit."""
    frame = prepare(frames)
    if frame["gain"].isna().all():
        raise NothingToShow("no cell has a gain over scratch yet")
    panel = frame["method"].nunique() * ROW[frame["setting"].nunique()] + _HEAD
    size = _ACROSS * max(1, int((TALLEST - _FOOT) / panel))
    panels = [part for _, part in frame.groupby("pair")]
    pages = [panels[i : i + size] for i in range(0, len(panels), size)]
    return [
        Drawing(
            numbered("gain_bars", page),
            continued("Gain over scratch for each pair", page),
            _caption(frames, frame),
            _arrange(part, panel, frames.metric.points),
        )
        for page, part in enumerate(pages, 1)
    ]


def _arrange(panels: list[pd.DataFrame], height: float, points: str) -> Figure:
    across = -(-len(panels) // -(-len(panels) // _ACROSS))
    down = -(-len(panels) // across)
    size = (PAGE if across > 1 else COLUMN, down * height + _FOOT)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for position, ax in enumerate(axes.flat):
        if position >= len(panels):
            ax.set_axis_off()
            continue
        draw(panels[position], ax)
        if position + across >= len(panels):
            ax.tick_params(labelbottom=True)
    figure.supxlabel(f"gain over scratch ({points})", fontsize=7)
    return figure


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    parts = [
        f"Gain over scratch in {frames.metric.points} for each teacher → student, pairs of the same families together; "
        "the vertical line at 0 is scratch."
    ]
    if frame["setting"].nunique() > 1:
        parts.append("Filled: tuned setting; hollow: default setting.")
    else:
        parts.append(f"Marks: {frame['setting'].iloc[0]} setting.")
    parts += [evidence(frames), intervals(frame["low"]), *beyond(frame)]
    return " ".join(parts)
