"""The methods compared over all pairs: mean gains, how much pairs differ, ranks and their critical difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.frames import Frames
from analysis.order import order
from analysis.rectangle import PAIR, Rectangle, of_gains
from analysis.schema import SETTINGS
from analysis.stats import LEVEL, holm, interquartile_mean, mean_gain, mean_gain_of_pairs, ranking, spread
from analysis.tables import INT, REAL, TEXT, register_table
from analysis.verdicts import HELPS, HURTS, NO_MATTER, SMALLEST, UNKNOWN

_COUNTS = {"helps": HELPS, "no_matter": NO_MATTER, "unknown": UNKNOWN, "hurts": HURTS}


@register_table(
    "methods",
    5,
    title="Methods over all pairs",
    note="Over the pairs and seeds that all methods of a setting have finished; left_out says which those are not. low "
    "and high answer: these pairs, other seeds; new_pairs_low and new_pairs_high: pairs like these. Two methods whose "
    "mean ranks differ by less than the critical difference (Nemenyi, 95 %) cannot be told apart; with Friedman's p "
    "above 0.05 none can.",
    columns={
        "setting": (TEXT, "default or tuned"),
        "method": (TEXT, "how it was distilled"),
        "pairs": (INT, "pairs that every method of this setting has finished"),
        "seeds": (INT, "seeds that all of these have"),
        "left_out": (TEXT, "methods, pairs and seeds that are not in these rows because one method lacks them"),
        "gain": (REAL, "mean gain over scratch, {points}"),
        "low": (REAL, "95 % interval: these pairs, other seeds"),
        "high": (REAL, "its upper end"),
        "p": (REAL, "that the mean gain is 0, two-sided"),
        "p_holm": (REAL, "the same after Holm's correction over the methods of the setting"),
        "own_pairs": (INT, "pairs with a gain of this method, whatever the others have"),
        "own_gain": (REAL, "mean gain over these, {points}"),
        "asked_gain": (REAL, "mean over all pairs whose runs have ended, a failure counted as scratch (gain 0)"),
        "spread": (REAL, "standard deviation of the true gains between pairs, {points}"),
        "spread_p": (REAL, "that it is 0"),
        "above_0": (REAL, "share of own_pairs whose shrunken gain is above 0"),
        "above_smallest": (REAL, f"share of own_pairs whose shrunken gain is above {SMALLEST:g} {{points}}"),
        "helps": (INT, "pairs on which it helps: gain with p_bh below 0.05"),
        "no_matter": (INT, f"pairs on which it does not matter: interval within {SMALLEST:g} of 0"),
        "unknown": (INT, "pairs of which neither is known"),
        "hurts": (INT, "pairs on which it hurts: loss with p_bh below 0.05"),
        "better": (INT, "pairs with a gain over scratch that is significant after Holm's correction"),
        "worse": (INT, "pairs with a significant loss"),
        "wins": (INT, "pairs on which it is better than KD at the same setting"),
        "losses": (INT, "pairs on which it is worse"),
        "new_pairs_low": (REAL, "95 % interval of the mean gain: pairs like these, other seeds; wider"),
        "new_pairs_high": (REAL, "its upper end"),
        "iqm": (REAL, "interquartile mean of the gains, {points}"),
        "iqm_low": (REAL, "its 95 % interval: these pairs, other seeds"),
        "iqm_high": (REAL, "its upper end"),
        "mean_rank": (REAL, "mean rank over the pairs, 1 is best"),
        "critical_difference": (REAL, "of two mean ranks (Nemenyi); the same for all methods of a setting"),
        "friedman_p": (REAL, "that all methods rank alike (Friedman, F of Iman and Davenport); the same for all"),
    },
    shown=(
        "setting", "method", "pairs", "seeds", "gain", "low", "high", "p_holm", "own_pairs", "own_gain", "asked_gain",
        "spread", "above_0", "above_smallest", "helps", "no_matter", "unknown", "hurts", "mean_rank",
    ),
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting and method, the main setting first; NaN where too few pairs or seeds are finished."""
    gains = frames.seed_gains.dropna(subset="gain_over_scratch")
    settings = [name for name in SETTINGS if (frames.cells["setting"] == name).any()]
    rows = [row for setting in settings for row in _setting(frames, gains, setting)]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame["p_holm"] = frame.groupby("setting")["p"].transform(holm)
    return frame


