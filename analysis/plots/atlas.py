"""The atlas: of each pair what every method gains, which one validation chooses, how sure that is, its cost."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.cells import CELL, GAINS, main_setting
from analysis.choice import choose
from analysis.colours import end
from analysis.frames import Frames
from analysis.labels import method_label, number
from analysis.order import order
from analysis.plots import HELPS, PAGE, TALLEST, Drawing, NothingToShow, register_plot
from analysis.plots._cells import axis, inches, name_models, student_labels, teacher_labels, why
from analysis.plots._dots import usual
from analysis.plots._evidence import evidence, intervals
from analysis.plots._tile import draw_margin, draw_tile
from analysis.plots.looks import looks
from analysis.stats import LEVEL, mean_gain
from analysis.tables.best import relative_costs
from analysis.verdicts import HELPS as DOES_HELP
from analysis.verdicts import HURTS

_WIDEST, _NARROWEST, _LOW, _TALL = 1.05, 0.33, 0.4, 0.66
_HEAD, _MARGIN, _SIDE, _GAP = 0.22, 0.42, 0.72, 0.2
"""Inches: of a tile; above the tiles; of the panel of means below them and of the one beside them; before these."""

_PAIR = ["teacher", "student"]
_GAIN = GAINS[0]


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per possible pair and method of the study, in the main setting.

    Columns: teacher, student (labels), teacher_family, student_family, row, column (places), method, gain, low, high
    (points over scratch), chosen (the pair's method by its validation scores), sure (its gain helps or hurts), cost (a
    run of it over a scratch run of the student), default (its default setting helps too), reason (why there is no
    number), limit (end of the colours), left, right (ends of the bars' scale).
    """
    cells, setting = frames.cells, main_setting(frames.cells)
    main = cells[cells["setting"] == setting]
    picked = choose(frames, _PAIR).merge(relative_costs(frames), how="left", on=CELL)[[*_PAIR, "method", "run_cost"]]
    helped = cells[(cells["setting"] == "default") & (cells["verdict"] == DOES_HELP)][[*_PAIR, "method"]]
    keys = [*_PAIR, "method"]
    rows = axis(cells, "teacher").merge(axis(cells, "student"), how="cross")
    rows = rows.merge(pd.DataFrame({"method": order(cells["method"])}), how="cross")
    kept = [*keys, _GAIN, f"{_GAIN}_low", f"{_GAIN}_high", "verdict", "status", "reason"]
    rows = rows.merge(main[kept], how="left", on=keys).merge(picked.assign(chosen=True), how="left", on=keys)
    rows = rows.merge(helped.assign(default=True), how="left", on=keys)
    for name in ("chosen", "default"):
        rows[name] = rows[name].eq(True)
    rows["default"] &= setting != "default"
    rows["sure"] = rows["verdict"].isin((DOES_HELP, HURTS))
    rows["reason"] = [why(*state) for state in zip(rows[_GAIN], rows["status"], rows["reason"], strict=True)]
    rows = rows.rename(columns={_GAIN: "gain", f"{_GAIN}_low": "low", f"{_GAIN}_high": "high", "run_cost": "cost"})
    rows["limit"] = end(rows["gain"])
    rows["left"], rows["right"] = usual(rows["gain"])
    rows["teacher"], rows["student"] = rows["teacher_label"], rows["student_label"]
    return rows[
        [*_PAIR, "teacher_family", "student_family", "row", "column", "method", "gain", "low", "high", "chosen", "sure",
         "cost", "default", "reason", "limit", "left", "right"]
    ]  # fmt: skip


