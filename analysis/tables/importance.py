"""How much of what the settings of a cell differ in, each hyper-parameter explains alone.

Of a cell's finished trials the scores are replaced by their ranks and the hyper-parameter's values by groups; then
eta squared = SS_between / SS_total, and the importance is its value adjusted for what chance explains,

    1 - (1 - eta^2) (n - 1) / (n - k),        n trials in k groups,

Kelley's epsilon squared (Kelley 1935, "An unbiased correlation ratio measure", PNAS 21:554). On ranks it equals
(H - k + 1) / (n - k) with H of Kruskal and Wallis (Tomczak and Tomczak 2014, Trends in Sport Sciences 21:19): 0 in
expectation where the hyper-parameter does nothing, 1 where it alone sets the order. Main effects only: what two
hyper-parameters do together counts for neither.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student_t

from analysis.frames import Frames
from analysis.searches import CELL, Parameter, marked, parameters
from analysis.tables import INT, REAL, TEXT, register_table

NEEDED = 8
"""Finished trials of a cell below which no importance is said."""

MANY = 16
"""From so many trials on, four groups of a hyper-parameter's values; below, three."""

CELLS_NEEDED = 3
"""Cells below which the mean of a method gets no interval."""

PERMUTATIONS = 999
_COLUMNS = [*CELL, "parameter", "trials", "importance", "adjusted", "p"]

Array = NDArray[np.float64]


@register_table(
    "importance",
    72,
    title="Importance of the hyper-parameters",
    note="Share of the order of a cell's finished trials that one hyper-parameter explains alone: Kelley's epsilon "
    "squared of the ranked scores in three groups of its values (four from 16 trials on). Cells with fewer than 8 "
    "finished trials are left out; validation images, one seed a trial.",
    columns={
        "teacher": (TEXT, "timm name"),
        "student": (TEXT, "timm name"),
        "method": (TEXT, "how it was distilled"),
        "parameter": (TEXT, "the option"),
        "trials": (INT, "finished trials of the cell"),
        "importance": (REAL, "0: nothing, 1: it alone sets the order"),
        "adjusted": (REAL, "the same before it is cut off at 0: to be averaged over cells"),
        "p": (REAL, "of 999 permutations of the scores, not corrected for the number of rows"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per cell and hyper-parameter that varies among its at least NEEDED finished trials.

    Columns: teacher, student, method, parameter, trials, importance (0 to 1), adjusted (the same before it is cut off
    at 0: what means are made of), p (of 999 permutations of the scores, not corrected for the number of rows).
    """
    return _measure(frames)[0]


def by_method(frames: Frames) -> pd.DataFrame:
    """Per method and hyper-parameter: cells, trials (of all together), importance (mean of `adjusted` over the cells,
    cut off at 0), low, high (95 % t interval of that mean over the cells; NaN below CELLS_NEEDED), p (permutation of
    the scores within every cell).
    """
    table, null = _measure(frames)
    rows = []
    for (method, parameter), part in table.groupby(["method", "parameter"]):
        values, n = part["adjusted"].to_numpy(), len(part)
        mean, chance = values.mean(), null[part.index].mean(axis=0)
        half = student_t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n >= CELLS_NEEDED else np.nan
        row = {"method": method, "parameter": parameter, "cells": n, "trials": int(part["trials"].sum())}
        rows.append(
            row | {"importance": max(0.0, mean), "low": mean - half, "high": mean + half, "p": _p(mean, chance)}
        )
    columns = ["method", "parameter", "cells", "trials", "importance", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


def _measure(frames: Frames) -> tuple[pd.DataFrame, Array]:
    """The table of `prepare` and of each of its rows the adjusted values under PERMUTATIONS random orders."""
    rows, nulls = [], []
    every = marked(frames.table("trials"), frames.matrix)
    for _, method_rows in every.groupby("method", sort=False):
        found = parameters(method_rows)
        scores = method_rows["score"].where(method_rows["status"] == "finished").to_numpy(float)
        cells: dict[Any, Any] = method_rows.reset_index(drop=True).groupby(CELL, sort=False).indices
        for cell, places in cells.items():
            kept = places[~np.isnan(scores[places])]
            if len(kept) < NEEDED or np.ptp(scores[kept]) == 0:
                continue
            orders = _orders(len(kept))
            ranks = rankdata(scores[kept])[orders]
            for parameter in found:
                groups = _groups(parameter, kept)
                if len(np.unique(groups)) < 2:
                    continue
                adjusted = _adjusted(ranks, groups)
                value = float(adjusted[0])
                row = (*cell, parameter.name, len(kept), max(0.0, value), value, _p(value, adjusted[1:]))
                rows.append(row)
                nulls.append(adjusted[1:])
    table = pd.DataFrame(rows, columns=_COLUMNS)
    order = table.sort_values([*CELL, "parameter"]).index
    return table.loc[order].reset_index(drop=True), np.array(nulls).reshape(-1, PERMUTATIONS)[order]


@cache
def _orders(n: int) -> NDArray[np.intp]:
    """`n` places in their own order, then in PERMUTATIONS random ones, the same in every process."""
    random = np.random.default_rng(n).permuted(np.tile(np.arange(n), (PERMUTATIONS, 1)), axis=1)
    return np.vstack([np.arange(n), random])


def _groups(parameter: Parameter, kept: NDArray[np.intp]) -> NDArray[np.intp]:
    """The group of each trial: a word's own; else thirds or quarters of the trials in order of the value, equal values
    together. A parameter that some of the trials lack, or of more words than half the trials, makes one group."""
    values = parameter.values[kept]
    n = len(values)
    distinct, codes = np.unique(values, return_inverse=True)
    wanted = 4 if n >= MANY else 3
    if np.isnan(values).any() or (parameter.scale == "words" and len(distinct) > n // 2):
        return np.zeros(n, np.intp)
    if parameter.scale == "words" or len(distinct) <= wanted:
        return codes
    return np.floor(wanted * (rankdata(values) - 0.5) / n).astype(np.intp)


def _adjusted(ranks: Array, groups: NDArray[np.intp]) -> Array:
    """Kelley's epsilon squared for each row of `ranks`, [orders, trials]."""
    n = ranks.shape[1]
    member = (groups[:, None] == np.unique(groups)).astype(float)
    k = member.shape[1]
    between = (((ranks - ranks.mean(axis=1, keepdims=True)) @ member) ** 2 / member.sum(axis=0)).sum(axis=1)
    return 1 - (1 - between / (ranks.var(axis=1) * n)) * (n - 1) / (n - k)


def _p(value: float, chance: Array) -> float:
    """How often chance alone is at least as large, the observed order counted among the random ones."""
    return float((1 + np.count_nonzero(chance >= value - 1e-9)) / (1 + len(chance)))
