"""What the search was worth: tuned against default, and the search's own score against what was confirmed."""

from __future__ import annotations

import pandas as pd

from analysis.cells import join, setting_gains
from analysis.frames import Frames
from analysis.schema import WEIGHTS
from analysis.tables import BOOL, INT, REAL, TEXT, register_table

_CELL = ["teacher", "student", "method"]


@register_table(
    "settings",
    20,
    title="Tuned against default",
    note="Test {plain} of the tuned minus that of the default setting on the same fresh seeds, {points}, and "
    "the optimism of the search: the best trial's validation {plain} minus the mean validation {plain} of the same "
    "setting on those seeds (empty where the confirmation keeps no validation images).",
    columns={
        "teacher": (TEXT, "timm name"),
        "student": (TEXT, "timm name"),
        "method": (TEXT, "how it was distilled"),
        "n": (INT, "seeds that both settings have"),
        "same_setting": (BOOL, "the search chose the default"),
        "tuned_minus_default": (REAL, "test {short}, {points}"),
        "tuned_minus_default_std": (REAL, "standard deviation over seeds"),
        "tuned_minus_default_low": (REAL, "95 % interval (moderated t): other seeds, this very test set"),
        "tuned_minus_default_high": (REAL, "its upper end"),
        "tuned_minus_default_p": (REAL, "its p-value"),
        "tuned_minus_default_p_holm": (REAL, "corrected over all cells of this table"),
        "tuned_minus_default_plain_low": (REAL, "95 % interval of the cell's own paired t"),
        "tuned_minus_default_plain_high": (REAL, "its upper end"),
        "trials": (INT, "settings that were tried"),
        "search_score": (REAL, "validation {short} of the best trial, percent (one seed)"),
        "confirmed_validation": (REAL, "validation {short} of that setting, percent, mean over the fresh seeds"),
        "search_optimism": (REAL, "search_score minus confirmed_validation, {points}"),
    },
    shown=(
        "teacher", "student", "method", "n", "same_setting", "tuned_minus_default", "tuned_minus_default_low",
        "tuned_minus_default_high", "tuned_minus_default_p_holm", "trials", "search_score", "confirmed_validation",
        "search_optimism",
    ),
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per teacher, student and method that has both settings; see the registered columns."""
    found = setting_gains(frames.matrix, frames.runs)
    tried = frames.table("trials")
    search = tried.groupby(_CELL).agg(trials=("trial", "size"), search_score=("best", "max"))
    frame = found.join(search, on=_CELL).join(_confirmed(frames), on=_CELL)
    frame["trials"] = frame["trials"].fillna(0)
    return frame.assign(search_optimism=frame["search_score"] - frame["confirmed_validation"])


def _confirmed(frames: Frames) -> pd.Series:
    """Mean validation score of each cell's tuned runs at the last epoch, under the weights that are shown."""
    rows = join(frames.matrix, frames.runs).query("setting == 'tuned' and status == 'finished'").sort_values("run_id")
    runs = frames.runs.set_index("run_id")
    scores = {weights: rows["run_id"].map(runs[f"val_last_{weights}"]).astype(float) for weights in WEIGHTS}
    shown = scores["ema"].where(rows["weights"] == "ema", scores["raw"])
    return shown.groupby([rows[name] for name in _CELL]).mean().rename("confirmed_validation")