def margins(frames: Frames, side: str) -> pd.DataFrame:
    """Per teacher or student (`side`) the mean gain of the methods that its pairs have chosen: place, gain, low, high
    (these pairs, other seeds)."""
    gains = frames.seed_gains.dropna(subset=_GAIN)
    picked = gains.merge(choose(frames, _PAIR)[CELL], on=CELL)
    places = axis(frames.cells, side).set_index(side)["row" if side == "teacher" else "column"]
    rows = []
    for name, own in picked.groupby(side):
        wide = own.pivot(index=_PAIR, columns="seed", values=_GAIN)
        found = mean_gain(wide.to_numpy(float), list(wide.index.get_level_values("student")))
        rows.append((int(places[name]), found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["place", "gain", "low", "high"])


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """All tiles (rows of `prepare`) on `ax`, whose place on its figure is final."""
    rows, columns = int(frame["row"].max()) + 1, int(frame["column"].max()) + 1
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    figure = ax.figure.get_figure(root=True)
    assert figure is not None
    box, (width, height) = ax.get_position(), figure.get_size_inches()
    size = 72 * box.width * width / columns, 72 * box.height * height / rows
    styles, dearest = looks(frame["method"]), frame["cost"].max()
    for _, tile in frame.groupby(["row", "column"]):
        draw_tile(tile, ax, size, styles, dearest)
    name_models(frame, ax, size)
    ax.grid(False)
    return ax


@register_plot("atlas", 5, HELPS)
def compose(frames: Frames) -> list[Drawing]:
    """One page: the tiles, the means of each teacher beside them and of each student below."""
    frame = prepare(frames)
    if not frame["chosen"].any():
        raise NothingToShow("no pair has a gain over scratch yet")
    rows, columns = int(frame["row"].max()) + 1, int(frame["column"].max()) + 1
    left = 0.25 + inches(teacher_labels(frame["teacher"].unique()))
    wide = min(_WIDEST, (PAGE - left - _SIDE - _GAP - 0.1) / columns)
    names, turned = student_labels(list(frame["student"].unique()), 72 * wide)
    foot = (inches(names) if turned else 0.1 * (1 + max(name.count("\n") for name in names))) + 0.3
    methods = order(frame["method"])
    legend = 0.16 * (1 + -(-len(methods) // 10))
    tall = min(_TALL, max(_LOW, 0.75 * wide), (TALLEST - _HEAD - _MARGIN - foot - legend) / rows)
    if wide < _NARROWEST or tall < _LOW - 0.1:
        raise NothingToShow(f"{rows} teachers and {columns} students are too many for one page; see the heat maps")
    height = _HEAD + rows * tall + 0.06 + _MARGIN + foot + legend
    figure = Figure(figsize=(PAGE, height))
    figure.set_layout_engine("none")
    start = left + (PAGE - left - columns * wide - _GAP - _SIDE) / 2
    bottom = height - _HEAD - rows * tall
    ax = figure.add_axes((start / PAGE, bottom / height, columns * wide / PAGE, rows * tall / height))
    draw(frame, ax)
    below = figure.add_axes((start / PAGE, (bottom - 0.06 - _MARGIN) / height, columns * wide / PAGE, _MARGIN / height))
    beside = figure.add_axes(
        ((start + columns * wide + _GAP) / PAGE, bottom / height, _SIDE / PAGE, rows * tall / height)
    )
    draw_margin(margins(frames, "student"), below, ax, True)
    draw_margin(margins(frames, "teacher"), beside, ax, False)
    figure.text((start - left + 0.08) / PAGE, (bottom + rows * tall / 2) / height, "teacher", rotation=90,
                ha="center", va="center", fontsize=7)  # fmt: skip
    figure.text((start + columns * wide / 2) / PAGE, (legend + 0.1) / height, "student", ha="center", fontsize=7)
    styles = looks(methods)
    figure.legend(
        handles=[Patch(color=styles[name].colour, label=method_label(name)) for name in methods], loc="lower center",
        ncols=min(10, len(methods)), handlelength=0.8, columnspacing=1.2,
    )  # fmt: skip
    return [Drawing("atlas", "The atlas of gains", _caption(frames, frame), figure)]


def _caption(frames: Frames, frame: pd.DataFrame) -> str:
    on, setting = choose(frames, _PAIR)["chosen_on"].iloc[0], main_setting(frames.cells)
    parts = [
        f"Each tile is a pair. Bars: the gain of every method over scratch, {setting} setting, in "
        f"{frames.metric.points}, always in the same order and on one scale ({number(frame['left'].iloc[0], 1)} to "
        f"{number(frame['right'].iloc[0], 1)}, an arrow beyond it), with the intervals as lines; the framed one is the "
        f"method that one would have chosen on {on}. Its gain stands in the head, whose colour says how much (blue "
        "gains, orange loses) where it is known that it helps or hurts (at most 5 % of them by chance, Benjamini and "
        "Hochberg), grey where not."
    ]
    if frame["cost"].notna().any():
        parts.append(
            "The ring is filled by what a run costs as a multiple of a scratch run: full is "
            f"{frame['cost'].max():.1f}, the dearest here."
        )
    if frame["default"].any():
        parts.append("A dark corner: the method's default setting already helps.")
    parts.append(
        f"Beside and below: the mean over a teacher's and a student's pairs, with its {LEVEL:.0%} interval for other "
        "seeds."
    )
    return " ".join([*parts, intervals(frame["low"]), evidence(frames)])
