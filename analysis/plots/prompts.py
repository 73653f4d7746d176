"""What PAT's prompts did to the teacher's maps, stage by stage and epoch by epoch: one small panel per cell."""

from __future__ import annotations

import json
import re

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label, wrap
from analysis.plots import COLUMN, PAGE, TRUST, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import continued, listed, numbered, seeds
from analysis.plots._runs import shown_runs
from analysis.plots.looks import Line

COLOURS = "viridis"
"""Of the stages, the first one darkest."""
SAID: dict[str, Line] = {"kept": "-", "explained": "--"}
"""What a stage says of itself in the parts of an epoch (`kept_1`, ...), and its line."""

_ACROSS, _DOWN, _TALL = 4, 5, 1.45
_LOW, _HIGH = -0.1, 1.15


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per cell, epoch and stage: kept and explained, means over the seeds that have done the epoch.

    Columns: pair (position), teacher, student (labels), method, setting, stage (from 1), epoch, kept, explained,
    n (seeds). Methods without prompts have no rows; epochs that only some of the started seeds have reached neither.
    """
    keys = ["pair", "teacher", "student", "method", "setting", "stage", "epoch"]
    told = frames.epochs[frames.epochs["parts"].str.contains('"kept_', regex=False)]
    joined = shown_runs(frames).merge(told[["run_id", "epoch", "parts"]], on="run_id")
    if joined.empty:
        return pd.DataFrame(columns=[*keys, *SAID, "n"])
    rows = [
        {**row, "stage": stage, **values}
        for row in joined.to_dict("records")
        for stage, values in _stages(json.loads(row["parts"])).items()
    ]
    frame = pd.DataFrame(rows).groupby(keys)[[*SAID]].agg(["mean", "count"])
    frame = pd.DataFrame({**{name: frame[name, "mean"] for name in SAID}, "n": frame["kept", "count"]}).reset_index()
    started = frame.groupby(["pair", "method"])["n"].transform("max")
    return frame[frame["n"] == started].reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One cell's rows of `prepare` on `ax`."""
    stages = sorted(set(frame["stage"]))
    for stage in stages:
        line, colour = frame[frame["stage"] == stage], _colour(stage, stages[-1])
        alone = "." if len(line) == 1 else ""
        for name, mark in SAID.items():
            ax.plot(line["epoch"], line[name], color=colour, linestyle=mark, marker=alone, linewidth=0.9)
    ax.set_ylim(_LOW, _HIGH)
    ax.set_yticks([0, 0.5, 1])
    ax.grid(axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return ax


@register_plot("prompts", 82, TRUST)
def compose(frames: Frames) -> list[Drawing]:
    """The cells in the order of the heat map, on several pages."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no run of a method with prompts (PAT) says what they did")
    cells = frame[["pair", "method"]].drop_duplicates().reset_index(drop=True)
    size = _ACROSS * _DOWN
    drawings = []
    for page, start in enumerate(range(0, len(cells), size), 1):
        name, title = numbered("prompts", page), continued("What the prompts did", page)
        figure = _page(frame, cells.iloc[start : start + size])
        drawings.append(Drawing(name, title, _caption(frames, frame), figure))
    return drawings


def _page(frame: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    across = min(_ACROSS, len(cells))
    down = -(-len(cells) // across)
    figure = Figure(figsize=(PAGE if across > 1 else COLUMN, down * _TALL + 0.75), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    several = frame["method"].nunique() > 1
    for position, ax in enumerate(axes.flat):
        if position >= len(cells):
            ax.set_axis_off()
            continue
        pair, method = cells.iloc[position]
        panel = frame[(frame["pair"] == pair) & (frame["method"] == method)]
        teacher, student = (wrap(panel[side].iloc[0], 24, 1) for side in ("teacher", "student"))
        ax.set_title(f"{teacher}\n→ {student}" + (f", {method_label(method)}" if several else ""), fontsize=7, pad=3)
        draw(panel, ax)
        if position + across >= len(cells):
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("epoch")
    figure.supylabel("share of variance", fontsize=7)
    stages = range(1, int(frame["stage"].max()) + 1)
    handles = [Line2D([], [], color=_colour(stage, len(stages)), label=f"stage {stage}") for stage in stages]
    words = {"kept": "kept by the prompts", "explained": "explained by the student"}
    handles += [Line2D([], [], color="0.4", linestyle=mark, label=words[name]) for name, mark in SAID.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7 if across > 1 else 3))
    return figure


def _stages(parts: dict[str, float]) -> dict[int, dict[str, float]]:
    """What each stage says."""
    found: dict[int, dict[str, float]] = {}
    for name, value in parts.items():
        if said := re.fullmatch(rf"({'|'.join(SAID)})_(\d+)", name):
            found.setdefault(int(said[2]), {})[said[1]] = value
    return found


def _colour(stage: int, stages: int) -> str:
    return to_hex(mpl.colormaps[COLOURS]((stage - 1) / max(1, stages - 1) * 0.85))


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    settings = listed(f"{setting} setting" for setting in sorted(set(frame["setting"])))
    return (
        f"Solid: the variance of the prompted teacher's map over the plain teacher's, of each stage; at 1 the prompts "
        "have kept it, at 0 they have erased the target. Dashed: R², the share of the target's variance that the "
        "student's aligned map explains; at 0 it is as good as the target's mean, below it the line leaves the axis. "
        f"Training images of {frames.data}, mean over the steps of an epoch and over {seeds(frame['n'])}, {settings}, "
        "one panel for each teacher → student."
    )
