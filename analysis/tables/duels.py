"""Any method against any other, in points: paired by pair and seed, so that the scratch runs they share cancel."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import main_setting
from analysis.choice import choose
from analysis.frames import Frames
from analysis.order import order
from analysis.rectangle import PAIR, Rectangle, rectangle
from analysis.schema import SETTINGS
from analysis.stats import holm, mean_gain
from analysis.tables import INT, REAL, TEXT, register_table

BEST_OTHER = "best other"
"""Stands for a method: of each pair the best of all others, chosen on validation."""

_COLUMNS = ("setting", "method", "other", "pairs", "seeds", "difference", "low", "high", "p", "p_holm", "probability",
            "won")  # fmt: skip


@register_table(
    "duels",
    27,
    title="Each method against each other",
    note="Test {short} of the method minus that of the other, {points}, over the pairs and seeds that both have. low "
    "and high answer: these pairs, other seeds. probability: that a run of the method gains more than one of the other "
    "on the same pair (Agarwal et al. 2021). best other: of each pair the best of all others, chosen on validation.",
    columns={
        "setting": (TEXT, "default or tuned"),
        "method": (TEXT, "how it was distilled"),
        "other": (TEXT, "what it is compared with; best other: of each pair the best of all others"),
        "pairs": (INT, "pairs that both have"),
        "seeds": (INT, "seeds that both have of all of these"),
        "difference": (REAL, "mean of method minus other, {points}"),
        "low": (REAL, "95 % interval: these pairs, other seeds"),
        "high": (REAL, "its upper end"),
        "p": (REAL, "that it is 0, two-sided"),
        "p_holm": (REAL, "after Holm's correction over the comparisons of two methods of the setting"),
        "probability": (REAL, "of improvement: 0.5 where neither is better"),
        "won": (REAL, "share of pairs whose mean difference is above 0"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting and two methods, the one with the larger mean first; in the main setting each method against
    the best other too, which is not among the corrected tests."""
    gains = frames.seed_gains.dropna(subset="gain_over_scratch")
    gains = gains.rename(columns={"gain_over_scratch": "score"})[[*PAIR, "method", "setting", "seed", "score"]]
    parts = [pd.DataFrame(columns=list(_COLUMNS))]
    for setting in SETTINGS:
        rows = gains[gains["setting"] == setting]
        if rows["method"].nunique() < 2:
            continue
        asked = frames.matrix[frames.matrix["setting"] == setting].sort_values(PAIR)
        table = pd.DataFrame(_each(rows, asked, setting), columns=list(_COLUMNS))
        table["p_holm"] = holm(table["p"])
        parts.append(table)
        if setting == main_setting(frames.cells) and rows["method"].nunique() > 2:
            parts.append(pd.DataFrame(_against_the_best(frames, rows, asked, setting), columns=list(_COLUMNS)))
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def _each(rows: pd.DataFrame, asked: pd.DataFrame, setting: str) -> Iterator[dict[str, Any]]:
    for one, other in combinations(order(rows["method"]), 2):
        found = rectangle(rows[rows["method"].isin((one, other))], asked)
        if found.pairs:
            row = _compared(found, one, other)
            yield {"setting": setting} | (row if row["difference"] >= 0 else _turned(row))


def _against_the_best(
    frames: Frames, rows: pd.DataFrame, asked: pd.DataFrame, setting: str
) -> Iterator[dict[str, Any]]:
    for method in order(rows["method"]):
        best = choose(frames, PAIR, without=method)[[*PAIR, "method"]]
        others = rows.merge(best, on=[*PAIR, "method"]).assign(method=BEST_OTHER)
        found = rectangle(pd.concat([rows[rows["method"] == method], others]), asked)
        if found.pairs and BEST_OTHER in found.methods:
            yield {"setting": setting} | _compared(found, method, BEST_OTHER)


def _compared(found: Rectangle, one: str, other: str) -> dict[str, Any]:
    a, b = found.of(one), found.of(other)
    mean = mean_gain(a - b, found.students)
    row = {"method": one, "other": other, "pairs": len(found.pairs), "seeds": len(found.seeds)}
    row |= {"difference": mean.value, "low": mean.low, "high": mean.high, "p": mean.p, "p_holm": float("nan")}
    return row | {"probability": improvement(a, b), "won": float(((a - b).mean(axis=1) > 0).mean())}


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    """The same comparison with the methods changed over; a pair that neither wins is won by none."""
    turned = row | {"method": row["other"], "other": row["method"], "difference": -row["difference"]}
    turned |= {"low": -row["high"], "high": -row["low"], "probability": 1 - row["probability"]}
    return turned | {"won": 1 - row["won"]}


def improvement(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The probability of improvement of `a` over `b` [pairs, seeds]: the mean over pairs of the share of all couples of
    a run of each in which that of `a` is better, a draw counting half."""
    gaps = a[:, :, None] - b[:, None, :]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())
