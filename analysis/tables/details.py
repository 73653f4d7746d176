"""The further scores that a test gives beside the metric itself: AP at one overlap or of one size, pixel accuracy."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from analysis.cells import CELL, join
from analysis.frames import Frames
from analysis.metrics import Metric
from analysis.tables import INT, REAL, TEXT, Columns, register_table


def _columns(metric: Metric) -> Columns:
    if not metric.details:
        return {}
    return {
        "teacher": (TEXT, "timm name; empty for scratch"),
        "student": (TEXT, "timm name"),
        "method": (TEXT, "how it was distilled; scratch"),
        "setting": (TEXT, "default or tuned; scratch"),
        "n": (INT, "finished seeds over which the means are"),
        "score": (REAL, "test {short}, percent"),
        **{name: (REAL, f"test {words}, percent") for name, words in metric.details.items()},
    }


@register_table(
    "details",
    15,
    title="Further test scores",
    note="Means over the finished seeds of each cell, and of each student's scratch runs, in percent, under the rule "
    "and weights that are shown. No decision and no test rests on them.",
    columns=_columns,
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per student's scratch runs and per cell of which a finished run has further scores."""
    names = list(frames.metric.details)
    rows = join(frames.matrix, frames.runs).query("status == 'finished'")
    texts = rows["run_id"].map(frames.runs.set_index("run_id")["details"])
    chosen = rows["rule"] + "_" + rows["weights"]
    found = [_chosen(text, key) for text, key in zip(texts, chosen, strict=True)]
    scores = pd.DataFrame(found, index=rows.index).reindex(columns=names).astype(float)
    rows = pd.concat([rows[[*CELL, "score"]], scores], axis=1).dropna(subset=names, how="all")
    grouped = rows.groupby(CELL)
    table = grouped[["score", *names]].mean()
    table.insert(0, "n", grouped.size())
    return table.reset_index().sort_values(["student", "teacher", "method", "setting"], ignore_index=True)


def _chosen(text: Any, key: str) -> dict[str, float]:
    """The scores of one rule and weights in the column `details` of a run."""
    return dict(json.loads(text).get(key, {})) if isinstance(text, str) else {}
