"""Rows of the tables of the first screen as text, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.frames import Frames
from analysis.labels import method_label, shorten


def by_method(frames: Frames) -> list[dict[str, Any]]:
    """One row per method and setting, in the order of all tables, of what the table of methods says, as text."""
    rows = []
    for row in _each(frames.table("methods")):
        span = "" if pd.isna(row.low) else f"{signed(row.low)} to {signed(row.high)}"
        line = {"method": method_label(row.method), "setting": row.setting, "pairs": f"{row.own_pairs}"}
        line |= {"mean": signed(row.gain), "span": span, "own": signed(row.own_gain), "asked": signed(row.asked_gain)}
        line |= {"spread": "–" if pd.isna(row.spread) else f"{row.spread:.2f}"}
        rows.append(line | {"helps": row.helps, "no_matter": row.no_matter, "unknown": row.unknown, "hurts": row.hurts})
    return rows


def best_rows(frames: Frames) -> list[dict[str, str]]:
    """The table `best` as text: per student which teacher and method, what it gains and what it costs."""
    frame = frames.table("best")
    labels = shorten({*frame["teacher"], *frame["student"]})
    rows = []
    for row in _each(frame):
        span = "" if pd.isna(row.low) else f"{signed(row.low)} to {signed(row.high)}"
        line = {"student": labels[row.student], "teacher": labels[row.teacher], "method": method_label(row.method)}
        line |= {"gain": signed(row.gain), "span": span, "verdict": row.verdict, "on": row.chosen_on}
        line |= {"run": _times(row.run_cost), "whole": _times(row.whole_cost)}
        rows.append(line | {"scratch": f"{row.scratch_mean:.2f}", "score": f"{row.score_mean:.2f}"})
    return rows


def signed(value: float) -> str:
    """A gain as text; a dash where there is none."""
    return "–" if pd.isna(value) else f"{round(float(value), 2) + 0.0:+.2f}".replace("-", "−")


def chance(p: float) -> str:
    """A probability as text."""
    return "–" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _each(frame: pd.DataFrame) -> Iterable[Any]:
    return frame.itertuples()


def _times(cost: float) -> str:
    return "–" if pd.isna(cost) else f"{cost:.1f} ×" if cost < 99.5 else f"{cost:,.0f} ×"
