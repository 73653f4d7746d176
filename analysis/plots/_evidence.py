"""Sentences for captions: on how much evidence a figure stands, and which question its intervals answer."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from analysis.frames import Frames
from analysis.stats import LEVEL
from analysis.words import counted

RULES = {"last": "the last epoch", "best_val": "the epoch best on validation", "best_test": "the epoch best on test"}
WEIGHTS = {"raw": "raw weights", "ema": "EMA weights"}


def evidence(frames: Frames) -> str:
    """What was measured: data set, selection rule, weights and the number of seeds of a cell."""
    cells = frames.cells
    rules = listed(RULES[rule] for rule in sorted(set(cells["rule"])))
    weights = listed(WEIGHTS[kind] for kind in sorted(set(cells["weights"])))
    return f"Test {frames.metric.plain} on {frames.data} at {rules}, {weights}; {seeds(cells['n'])} a cell."


def seeds(counts: pd.Series) -> str:
    """The number of seeds in words: `3 seeds`, `2 to 3 seeds`; cells without a seed do not count."""
    found = sorted({int(count) for count in counts.dropna() if count > 0})
    if not found:
        return "no seed yet"
    return counted(found[0], "seed") if len(found) == 1 else f"{found[0]} to {found[-1]} seeds"


def intervals(low: pd.Series) -> str:
    """Which interval of a cell's gain is shown and which question it answers; or that there is none."""
    if low.isna().all():
        return "No intervals: they need at least two seeds of one cell."
    return (
        f"Intervals: {LEVEL:.0%}, moderated t over seeds, paired with the scratch runs of the same seeds; they answer "
        "how far the gain would move with other seeds, for these pairs, teachers and this test set."
    )


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *front, last = words
    return f"{', '.join(front)} and {last}" if front else last


def numbered(name: str, page: int) -> str:
    """The name of a drawing's page, counted from 1: gain_bars, gain_bars_2, ..."""
    return name if page == 1 else f"{name}_{page}"


def continued(title: str, page: int) -> str:
    """The title of a drawing's page."""
    return title if page == 1 else f"{title}, continued"
