"""Learning curves: validation score per epoch, one small panel per pair, one line per method, scratch in grey."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.frames import Frames
from analysis.labels import method_label, shorten, wrap
from analysis.order import order
from analysis.plots import COLUMN, PAGE, TRUST, Drawing, NothingToShow, register_plot
from analysis.plots._evidence import WEIGHTS, continued, listed, numbered, seeds
from analysis.plots._runs import shown_runs
from analysis.plots.looks import dressed

_ACROSS, _DOWN, _TALL = 4, 5, 1.45
"""Panels side by side, rows on a page, inches of a row."""
_NAMED = 4


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per pair, method (scratch included) and epoch.

    Columns: teacher, student (labels), pair (position, families in their order), method, setting (tuned, or default
    where a method has nothing tuned), epoch, mean, low, high (over seeds; percent), n (seeds), split (val, or test
    where the study keeps no validation images), and those of `looks.dressed`. Epochs that only some of the started
    seeds have reached are left out, so that a line never jumps because a seed is still running.
    """
    rows = shown_runs(frames)
    epochs = frames.epochs
    columns = {weights: f"val_score_{weights}" for weights in ("raw", "ema")}
    split = "val"
    if epochs[list(columns.values())].isna().all(axis=None):
        columns, split = {weights: f"test_score_{weights}" for weights in columns}, "test"
    joined = rows.merge(epochs[["run_id", "epoch", *columns.values()]], on="run_id")
    joined["value"] = joined[columns["raw"]].where(joined["weights"] == "raw", joined[columns["ema"]]).astype(float)
    keys = ["pair", "teacher", "student", "method", "setting", "epoch"]
    frame = joined.dropna(subset="value").groupby(keys)["value"].agg(["mean", "min", "max", "count"]).reset_index()
    frame = frame.rename(columns={"min": "low", "max": "high", "count": "n"})
    started = frame.groupby(["pair", "method"])["n"].transform("max")
    frame = frame[frame["n"] == started].assign(split=split).reset_index(drop=True)
    return dressed(frame, frames.cells["method"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """One panel on `ax`: rows of `prepare` of one pair; scratch lies beneath."""
    for method in ("scratch", *order(set(frame["method"]) - {"scratch"})):
        line = frame[frame["method"] == method]
        if line.empty:
            continue
        colour, mark = line[["colour", "line"]].iloc[0]
        ax.fill_between(line["epoch"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        alone = "." if len(line) == 1 else ""
        ax.plot(line["epoch"], line["mean"], color=colour, linestyle=mark, marker=alone, linewidth=0.9)
    ax.grid(axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return ax


@register_plot("learning_curves", 80, TRUST)
def compose(frames: Frames) -> list[Drawing]:
    """Panels in the order of the heat map: one row a teacher where the grid is full, else wrapped; on several pages."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow("no run has done an epoch yet")
    cells = frames.cells
    pairs = cells[["teacher", "student"]].drop_duplicates().reset_index(drop=True)
    students = pairs["student"].nunique()
    full = len(pairs) == pairs["teacher"].nunique() * students and 2 <= students <= _ACROSS
    across = students if full else min(_ACROSS, len(pairs))
    size = across * _DOWN
    drawings = []
    for page, start in enumerate(range(0, len(pairs), size), 1):
        name, title = numbered("learning_curves", page), continued("Learning curves", page)
        figure = _page(frames, frame, pairs.iloc[start : start + size], across)
        drawings.append(Drawing(name, title, _caption(frames, frame), figure))
    return drawings


def _page(frames: Frames, frame: pd.DataFrame, pairs: pd.DataFrame, across: int) -> Figure:
    """The panels of `pairs`, with one axis and one legend for all."""
    down = -(-len(pairs) // across)
    teachers, students = shorten(frames.cells["teacher"]), shorten(frames.cells["student"])
    figure = Figure(figsize=(PAGE if across > 1 else COLUMN, down * _TALL + 0.75), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for position, ax in enumerate(axes.flat):
        if position >= len(pairs):
            ax.set_axis_off()
            continue
        pair = pairs.iloc[position]
        panel = frame[frame["pair"] == pair.name]
        names = wrap(teachers[pair["teacher"]], 24, 1), wrap(students[pair["student"]], 24, 1)
        ax.set_title(f"{names[0]}\n→ {names[1]}", fontsize=7, pad=3)
        draw(panel, ax)
        absent = _absent(frames, pair, set(panel["method"]))
        ax.text(0.98, 0.04, absent, transform=ax.transAxes, ha="right", va="bottom", fontsize=6.5, color="0.35")
        if position + across >= len(pairs):
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("epoch")
    axes[0, 0].set_ylim(_span(frame))
    split = "test (no validation images)" if (frame["split"] == "test").any() else "validation"
    figure.supylabel(frames.metric.axis(f"{split} {{plain}}"), fontsize=7)
    shown = {row["method"]: row for row in frame.drop_duplicates("method").to_dict("records")}
    handles = [
        Line2D([], [], color=row["colour"], linestyle=row["line"], label=_label(row["method"], row["setting"]))
        for row in (shown[name] for name in ("scratch", *order(set(shown) - {"scratch"})) if name in shown)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def _span(frame: pd.DataFrame) -> tuple[float, float]:
    """The scores to show: from the lowest mean after the first quarter of the epochs to the top, with a margin."""
    late = frame.loc[frame["epoch"] > frame["epoch"].max() // 4, "mean"]
    lowest, highest = float(late.min()), float(frame["high"].max())
    margin = 0.06 * (highest - lowest) + 0.5
    return lowest - margin, highest + margin


def _absent(frames: Frames, pair: pd.Series, drawn: set[str]) -> str:
    """Which methods have no line in a pair's panel, and their state."""
    cells = frames.cells
    tuned = set(cells.loc[cells["setting"] == "tuned", "method"])
    shown = cells["setting"] == cells["method"].map(lambda method: "tuned" if method in tuned else "default")
    own = (cells["teacher"] == pair["teacher"]) & (cells["student"] == pair["student"])
    lacking = cells[shown & own & ~cells["method"].isin(drawn)]
    if len(lacking) > _NAMED:
        return f"no line for {len(lacking)} methods"
    states = zip(lacking["method"], lacking["status"], strict=True)
    return "\n".join(f"{method_label(method)}: {status}" for method, status in states)


def _label(method: str, setting: str) -> str:
    return method_label(method) + ("" if method == "scratch" else f", {setting}")


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    split = "{Plain} on the validation images, which no run is trained on,"
    if "test" in set(frame["split"]):
        split = "Test {plain} (the study keeps no validation images)"
    weights = listed(WEIGHTS[kind] for kind in sorted(set(frames.cells["weights"])))
    return (
        f"{frames.metric.say(split)} of {frames.data} after each epoch, {weights}: mean (line) and range (band) over "
        f"{seeds(frame['n'])}, one panel for each teacher → student. The band shows how far the seeds "
        "lie apart; it is no confidence interval. Only epochs that all started seeds of a line have reached are drawn, "
        "and the axis begins where the first quarter of the training ends."
    )
