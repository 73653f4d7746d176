"""Learning curves: validation accuracy per epoch, one small panel per pair, one line per method, scratch in grey."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label, shorten
from analysis.plots import register_plot

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B6F47", "#6A3D9A", "#B2DF8A")
"""Methods in their order; the first six are Okabe and Ito's colours that colour-blind readers tell apart."""

Mark = Literal["-", "--", "-.", ":"]
MARKS: tuple[Mark, ...] = ("-", "--", "-.", ":")
_SCRATCH = "0.55"
_PANEL_INCHES = (1.75, 1.35)


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per pair, method (scratch included) and epoch.

    Columns: teacher, student (labels), pair (position, families in their order), method, setting (tuned, or default
    where a method has nothing tuned), epoch, mean, low, high (over seeds; percent), n (seeds), split. `split` is val,
    or test where the study keeps no validation images. Epochs that only some of the started seeds have reached are
    left out, so that a line never jumps because a seed is still running.
    """
    rows = _rows(frames)
    epochs = frames.epochs
    columns = {weights: f"val_top1_{weights}" for weights in ("raw", "ema")}
    split = "val"
    if epochs[list(columns.values())].isna().all(axis=None):
        columns, split = {weights: f"test_top1_{weights}" for weights in columns}, "test"
    joined = rows.merge(epochs[["run_id", "epoch", *columns.values()]], on="run_id")
    joined["value"] = joined[columns["raw"]].where(joined["weights"] == "raw", joined[columns["ema"]]).astype(float)
    keys = ["pair", "teacher", "student", "method", "setting", "epoch"]
    frame = joined.dropna(subset="value").groupby(keys)["value"].agg(["mean", "min", "max", "count"]).reset_index()
    frame = frame.rename(columns={"min": "low", "max": "high", "count": "n"})
    started = frame.groupby(["pair", "method"])["n"].transform("max")
    return frame[frame["n"] == started].assign(split=split).reset_index(drop=True)


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one pair, with the columns colour and mark (line style)."""
    for method, line in frame.groupby("method", sort=False):
        scratch = method == "scratch"
        colour, mark = line["colour"].iloc[0], line["mark"].iloc[0]
        ax.fill_between(line["epoch"], line["low"], line["high"], color=colour, alpha=0.18, linewidth=0)
        (drawn,) = ax.plot(line["epoch"], line["mean"], color=colour, linestyle=mark, label=str(method))
        drawn.set(linewidth=1.0 if scratch else 1.2, zorder=1 if scratch else 2, marker="." if len(line) == 1 else "")
    ax.set_title(f"{frame['teacher'].iloc[0]}\n→ {frame['student'].iloc[0]}", fontsize=7, pad=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return ax


@register_plot("learning_curves")
def compose(frames: Frames) -> Figure:
    """Panels in the order of the heat map: one row a teacher where the grid is full, else wrapped."""
    frame = prepare(frames)
    methods = sorted(set(frame["method"]) - {"scratch"}, key=lambda method: (method != "kd", method))
    looks: dict[str, tuple[str, Mark]] = {"scratch": (_SCRATCH, MARKS[0])} | {
        method: (COLOURS[i % len(COLOURS)], MARKS[i // 6 % len(MARKS)]) for i, method in enumerate(methods)
    }
    frame["colour"], frame["mark"] = (frame["method"].map({m: look[k] for m, look in looks.items()}) for k in (0, 1))
    pairs = frames.cells[["teacher", "student"]].drop_duplicates()
    students = pairs["student"].nunique()
    full = len(pairs) == pairs["teacher"].nunique() * students
    across = students if full and 2 <= students <= 5 else min(4, len(pairs))
    down = -(-len(pairs) // across)
    size = (max(4.4, across * _PANEL_INCHES[0] + 0.5), down * (_PANEL_INCHES[1] + 0.35) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for position, ax in enumerate(axes.flat):
        if position >= len(pairs):
            ax.set_axis_off()
            continue
        panel = frame[frame["pair"] == position]
        draw(panel, ax) if len(panel) else _draw_empty(frames, pairs.iloc[position], ax)
        if position + across >= len(pairs):
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("epoch")
    late = frame["epoch"] > frame["epoch"].max() // 4
    if late.any():
        lowest, highest = frame.loc[late, "mean"].min(), frame["high"].max()
        axes[0, 0].set_ylim(lowest - 0.08 * (highest - lowest) - 0.5, highest + 0.05 * (highest - lowest) + 0.5)
    _explain(figure, frames, frame, looks)
    return figure


def _rows(frames: Frames) -> pd.DataFrame:
    """The runs to show: per pair those of each method's tuned setting, and the student's scratch runs."""
    matrix, cells = frames.matrix, frames.cells
    pairs = cells[["teacher", "student"]].drop_duplicates().reset_index(drop=True)
    teachers, students = shorten(pairs["teacher"]), shorten(pairs["student"])
    pairs["pair"] = range(len(pairs))
    tuned = set(matrix.loc[matrix["setting"] == "tuned", "method"])
    wanted = matrix["method"].map(lambda method: "tuned" if method in tuned else "default")
    shown = matrix[(matrix["setting"] == wanted) & matrix["run_id"].notna()].merge(pairs, on=["teacher", "student"])
    scratch = matrix[(matrix["setting"] == "scratch") & matrix["run_id"].notna()].drop(columns="teacher")
    rows = pd.concat([shown, scratch.merge(pairs, on="student")], ignore_index=True)
    columns = ["pair", "teacher", "student", "method", "setting", "run_id", "weights"]
    return rows.assign(teacher=rows["teacher"].map(teachers), student=rows["student"].map(students))[columns]


def _draw_empty(frames: Frames, pair: pd.Series, ax: Axes) -> None:
    chosen = (frames.cells["teacher"] == pair["teacher"]) & (frames.cells["student"] == pair["student"])
    status = frames.cells.loc[chosen, "status"].iloc[0]
    teachers, students = shorten(frames.cells["teacher"]), shorten(frames.cells["student"])
    ax.set_title(f"{teachers[pair['teacher']]}\n→ {students[pair['student']]}", fontsize=7, pad=3)
    ax.text(0.5, 0.5, status, transform=ax.transAxes, ha="center", va="center", fontsize=7, color="0.4")
    ax.spines[["top", "right"]].set_visible(False)


def _explain(figure: Figure, frames: Frames, frame: pd.DataFrame, looks: dict[str, tuple[str, Mark]]) -> None:
    """Title, axis names and one legend for all panels."""
    settings = dict(zip(frame["method"], frame["setting"], strict=True))
    handles = []
    for method, (colour, mark) in looks.items():
        if method in settings:
            name = method_label(method)
            label = name if method == "scratch" else f"{name}, {settings[method]}"
            handles.append(Line2D([], [], color=colour, linestyle=mark, label=label))
    split = "test (no validation images)" if (frame["split"] == "test").any() else "validation"
    figure.suptitle(
        f"Learning curves on {frames.data}: mean and range over seeds\n"
        "(the axis begins where the first quarter of the training ends)",
        fontsize=9,
    )
    figure.supylabel(f"{split} accuracy (%)", fontsize=8)
    if handles:
        columns = min(len(handles), max(2, int(figure.get_figwidth() // 1.4)))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
