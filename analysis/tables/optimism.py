"""Selection optimism: what reporting the best test epoch would have added."""

from __future__ import annotations

import pandas as pd

from analysis.cells import join
from analysis.frames import Frames
from analysis.schema import WEIGHTS
from analysis.tables import INT, REAL, TEXT, register_table

_COLUMNS = ["method", "runs", "over_last", "over_best_val", "largest"]


@register_table(
    "optimism",
    50,
    title="Optimism of choosing the epoch on the test set",
    note="Test {plain} at the best test epoch minus that at the last epoch, and minus that at the epoch best on "
    "validation, of the same finished confirmation runs, {points}, under the weights that are shown. A paper "
    "that reports the best test epoch has it included.",
    columns={
        "method": (TEXT, "how it was distilled"),
        "runs": (INT, "finished runs"),
        "over_last": (REAL, "mean of best on test minus last epoch, {points}"),
        "over_best_val": (REAL, "mean of best on test minus best on validation; empty without validation images"),
        "largest": (REAL, "largest of best on test minus last epoch among these runs"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per method, scratch included."""
    rows = join(frames.matrix, frames.runs).query("status == 'finished'")
    rows = rows.drop_duplicates("run_id").sort_values("run_id")
    runs = frames.runs.set_index("run_id")
    for rule in ("last", "best_val"):
        gaps = {weights: runs[f"test_best_test_{weights}"] - runs[f"test_{rule}_{weights}"] for weights in WEIGHTS}
        own = {weights: rows["run_id"].map(gap).astype(float) for weights, gap in gaps.items()}
        rows[f"over_{rule}"] = own["ema"].where(rows["weights"] == "ema", own["raw"])
    grouped = rows.dropna(subset="over_last").groupby("method")
    table = grouped[["over_last", "over_best_val"]].mean()
    table = table.assign(runs=grouped.size(), largest=grouped["over_last"].max()).reset_index()
    return table[_COLUMNS]
