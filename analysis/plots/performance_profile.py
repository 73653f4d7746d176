"""Performance profiles: the share of gains above every threshold, one line a method, and their interquartile means."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from analysis.frames import Frames
from analysis.labels import method_label, number
from analysis.order import order
from analysis.plots import COLUMN, METHODS, Drawing, NothingToShow, register_plot
from analysis.plots._dots import ROW, arrange, draw_dots, usual
from analysis.plots._evidence import evidence
from analysis.plots.looks import dressed
from analysis.rectangle import Rectangle, of_gains
from analysis.stats import LEVEL, interquartile_mean, performance_profile
from analysis.stats.offered import PROFILE_SEEDS
from analysis.words import counted

FEWEST_PAIRS = 5
_STEPS = 241


def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting, method and threshold, of the settings with at least 5 complete pairs.

    Columns: setting, method, threshold (points of the score), share (0 to 1, of the gains of all pairs and seeds), low,
    high, pairs, seeds, and those of `looks.dressed`. Only the pairs, and of these the seeds, of which all methods of
    the setting have a gain.
    """
    rows = []
    for setting, gains in _complete(frames).items():
        ends = usual(pd.Series(gains.values.ravel()))
        margin = 0.02 * (ends[1] - ends[0])
        limits = np.linspace(ends[0] - margin, ends[1] + margin, _STEPS)
        for method in gains.methods:
            profile = performance_profile(gains.of(method), gains.students, limits)
            rows.append(profile.assign(setting=setting, method=method, pairs=len(gains.pairs), seeds=len(gains.seeds)))
    columns = ["setting", "method", "threshold", "share", "low", "high", "pairs", "seeds"]
    frame = pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
    return dressed(frame, frames.cells["method"])


def middle(frames: Frames) -> pd.DataFrame:
    """One row per setting and method of `prepare`: gain (interquartile mean over all pairs and seeds), low, high,
    reason (empty), and the columns of `analysis.plots._dots.arrange`."""
    rows = []
    for setting, gains in _complete(frames).items():
        for method in gains.methods:
            value, low, high, _ = interquartile_mean(gains.of(method), gains.students)
            rows.append({"setting": setting, "method": method, "gain": value, "low": low, "high": high, "reason": ""})
    parts = [arrange(part, frames.cells["method"]) for _, part in pd.DataFrame(rows).groupby("setting")] if rows else []
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def draw(frame: pd.DataFrame, ax: Axes) -> Axes:
    """The profiles of one setting (rows of `prepare`) on `ax`, each with its band."""
    for _, line in frame.groupby("method", sort=False):
        colour, mark = line[["colour", "line"]].iloc[0]
        ax.fill_between(line["threshold"], line["low"], line["high"], color=colour, alpha=0.1, linewidth=0, step="post")
        ax.step(line["threshold"], line["share"], color=colour, linestyle=mark, where="post")
    ax.axvline(0, color="0.4", linewidth=0.7, zorder=1)
    ax.set(xlim=(frame["threshold"].min(), frame["threshold"].max()), ylim=(0, 1.01))
    ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    ax.set_ylabel("share of gains above it")
    ax.grid()
    return ax


@register_plot("performance_profile", 50, METHODS)
def compose(frames: Frames) -> list[Drawing]:
    """One drawing a setting: the profiles, below them the interquartile means."""
    frame = prepare(frames)
    if frame.empty:
        raise NothingToShow(f"profiles need {FEWEST_PAIRS} pairs that all methods have finished")
    means = middle(frames)
    drawings = []
    for setting in ("tuned", "default"):
        part, dots = frame[frame["setting"] == setting], means[means["setting"] == setting]
        if part.empty:
            continue
        figure = _arrange(part, dots, frames.metric.points)
        name, title = f"performance_profile_{setting}", f"Performance profiles, {setting} settings"
        drawings.append(Drawing(name, title, _caption(frames, part, dots), figure))
    return drawings


def _arrange(profile: pd.DataFrame, means: pd.DataFrame, points: str) -> Figure:
    methods = order(means["method"])
    rows = len(methods) * ROW[1]
    lines = -(-len(methods) // 5)
    figure = Figure(figsize=(COLUMN, 2.1 + 0.15 * lines + 0.55 + rows), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(1.75, rows))
    draw(profile, upper).set_xlabel(f"threshold ({points})")
    draw_dots(means, lower)
    for row in means.to_dict("records"):
        at = (1.02, row["row"])
        lower.text(*at, number(row["gain"]), transform=lower.get_yaxis_transform(), va="center", fontsize=6.5)
    lower.set_xlabel(f"interquartile mean gain over scratch ({points})")
    handles = [
        Line2D([], [], color=row["colour"], linestyle=row["line"], label=method_label(row["method"]))
        for row in means.to_dict("records")
    ]
    upper.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(5, len(methods)),
                 handlelength=1.6, columnspacing=1.0)  # fmt: skip
    return figure


def _complete(frames: Frames) -> dict[str, Rectangle]:
    """By setting what all of its methods have, as in the table of methods; settings with fewer than 5 such pairs are
    left out."""
    found = {str(setting): of_gains(frames, str(setting)) for setting in frames.cells["setting"].unique()}
    return {setting: gains for setting, gains in found.items() if len(gains.pairs) >= FEWEST_PAIRS}


def _caption(frames: Frames, frame: pd.DataFrame, means: pd.DataFrame) -> str:
    pairs, seeds, setting = frame[["pairs", "seeds", "setting"]].iloc[0]
    bands, intervals = bool(frame["low"].notna().any()), bool(means["low"].notna().any())
    shown = {(True, True): "Bands (pointwise) and intervals", (False, True): "Intervals"}.get((bands, intervals))
    band = f"{shown}: {LEVEL:.0%}, by a bootstrap over seeds; they answer how far " if shown else ""
    band += "the figure would move with other seeds, for exactly these pairs." if shown else "No intervals: one seed."
    band += "" if bands else f" No bands: they need {PROFILE_SEEDS} seeds."
    return (
        f"Above: the share of all gains over scratch ({counted(pairs, 'pair')} times {counted(seeds, 'seed')}, "
        f"{setting} settings) that are larger than a threshold; the higher a line, the better. Below: the mean of the "
        f"middle half of the same gains. Only pairs and seeds that all methods have finished. {evidence(frames)} {band}"
    )
