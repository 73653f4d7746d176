"""What the study found, in a few sentences that the data carry, and what is to be kept in mind."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.account import guessing
from analysis.cells import main_setting
from analysis.frames import Frames
from analysis.labels import method_label, shorten
from analysis.order import order
from analysis.page.rows import chance, signed
from analysis.stats import LEVEL
from analysis.verdicts import HELPS, HURTS, NO_MATTER, SMALLEST, UNKNOWN
from analysis.words import counted

ALPHA = 1 - LEVEL
_FEWEST_PAIRS = 5
_NAMED = 3
_GAIN = "gain_over_scratch"
_VERBS = {HELPS: "help", HURTS: "hurt", NO_MATTER: f"do not matter (less than {SMALLEST:g} either way)"}


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


def findings(frames: Frames) -> list[str]:
    """The verdict, then up to four sentences: how much pairs differ, single cells, which methods differ, the largest
    gain. No ranking that the tables of cells and of methods do not carry."""
    setting = main_setting(frames.cells)
    cells = frames.cells[frames.cells["setting"] == setting]
    known = cells[cells[_GAIN].notna()]
    if known.empty:
        return ["No cell has a gain over scratch yet.", *_meanwhile(frames, setting)]
    ranked = frames.table("methods").query("setting == @setting")
    points = frames.metric.points
    return [
        text
        for text in (
            verdict(ranked, points),
            _others(ranked),
            _differ(ranked, points),
            _cells(known, setting),
            _told_apart(ranked),
            _largest(known, points),
        )
        if text
    ]


def verdict(ranked: pd.DataFrame, points: str) -> str:
    """Whether a method helps on average over the pairs that all of them have, from one setting's rows in the table of
    methods."""
    together = ranked.dropna(subset="gain")
    if together.empty:
        own = ranked.dropna(subset="own_gain").sort_values("own_gain", ascending=False)
        parts = [
            f"{method_label(row.method)} {signed(row.own_gain)} ({row.own_pairs})" for row in _rows(own.head(_NAMED))
        ]
        return f"No pair has all methods yet. Mean gain in {points} over each method's own pairs: {', '.join(parts)}."
    best = together.iloc[int(together["gain"].argmax())]
    over = f"over {counted(best['pairs'], 'pair')}"
    span = "" if pd.isna(best["low"]) else f" (95 % interval {signed(best['low'])} to {signed(best['high'])})"
    gain = f"{signed(best['gain'])} {points} on average {over}{span}"
    name, count = method_label(best["method"]), len(together)
    if pd.isna(best["p"]):
        return f"{name} has the largest mean gain, {gain}; whether by chance, one seed cannot say."
    helps = int(((together["p_holm"] < ALPHA) & (together["gain"] > 0)).sum())
    if count == 1:
        return (
            f"{name} {'helps' if helps else 'is not shown to help'}: {gain} over the same students without a teacher."
        )
    many = (
        f"{helps} of {count} methods {'helps' if helps == 1 else 'help'}"
        if helps
        else f"None of {count} methods is shown to help"
    )
    return f"{many} over the same students without a teacher; the largest mean gain is {name}'s, {gain}."


def _others(ranked: pd.DataFrame) -> str:
    """The other methods by what their mean gain says."""
    tested = ranked.dropna(subset="p").sort_values("gain", ascending=False)
    if len(tested) < 2:
        return ""
    sure = tested["p_holm"] < ALPHA
    parts = []
    for rows, word in (
        (tested[sure & (tested["gain"] > 0)].iloc[1:], "help too"),
        (tested[sure & (tested["gain"] < 0)], "hurt"),
        (tested[~sure], "cannot be told from no effect"),
    ):
        named = [f"{method_label(row.method)} {signed(row.gain)}" for row in _rows(rows)]
        if named:
            word = word if len(named) > 1 else {"help too": "helps too", "hurt": "hurts"}.get(word, word)
            parts.append(f"{', '.join(named)} {word}")
    return f"On average {'; '.join(parts)} (p < {ALPHA:.2f} after Holm's correction over {len(tested)} methods)."


def _differ(ranked: pd.DataFrame, points: str) -> str:
    """Whether what the best method gains depends on the pair."""
    best = ranked.dropna(subset=["gain", "spread"]).sort_values("gain").tail(1)
    if best.empty:
        return ""
    row = best.iloc[0]
    name, pairs = method_label(row["method"]), int(row["own_pairs"])
    if row["spread_p"] < ALPHA:
        text = f"How much {name} gains depends on the pair: true gains spread with a standard deviation of about "
        text += f"{row['spread']:.2f} {points} ({_p(row['spread_p'])})"
    else:
        text = f"That pairs differ in what {name} gains is not shown ({_p(row['spread_p'])})"
    if pd.isna(row["above_0"]):
        return text + "."
    counts = [round(row[name] * pairs) for name in ("above_0", "above_smallest")]
    text += f"; in the light of all cells its gain is above 0 on {counts[0]} and above {SMALLEST:g} on {counts[1]}"
    return f"{text} of {pairs} pairs."


def _cells(known: pd.DataFrame, setting: str) -> str:
    """How many cells help, do not matter, hurt, and of how many that is not known."""
    tested = known[known[f"{_GAIN}_p_holm"].notna()]
    of = f"{counted(len(known), 'cell')} ({_settings(setting)})"
    if tested.empty:
        return f"None of {of} can be tested: that needs at least two seeds somewhere in the study."
    counts = known["verdict"].value_counts()
    found = [f"{counts[word]} {_VERBS[word]}" for word in (HELPS, HURTS, NO_MATTER) if counts.get(word)]
    strict = _count(tested, 1) + _count(tested, -1)
    how = f"at most 5 % of them by chance, Benjamini and Hochberg; {strict} hold after Holm's correction too"
    if not found:
        return f"Cell by cell, nothing is known yet: none of {of} passes a correction for so many tests."
    text = f"Of {of}, {', '.join(found)} ({how})."
    return text + (
        f" Of {counts[UNKNOWN]} it is not known, which is not the same as no effect." if counts.get(UNKNOWN) else ""
    )


def _meanwhile(frames: Frames, setting: str) -> list[str]:
    """What can be said before scratch has been trained: accuracies, and gains over KD."""
    cells = frames.cells[frames.cells["setting"] == setting]
    lines = []
    scores = cells.dropna(subset="score_mean").groupby("method")["score_mean"].agg(["mean", "size"])
    if len(scores):
        parts = [
            f"{method_label(name)} {scores['mean'][name]:.2f} ({scores['size'][name]})" for name in order(scores.index)
        ]
        lines.append(
            f"Meanwhile, mean test {frames.metric.plain} over the cells that are finished: {', '.join(parts)}."
        )
    over = cells.dropna(subset="gain_over_kd").groupby("method")["gain_over_kd"].agg(["mean", "size"])
    if len(over):
        parts = [
            f"{method_label(name)} {signed(over['mean'][name])} ({over['size'][name]})" for name in order(over.index)
        ]
        lines.append(f"Over KD on the same pairs, in {frames.metric.points}: {', '.join(parts)}.")
    return lines


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
    if frames.damaged:
        lines.append(f"{counted(len(frames.damaged), 'damaged file')} left out; they are named under Failures.")
    bad = cells[cells["status"].isin(("failed", "diverged", "blocked"))]
    if len(bad):
        states = ", ".join(f"{count} {name}" for name, count in bad["status"].value_counts().sort_index().items())
        lines.append(f"Cells without all of their runs: {states}. They are listed below with their reasons.")
    if frames.data == "digits":
        lines.append("Digits shows that the system works. It is far too small and easy to prove anything about PAT.")
    lines += [f"{line}." for line in (frames.driver.facts.get("changed") or () if frames.driver else ())]
    lines.append("Every gain is given this study's own teachers and recipes, and is measured on one test set.")
    return [*filter(None, [guessing(frames)]), *lines, *filter(None, [frames.metric.no_images])]


def date(frames: Frames) -> str:
    """The day on which the study's last run has ended, or the driver was last alive; empty where neither is known."""
    ended = frames.runs["ended"].dropna()
    found = ended.max() if len(ended) else frames.driver.beat if frames.driver else None
    return "" if found is None else f"{found:%Y-%m-%d}"


def _p(p: float) -> str:
    return f"p {chance(p)}" if p < 0.001 else f"p = {chance(p)}"


def _count(rows: pd.DataFrame, sign: int) -> int:
    return int(((rows[f"{_GAIN}_p_holm"] < ALPHA) & (np.sign(rows[_GAIN]) == sign)).sum())


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
    rest = " The other methods cannot be told apart." if len(names) < len(couples) else ""
    return (
        f"{len(names)} of {len(couples)} comparisons of two methods differ {basis[:-1]}; Nemenyi): "
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
    shrunk = best[f"{_GAIN}_shrunk"]
    if pd.notna(shrunk):
        text += f" As the largest of {len(known)} it is too large: in the light of the other cells, {signed(shrunk)}."
    return text


def _rows(frame: pd.DataFrame) -> Iterable[Any]:
    return frame.itertuples()


def _settings(setting: str) -> str:
    return {"tuned": "tuned setting", "default": "default setting"}.get(setting, setting)