_COLUMNS = (
    "setting", "method", "pairs", "seeds", "left_out", "gain", "low", "high", "p", "p_holm", "own_pairs", "own_gain",
    "asked_gain", "spread", "spread_p", "above_0", "above_smallest", *_COUNTS, "better", "worse", "wins", "losses",
    "new_pairs_low", "new_pairs_high", "iqm", "iqm_low", "iqm_high", "mean_rank", "critical_difference", "friedman_p",
)  # fmt: skip


def _setting(frames: Frames, gains: pd.DataFrame, setting: str) -> Iterator[dict[str, Any]]:
    cells = frames.cells[frames.cells["setting"] == setting]
    found = of_gains(frames, setting)
    together: dict[str, Any] = {"left_out": "; ".join(found.left_out)}
    if len(found.methods) > 1 and len(found.pairs) > 1:
        ranks = ranking(found.values.mean(axis=1).T)
        together |= {"critical_difference": ranks.critical_difference, "friedman_p": ranks.p}
    for method in order(cells["method"]):
        row = {"setting": setting, "method": method, "pairs": 0, "seeds": 0} | together
        own = gains[(gains["setting"] == setting) & (gains["method"] == method)]
        row |= _of_cells(cells[cells["method"] == method], method) | _of_own(own, cells[cells["method"] == method])
        if method in found.methods and found.pairs:
            row |= _over_pairs(found, method)
            if "friedman_p" in together:
                row["mean_rank"] = ranks.mean_ranks[found.methods.index(method)]
        yield row


def _of_cells(own: pd.DataFrame, method: str) -> dict[str, Any]:
    """Counts over the cells of one method and setting."""
    outside = own["gain_over_scratch_p_holm"] < 1 - LEVEL
    row: dict[str, Any] = {name: int((own["verdict"] == word).sum()) for name, word in _COUNTS.items()}
    row |= {"better": int((outside & (own["gain_over_scratch"] > 0)).sum())}
    row |= {"worse": int((outside & (own["gain_over_scratch"] < 0)).sum())}
    if method != "kd":
        row |= {"wins": int((own["gain_over_kd"] > 0).sum()), "losses": int((own["gain_over_kd"] < 0).sum())}
    if len(shrunk := own["gain_over_scratch_shrunk"].dropna()):
        row |= {"above_0": float((shrunk > 0).mean()), "above_smallest": float((shrunk > SMALLEST).mean())}
    return row


def _of_own(gains: pd.DataFrame, cells: pd.DataFrame) -> dict[str, Any]:
    """Means over the pairs that one method has, and over those that it was asked for and that have ended."""
    means = cells["gain_over_scratch"].dropna()
    ended = cells["gain_over_scratch"].where(~cells["status"].isin(("failed", "diverged")), 0.0).dropna()
    row: dict[str, Any] = {"own_pairs": len(means)}
    if len(means):
        row |= {"own_gain": float(means.mean())}
        wide = gains.pivot(index=PAIR, columns="seed", values="gain_over_scratch")
        row |= dict(
            zip(("spread", "spread_p"), spread(wide, list(wide.index.get_level_values("student"))), strict=True)
        )
    if len(ended):
        row |= {"asked_gain": float(ended.mean())}
    return row


def _over_pairs(found: Rectangle, method: str) -> dict[str, Any]:
    values, students = found.of(method), found.students
    mean, pairs = mean_gain(values, students), mean_gain_of_pairs(values, students)
    middle = interquartile_mean(values, students)
    return {
        "pairs": len(found.pairs),
        "seeds": len(found.seeds),
        "gain": mean.value,
        "low": mean.low,
        "high": mean.high,
        "p": mean.p,
        "new_pairs_low": pairs.low,
        "new_pairs_high": pairs.high,
        "iqm": middle.value,
        "iqm_low": middle.low,
        "iqm_high": middle.high,
    }
