"""What the searches have tried, as numbers: which options vary, on which scale, and which settings are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import family_order
from analysis.frames import Frames
from analysis.labels import shorten

CELL = ["teacher", "student", "method"]
PAIR = ["teacher", "student"]
_WIDE = 4.0
"""A range of positive numbers whose ends are this many times apart is seen on a logarithmic scale."""

_INTEGERS, _NUMBERS = 8, 6
"""Up to so many different integers, or other numbers of which each was tried three times on average, are levels."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One searched option of a method, a value for each of its trials in the order of the trials.

    `scale`: "log" or "linear", where `values` are the option's own numbers; "levels" (ordered) or "words" (not), where
    they are positions in `levels`, the texts of the different values. NaN where a trial does not have the option.
    """

    name: str
    scale: str
    values: Array
    levels: tuple[str, ...] = ()

    @property
    def unit(self) -> Array:
        """The values between 0 and 1: by logarithm on a log scale, else by their place among the different values."""
        known = np.unique(self.values[~np.isnan(self.values)])
        if len(known) < 2:
            return np.zeros_like(self.values)
        if self.scale == "log":
            logs = np.log(self.values)
            return (logs - np.log(known[0])) / (np.log(known[-1]) - np.log(known[0]))
        places = np.searchsorted(known, self.values) / (len(known) - 1)
        return np.where(np.isnan(self.values), np.nan, places)


def marked(trials: pd.DataFrame, matrix: pd.DataFrame) -> pd.DataFrame:
    """The rows of `analysis.tables.trials`, pairs in the order of the families, with the columns `setting` (all options
    in one canonical text), `default` (the cell's default setting), `chosen` (its best finished trial, the earlier of
    equals).

    The default is the setting that the `matrix` calls so; where the matrix has none that was tried, the first trial.
    """
    families = ["teacher_family", "teacher", "student_family", "student"]
    rows = trials.sort_values([*families, "method", "trial"], key=family_order, kind="stable", ignore_index=True)
    texts = rows["options"].unique()
    rows["setting"] = rows["options"].map({text: json.dumps(json.loads(text), sort_keys=True) for text in texts})
    defaults = matrix.loc[matrix["setting"] == "default", [*CELL, "options"]].dropna().drop_duplicates(CELL)
    canonical = [json.dumps(json.loads(text), sort_keys=True) for text in defaults["options"]]
    named = rows[CELL].merge(defaults[CELL].assign(named=canonical), on=CELL, how="left")["named"]
    rows["default"] = (rows["setting"] == named).astype(bool)
    unnamed = ~rows["default"].groupby([rows[name] for name in CELL]).transform("any")
    rows["default"] |= unnamed & (rows["trial"] == 0)
    finished = rows[(rows["status"] == "finished") & rows["score"].notna()]
    rows["chosen"] = False
    rows.loc[finished.groupby(CELL)["score"].idxmax(), "chosen"] = True
    return rows


def parameters(rows: pd.DataFrame) -> list[Parameter]:
    """The options, by name, that vary within a cell among `rows`, trials of one method.

    A trial that lacks an option was recorded before there was one: no search can have varied it there.
    """
    table = pd.DataFrame([json.loads(text) for text in rows["options"]], dtype=object)
    cells = [rows[name].to_numpy() for name in PAIR]
    found = []
    for name in sorted(table.columns):
        values = [_plain(value) for value in table[name]]
        texts = pd.Series([None if value is None else str(value) for value in values], dtype=object)
        if texts.groupby(cells).nunique().max() > 1:
            found.append(_parameter(str(name), values))
    return found


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """The different pairs in `rows`, in their order: teacher, student, label (`resnet50 → vit_tiny`)."""
    found = rows[PAIR].drop_duplicates(ignore_index=True)
    teachers, students = (shorten(rows[side].unique()) for side in PAIR)
    teachers |= {"": "no teacher"}
    label = [f"{teachers[teacher]} → {students[student]}" for teacher, student in found.itertuples(index=False)]
    return found.assign(label=label)


def evidence(frames: Frames) -> str:
    """What the score of a search is, in one sentence."""
    weights = sorted(set(frames.matrix["weights"]))
    shown = " or ".join({"ema": "EMA", "raw": "raw"}.get(name, name) for name in weights)
    score = f"Validation {frames.metric.plain} on {frames.data}"
    return f"{score} after the last epoch of one run with one seed, {shown} weights."


def _plain(value: Any) -> Any:
    """A number, a text, or None where the option is missing; lists and the like as their JSON text."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return None if value != value else value
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _parameter(name: str, values: Sequence[Any]) -> Parameter:
    known = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in known):
        levels = sorted({str(value) for value in known})
        places = {level: float(i) for i, level in enumerate(levels)}
        return Parameter(name, "words", _array([places.get(str(v), np.nan) for v in values]), tuple(levels))
    distinct = sorted(set(known))
    whole = all(isinstance(value, int) for value in known)
    if len(distinct) <= _INTEGERS if whole else len(distinct) <= min(_NUMBERS, len(known) // 3):
        numbers = {value: float(i) for i, value in enumerate(distinct)}
        labels = tuple(f"{value:g}" for value in distinct)
        return Parameter(name, "levels", _array([numbers.get(value, np.nan) for value in values]), labels)
    wide = distinct[0] > 0 and distinct[-1] / distinct[0] >= _WIDE
    return Parameter(name, "log" if wide else "linear", _array([np.nan if v is None else v for v in values]))


def _array(values: Sequence[float]) -> Array:
    return np.array(values, dtype=np.float64)
