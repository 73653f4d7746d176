"""What the study found, in a few sentences that the data carry, and what is to be kept in mind."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import Frames
from analysis.labels import method_label, shorten
from analysis.plots.looks import order
from analysis.stats import LEVEL
from analysis.tables import methods

ALPHA = 1 - LEVEL
_FEWEST_PAIRS = 5
_NAMED = 3
_GAIN = "gain_over_scratch"


def state(frames: Frames) -> dict[str, Any]:
    """`done` of `planned` cells have all their seeds; `others`: how many are in which other state; `word` for it;
    `beat`: the last sign of life of a driver that has not said that it ended."""
    counts = frames.cells["status"].value_counts()
    done, planned = int(counts.get("finished", 0)), len(frames.cells)
    others = {str(name): int(counts[name]) for name in sorted(counts.index) if name != "finished"}
    driver = frames.driver
    beat = f"{driver.beat:%Y-%m-%d %H:%M:%S} UTC" if driver and not driver.ended else ""
    word = "complete" if done == planned else "running" if beat else "not complete"
    return {"done": done, "planned": planned, "others": others, "word": word, "beat": beat}


def main_setting(cells: pd.DataFrame) -> str:
    """The setting that the sentences are about: tuned, if the study has it."""
    return "tuned" if (cells["setting"] == "tuned").any() else str(cells["setting"].iloc[0])


def findings(frames: Frames) -> list[str]:
    """Two to four sentences from the tables of cells and of methods. No ranking that they do not carry."""
    cells = frames.cells
    setting = main_setting(cells)
    known = cells[(cells["setting"] == setting) & cells[_GAIN].notna()]
    if known.empty:
        return ["No cell has a gain over scratch yet."]
    ranked = methods.prepare(frames).query("setting == @setting")
    return [
        text
        for text in (_significant(cells, known, setting), _told_apart(ranked), _largest(known, frames.metric.points))
        if text
    ]


def cautions(frames: Frames) -> list[str]:
    """What limits the sentences: progress, few seeds, failures, the data set, chance among many cells."""
    cells, found, lines = frames.cells, state(frames), []
    if found["done"] < found["planned"]:
        others = ", ".join(f"{count} {name}" for name, count in found["others"].items())
        lines.append(
            f"The study is {found['word']}: {found['done']} of {found['planned']} cells have all their seeds "
            f"({others}). What stands here may change."
        )
    counts = cells.loc[cells["n"] > 0, "n"]
    few = counts[counts <= 2]
    if len(few):
        seeds = "one seed" if few.max() == 1 else "two seeds" if few.min() == 2 else "one or two seeds"
        pooled = cells.loc[few.index, f"{_GAIN}_low"].notna().any()
        how = "Their intervals stand on the variance pooled over all cells" if pooled else "They have no intervals"
        lines.append(
            f"Few seeds: {len(few)} of {len(counts)} cells rest on {seeds}. {how}, and a real gain is easily missed."
        )
    bad = cells[cells["status"].isin(("failed", "diverged", "blocked"))]
    if len(bad):
        states = ", ".join(f"{count} {name}" for name, count in bad["status"].value_counts().sort_index().items())
        lines.append(f"Cells without all of their runs: {states}. They are listed below with their reasons.")
    if frames.data == "digits":
        lines.append("Digits shows that the system works. It is far too small and easy to prove anything about PAT.")
    lines.append("Every gain is given this study's own teachers and recipes, and is measured on one test set.")
    return [*lines, *filter(None, [frames.metric.no_images])]


def by_method(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per method and setting, in the order of all tables: pairs, mean, lowest and highest gain over the
    finished pairs in points of the score, and how many gain or lose after Holm's correction."""
    rows = []
    settings = [name for name in ("default", "tuned") if (cells["setting"] == name).any()]
    for method in order(cells["method"]):
        for setting in settings:
            group = cells[(cells["method"] == method) & (cells["setting"] == setting)]
            gains = group[_GAIN].dropna()
            if len(group):
                row = {"method": method_label(method), "setting": setting, "pairs": len(gains), "of": len(group)}
                row |= {"mean": signed(gains.mean()), "low": signed(gains.min()), "high": signed(gains.max())}
                rows.append(row | {"up": _count(group, 1), "down": _count(group, -1)})
    return rows


def signed(value: float) -> str:
    """A gain as text; a dash where there is none."""
    return "–" if pd.isna(value) else f"{round(float(value), 2) + 0.0:+.2f}".replace("-", "−")


