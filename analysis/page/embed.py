"""Tables as compact JSON inside the page, and JSON that cannot break out of its <script> element."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

ROWS, COLUMN_BYTES, LETTERS = 50_000, 1_200_000, 400
"""A table of more rows is only linked; a column of more JSON is only in the table's files; longer texts are cut."""

_DIGITS = 6
_POINTS = re.compile(
    r"gain|scratch|score|best|optimism|tuned_minus|rank|critical|^(val|test)_last|_std$|_mean$|(^|_)(low|high)$"
)
_CHANCE = re.compile(r"(^|_)p(_holm|_bh)?$")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_UNSAFE = re.compile("[<>&\u2028\u2029]")


@dataclass(frozen=True)
class Embedded:
    """A table as the script reads it. `content`: {"columns": […], "rows": n}; `only_files`: columns that are not in
    it; `linked`: the whole table is not."""

    content: Mapping[str, Any]
    only_files: Sequence[str]
    linked: bool


def script_json(value: object) -> Markup:
    """`value` as JSON for the inside of a <script> element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(_UNSAFE.sub(lambda found: _ESCAPES[found[0]], text))


def embedded(name: str, frame: pd.DataFrame, about: Mapping[str, str], hidden: Sequence[str]) -> Embedded:
    """The table by columns. A column is {"name", "about", "kind", "hidden", "v": values} or, where values recur,
    {"w": the different values, "v": the place of each row's value in "w", -1 for a missing one}."""
    if len(frame) > ROWS:
        return Embedded({"name": name, "columns": [], "rows": len(frame)}, (), True)
    columns, only_files = [], []
    for title in frame.columns:
        kind, values = _values(str(title), about.get(str(title), ""), frame[title])
        column = {"name": str(title), "about": about.get(str(title), ""), "kind": kind, **_packed(values)}
        if title in hidden:
            column["hidden"] = True
        if len(json.dumps(column)) > COLUMN_BYTES:
            only_files.append(str(title))
        else:
            columns.append(column)
    return Embedded({"name": name, "columns": columns, "rows": len(frame)}, only_files, False)


def _values(name: str, about: str, column: pd.Series) -> tuple[str, list[Any]]:
    """The kind of the values - int, points (two decimals), p, number, run, text - and they, None where missing."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return "text", ["yes" if value else "no" for value in column]
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "text", [None if pd.isna(value) else value.strftime("%Y-%m-%d %H:%M:%S") for value in column]
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        known = numbers[np.isfinite(numbers)]
        points = "percent" in about or _POINTS.search(name) is not None
        kind = "p" if _CHANCE.search(name) else "points" if points else "number"
        if kind == "number" and (known == np.round(known)).all():
            return "int", [int(value) if np.isfinite(value) else None for value in numbers]
        return kind, [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in numbers]
    kind = "run" if name == "run_id" or name.endswith("_run_id") else "text"
    return kind, [None if _missing(value) else _cut(str(value)) for value in column]


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def _packed(values: list[Any]) -> dict[str, Any]:
    words = list(dict.fromkeys(value for value in values if value is not None))
    if 3 * len(words) > len(values):
        return {"v": values}
    place = {word: i for i, word in enumerate(words)}
    return {"w": words, "v": [-1 if value is None else place[value] for value in values]}
