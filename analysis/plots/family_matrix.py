"""Mean gain over scratch by the families of teacher and student: a panel a combination, a row a method."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cells import family_order
from analysis.frames import Frames
from analysis.labels import number
from analysis.plots import COLUMN, PAGE, WHOM, Drawing, NothingToShow, register_plot
from analysis.plots._dots import ROW, arrange, beyond, draw_dots, family_pair, head
from analysis.plots._evidence import evidence
from analysis.stats import LEVEL
from analysis.words import counted

_HEAD, _FOOT = 0.5, 0.45
"""Inches of a panel besides its rows, and of the page besides its panels."""


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per teacher family, student family, method and setting that the study has a pair of.

    Columns: those of `analysis.tables.families` (pairs planned and finished, gain, low, high in points of the score),
    down and across (place of the panel), reason (why there is no gain, empty where there is one), and those of
    `analysis.plots._dots.arrange`.
    """
    frame = frames.table("families").copy()
    for side, place in (("teacher_family", "down"), ("student_family", "across")):
        names = frame[[side]].drop_duplicates().sort_values(side, key=family_order)[side]
        frame[place] = frame[side].map({name: i for i, name in enumerate(names)})
    frame["reason"] = frame["gain"].isna().map({True: "none finished", False: ""})
    return arrange(frame, frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one combination of families.

    At the right edge the mean of the tuned setting (of the default, where nothing is tuned), with the number of pairs
    where not all planned ones have finished.
    """
    draw_dots(frame, ax)
    main = "tuned" if (frame["setting"] == "tuned").any() else "default"
    for row in frame[(frame["setting"] == main) & frame["gain"].notna()].to_dict("records"):
        text = number(row["gain"]) + (f" ({row['finished']}/{row['pairs']})" if row["finished"] < row["pairs"] else "")
        ax.text(1.02, row["row"], text, transform=ax.get_yaxis_transform(), va="center", fontsize=6.5)
    return head(ax, family_pair(frame.iloc[0]), counted(int(frame["pairs"].max()), "pair"))


@register_plot("family_matrix", 30, WHOM)
def compose(frames: Frames) -> list[Drawing]:
    """Teachers' families down, students' across."""
    frame = prepare(frames)
    if frame["gain"].isna().all():
        raise NothingToShow("no pair has a gain over scratch yet")
    down, across = int(frame["down"].max()) + 1, int(frame["across"].max()) + 1
    panel = frame["method"].nunique() * ROW[frame["setting"].nunique()] + _HEAD
    figure = Figure(figsize=(PAGE if across > 1 else COLUMN, down * panel + _FOOT), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    panels = {key: part for key, part in frame.groupby(["down", "across"])}
    places = frame[["down", "across"]].drop_duplicates().to_numpy(int)
    for (i, j), ax in ((place, axes[place]) for place in pd.MultiIndex.from_product([range(down), range(across)])):
        if (i, j) not in panels:
            ax.set_axis_off()
            continue
        draw(panels[i, j], ax)
        ax.tick_params(
            labelleft=bool(j == places[places[:, 0] == i, 1].min()),
            labelbottom=bool(i == places[places[:, 1] == j, 0].max()),
        )
    figure.supxlabel(f"mean gain over scratch ({frames.metric.points})", fontsize=7)
    return [Drawing("family_matrix", "Gain by architecture families", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    settings = sorted(frame["setting"].unique(), reverse=True)
    marks = (
        "Filled and in numbers: tuned setting; hollow: default setting."
        if len(settings) > 1
        else (f"Marks: {settings[0]} setting.")
    )
    shown = (
        f"Intervals: {LEVEL:.0%}, over the seeds that all pairs of a panel have; they answer how far the mean over "
        "exactly these pairs would move with other seeds, and say nothing about other pairs of the same families."
    )
    parts = [
        f"Mean gain over scratch in {frames.metric.points} over the pairs of each teacher's family → student's family.",
        marks,
        evidence(frames),
        "No intervals: they need at least two seeds." if frame["low"].isna().all() else shown,
    ]
    if (frame["finished"] < frame["pairs"]).any():
        parts.append("(2/3): two of three planned pairs have a gain.")
    return " ".join([*parts, *beyond(frame)])
