"""Cost against gain: hours of a run and of the search, gains, and the front, by hand and for every shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames, load
from analysis.plots import COLUMN, PAGE, NothingToShow, compose_plot, cost_gain

SHAPES = ("3 x 3 with gaps", "3 x 3, one seed", "one pair, one seed", "12 of 20, ten methods", "12 of 20, default only")


@pytest.fixture
def timed(tmp_path: Path, make_square: Any) -> Frames:
    """Two pairs, whose PAT runs take four hours and all others one; a search of four trials of 2.5 s an epoch."""
    frames = load(make_square(("cnn", "vit"), trials=4).write(tmp_path))
    confirmed = frames.runs["phase"] != "search"
    hours = frames.runs["method"].map({"pat": 4.0}).fillna(1.0)
    return dataclasses.replace(frames, runs=frames.runs.assign(seconds=(3600 * hours).where(confirmed, 1800.0)))


def test_numbers(timed: Frames) -> None:
    frame = cost_gain.prepare(timed)
    assert len(frame) == 4 * 2 * 2
    rows = frame.groupby(["method", "setting"])[["hours", "spent"]].agg(["min", "max"])
    assert list(rows.loc[("pat", "default")]) == [4, 4, 4, 4] and list(rows.loc[("kd", "tuned")]) == [1, 1, 3, 3]
    cells = timed.cells.set_index(["teacher", "student", "method", "setting"])
    for row in frame.to_dict("records"):
        cell = cells.loc[(row["teacher"], row["student"], row["method"], row["setting"])]
        assert row["gain"] == cell["gain_over_scratch"] and row["low"] == cell["gain_over_scratch_low"]
    tuned = frame[frame["setting"] == "tuned"]
    best_kd, best = tuned.loc[tuned["method"] == "kd", "gain"].max(), tuned["gain"].max()
    assert list(tuned.loc[tuned["front"], "gain"].sort_values()) == sorted({best_kd, best})


def test_the_front() -> None:
    hours, gain = np.array([1.0, 2, 2, 3, 4, 1]), np.array([1.0, 0.5, 2, 2, 3, 1])
    assert list(cost_gain._front(hours, gain)) == [True, False, True, False, True, False]
    assert list(cost_gain._front(np.array([5.0]), np.array([-1.0]))) == [True]
    assert len(cost_gain._front(np.array([]), np.array([]))) == 0


def test_methods_are_compared_on_the_pairs_that_they_share(timed: Frames) -> None:
    frame = cost_gain.prepare(timed)
    first = frame.iloc[0]
    table = cost_gain.by_method(frame.drop(index=0)).set_index(["method", "setting"])
    assert set(table["pairs"]) == {3}
    kept = frame[(frame["teacher"] != first["teacher"]) | (frame["student"] != first["student"])]
    wanted = kept.groupby(["method", "setting"])["gain"].mean()
    assert np.allclose(table["gain"], wanted.loc[table.index]) and table.loc[("pat", "tuned"), "spent"] == 6.0
    kd = frame.index[frame["method"] == "kd"]
    assert cost_gain.by_method(frame.drop(index=[kd[0], kd[2], kd[5], kd[7]])).empty


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_readable(
    shape: str, study: Callable[[str], Frames], faults: Callable[[Figure], list[str]]
) -> None:
    (drawing,) = compose_plot("cost_gain", study(shape))
    assert faults(drawing.figure) == []
    assert drawing.figure.get_figwidth() == (COLUMN if "default only" in shape else PAGE)
    assert ("No intervals" in drawing.caption) == ("one seed" in shape)
    assert ("cells without a gain" in drawing.caption) == ("gaps" in shape)


def test_different_times_are_readable(timed: Frames, faults: Callable[[Figure], list[str]]) -> None:
    (drawing,) = compose_plot("cost_gain", timed)
    assert faults(drawing.figure) == []
    assert [ax.get_xscale() for ax in drawing.figure.axes] == ["log", "log"]


def test_without_times_there_is_nothing(timed: Frames) -> None:
    with pytest.raises(NothingToShow):
        compose_plot("cost_gain", dataclasses.replace(timed, runs=timed.runs.assign(seconds=np.nan)))
    assert isinstance(cost_gain.prepare(timed), pd.DataFrame)
