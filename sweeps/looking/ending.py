"""What a person reads at the end of a study: a table of its cells that fits the terminal, and where the rest lies."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import ledger
from analysis.cells import main_setting
from analysis.current import PLACE
from analysis.metrics import METRICS, Metric

COLUMNS = ("teacher", "student", "method", "score", "gain", "n", "verdict")
DISPENSABLE = ("verdict", "n", "score")
"""What goes where the terminal is too narrow, in this order; then names are cut in their middle."""
SHORTEST = 8


def short(folder: Path, text: str) -> str:
    """The beginning of the report's `text`, and in place of its wide tables one that fits this terminal."""
    cells = pd.read_parquet(folder / PLACE / "tables" / "cells.parquet")
    metric = METRICS[str(ledger.read_matrix_rows(folder)[0]["metric"])]
    head, _, _ = text.partition("\n\n|")
    return f"{head}\n\n{ending(cells, metric, shutil.get_terminal_size().columns - 1)}\n"


def ending(cells: pd.DataFrame, metric: Metric, columns: int) -> str:
    """A line for each pair and method in the study's main setting, none longer than `columns`; plain ASCII."""
    shown = cells[cells["setting"] == main_setting(cells)].to_dict("records")
    rows = [
        {
            "teacher": row["teacher"] or "-",
            "student": row["student"],
            "method": row["method"],
            "score": "-" if pd.isna(row["score_mean"]) else f"{row['score_mean']:.2f}",
            "gain": _gain(row),
            "n": f"{row['n']}/{row['seeds_planned']}" if row["n"] != row["seeds_planned"] else str(row["n"]),
            "verdict": str(row.get("verdict") or ""),
        }
        for row in shown
    ]
    names = {"score": metric.short, "gain": "gain +- 95 %"}
    heads = {name: names.get(name, name) for name in COLUMNS}
    return _table([heads, *rows], columns)


def _gain(row: Mapping[Hashable, Any]) -> str:
    gain, low, high = (row[f"gain_over_scratch{end}"] for end in ("", "_low", "_high"))
    if pd.isna(gain):
        return "-"
    return f"{gain:+.2f}" + ("" if pd.isna(low) else f" +- {(high - low) / 2:.2f}")


def _table(rows: Sequence[dict[str, str]], columns: int) -> str:
    kept = list(COLUMNS)
    widths = {name: max(len(row[name]) for row in rows) for name in kept}

    def whole() -> int:
        return sum(widths[name] for name in kept) + 2 * (len(kept) - 1)

    for name in DISPENSABLE:
        if whole() > columns:
            kept.remove(name)
    while whole() > columns:
        name = max(("teacher", "student"), key=lambda name: widths[name])
        if widths[name] <= SHORTEST:
            break
        widths[name] -= 1
    lines = ["  ".join(_cut(row[name], widths[name]).ljust(widths[name]) for name in kept).rstrip() for row in rows]
    return "\n".join(line[: max(columns, 1)] for line in lines)


def _cut(text: str, width: int) -> str:
    """A name without its middle."""
    if len(text) <= width:
        return text
    head = (width - 2) // 2
    return f"{text[:head]}..{text[len(text) - (width - 2 - head) :]}"