def chance(p: float) -> str:
    """A probability as text."""
    return "–" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _p(p: float) -> str:
    return f"p {chance(p)}" if p < 0.001 else f"p = {chance(p)}"


def distinct(cells: pd.DataFrame) -> int:
    """How many cells were tested: settings that are the same runs are one (they have the same options)."""
    tested = cells[cells[f"{_GAIN}_p_holm"].notna()]
    return len(tested.drop_duplicates(["teacher", "student", "method", "options", _GAIN, f"{_GAIN}_p"]))


def _count(rows: pd.DataFrame, sign: int) -> int:
    return int(((rows[f"{_GAIN}_p_holm"] < ALPHA) & (np.sign(rows[_GAIN]) == sign)).sum())


def _significant(cells: pd.DataFrame, known: pd.DataFrame, setting: str) -> str:
    tested = known[known[f"{_GAIN}_p_holm"].notna()]
    of = f"{len(known)} {'cell' if len(known) == 1 else 'cells'} ({_settings(setting)})"
    if tested.empty:
        return f"None of the {of} can be tested: that needs at least two seeds somewhere in the study."
    up, down, all_cells = _count(tested, 1), _count(tested, -1), distinct(cells)
    open_ones = len(known) - up - down
    how = f"p < {ALPHA:.2f} after Holm's correction over the study's {all_cells} distinct cells"
    if not up + down:
        return f"None of {of} can be told from the same student trained without a teacher ({how})."
    text = f"Of {of}, {up} gain over the same student trained without a teacher and {down} lose ({how})."
    return text + (f" The other {open_ones} cannot be told from no effect." if open_ones else "")


def _told_apart(ranked: pd.DataFrame) -> str:
    """Which methods differ over the pairs that all of them have, from the rows of one setting in the table of methods:
    Friedman's test, then Nemenyi's critical difference of mean ranks."""
    if len(ranked) < 2:
        return ""
    pairs, p = int(ranked["pairs"].max()), float(ranked["friedman_p"].iloc[0])
    if pairs < _FEWEST_PAIRS or pd.isna(p):
        return f"No method can be told from another: only {pairs} pairs have a gain for each of them."
    all_of = "both" if len(ranked) == 2 else f"all {len(ranked)}"
    basis = f"over the {pairs} pairs that {all_of} methods have (Friedman's test, {_p(p)})"
    if p >= ALPHA:
        return f"No method can be told from another {basis}."
    gap = float(ranked["critical_difference"].iloc[0])
    ordered = ranked.sort_values("mean_rank", kind="stable")
    couples = list(combinations(zip(ordered["method"], ordered["mean_rank"], strict=True), 2))
    apart = sorted((one[1] - other[1], one[0], other[0]) for one, other in couples if other[1] - one[1] > gap)
    names = [f"{method_label(one)} above {method_label(other)}" for _, one, other in apart]
    if not names:
        return f"Methods differ {basis}, but no two of them by Nemenyi's critical difference of {gap:.2f} mean ranks."
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    rest = " The other couples cannot be told apart." if len(names) < len(couples) else ""
    return (
        f"{len(names)} of {len(couples)} couples of methods differ {basis[:-1]}; Nemenyi): "
        f"{', '.join(names[:_NAMED])}{more}.{rest} Pairs share teachers and students: a sign, not a proof."
    )


def _largest(known: pd.DataFrame, points: str) -> str:
    best = known.iloc[int(known[_GAIN].argmax())]
    labels = shorten({*known["teacher"], *known["student"]})
    cell = f"{method_label(best['method'])} with {labels[best['teacher']]} → {labels[best['student']]}"
    low, high, p = (best[f"{_GAIN}{part}"] for part in ("_low", "_high", "_p_holm"))
    span = "" if pd.isna(low) else f", its own 95 % interval {signed(low)} to {signed(high)}, corrected {_p(p)}"
    which = "only" if len(known) == 1 else "largest"
    text = f"The {which} gain is {signed(best[_GAIN])} {points}: {cell} (n = {best['n']}{span})."
    if len(known) == 1:
        return text
    if pd.notna(p) and p < ALPHA:
        return f"{text} As the largest of {len(known)} it is likely to be smaller on other seeds."
    return f"{text} Chosen as the largest of {len(known)}, it may well be chance."


def _settings(setting: str) -> str:
    return {"tuned": "tuned setting", "default": "default setting"}.get(setting, setting)
