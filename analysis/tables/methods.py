"""The methods compared over all pairs: mean gains, interquartile means, ranks and their critical difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import seed_gains
from analysis.frames import Frames
from analysis.plots.looks import order
from analysis.schema import SETTINGS
from analysis.stats import LEVEL, interquartile_mean, mean_gain, mean_gain_of_pairs, ranking
from analysis.tables import INT, REAL, TEXT, register_table

_PAIR = ["teacher", "student"]


@register_table(
    "methods",
    25,
    title="Methods over all pairs",
    note="Over the pairs that all methods of a setting have finished. low and high answer: these pairs, other seeds; "
    "new_pairs_low and new_pairs_high: pairs like these. Two methods whose mean ranks differ by less than the critical "
    "difference (Nemenyi, 95 %) cannot be told apart; with Friedman's p above 0.05 none can.",
    columns={
        "setting": (TEXT, "default or tuned"),
        "method": (TEXT, "how it was distilled"),
        "pairs": (INT, "pairs that every method of this setting has finished"),
        "seeds": (INT, "seeds that all of these have"),
        "gain": (REAL, "mean gain over scratch, {points}"),
        "low": (REAL, "95 % interval: these pairs, other seeds"),
        "high": (REAL, "its upper end"),
        "new_pairs_low": (REAL, "95 % interval: pairs like these, other seeds; wider"),
        "new_pairs_high": (REAL, "its upper end"),
        "iqm": (REAL, "interquartile mean of the gains, {points}"),
        "iqm_low": (REAL, "its 95 % interval: these pairs, other seeds"),
        "iqm_high": (REAL, "its upper end"),
        "mean_rank": (REAL, "mean rank over the pairs, 1 is best"),
        "critical_difference": (REAL, "of two mean ranks (Nemenyi); the same for all methods of a setting"),
        "friedman_p": (REAL, "that all methods rank alike (Friedman, F of Iman and Davenport); the same for all"),
        "better": (INT, "pairs with a gain over scratch that is significant after Holm's correction"),
        "worse": (INT, "pairs with a significant loss"),
        "wins": (INT, "pairs on which it is better than KD at the same setting"),
        "losses": (INT, "pairs on which it is worse"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting and method, KD first; NaN where too few pairs or seeds are finished."""
    gains = seed_gains(frames.matrix, frames.runs).dropna(subset="gain_over_scratch")
    settings = [name for name in SETTINGS if (frames.cells["setting"] == name).any()]
    rows = [row for setting in settings for row in _setting(frames.cells, gains, setting)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    "setting", "method", "pairs", "seeds", "gain", "low", "high", "new_pairs_low", "new_pairs_high", "iqm", "iqm_low",
    "iqm_high", "mean_rank", "critical_difference", "friedman_p", "better", "worse", "wins", "losses",
)  # fmt: skip


def blocks(gains: pd.DataFrame, setting: str, methods: list[str]) -> dict[str, pd.DataFrame]:
    """Of each method its gains over scratch, pairs x seeds, of the pairs and seeds that all `methods` have."""
    chosen = gains[gains["setting"] == setting]
    wide = {
        method: group.pivot(index=_PAIR, columns="seed", values="gain_over_scratch")
        for method, group in chosen.groupby("method")
    }
    if set(wide) != set(methods):
        return {}
    pairs = sorted(set.intersection(*(set(frame.index) for frame in wide.values())))
    seeds = sorted(set.intersection(*(set(frame.loc[pairs].dropna(axis=1).columns) for frame in wide.values())))
    return {method: wide[method].loc[pairs, seeds] for method in methods} if pairs and seeds else {}


def _setting(cells: pd.DataFrame, gains: pd.DataFrame, setting: str) -> Iterator[dict[str, Any]]:
    cells = cells[cells["setting"] == setting]
    methods = order(cells["method"])
    found = blocks(gains, setting, methods)
    together: dict[str, Any] = {}
    if len(methods) > 1 and found and len(found[methods[0]]) > 1:
        ranks = ranking(np.column_stack([found[method].mean(axis=1) for method in methods]))
        together = {"critical_difference": ranks.critical_difference, "friedman_p": ranks.p}
    for place, method in enumerate(methods):
        row = {"setting": setting, "method": method, "pairs": 0, "seeds": 0} | together
        own = cells[cells["method"] == method]
        outside = own["gain_over_scratch_p_holm"] < 1 - LEVEL
        row |= {"better": int((outside & (own["gain_over_scratch"] > 0)).sum())}
        row |= {"worse": int((outside & (own["gain_over_scratch"] < 0)).sum())}
        if method != "kd":
            row |= {"wins": int((own["gain_over_kd"] > 0).sum()), "losses": int((own["gain_over_kd"] < 0).sum())}
        if found:
            row |= _over_pairs(found[method])
        if together:
            row["mean_rank"] = ranks.mean_ranks[place]
        yield row


def _over_pairs(gains: pd.DataFrame) -> dict[str, Any]:
    values = gains.to_numpy()
    students = list(gains.index.get_level_values("student"))
    mean, pairs = mean_gain(values), mean_gain_of_pairs(values, students)
    middle = interquartile_mean(values, students)
    return {
        "pairs": len(gains),
        "seeds": gains.shape[1],
        "gain": mean.value,
        "low": mean.low,
        "high": mean.high,
        "new_pairs_low": pairs.low,
        "new_pairs_high": pairs.high,
        "iqm": middle.value,
        "iqm_low": middle.low,
        "iqm_high": middle.high,
    }
