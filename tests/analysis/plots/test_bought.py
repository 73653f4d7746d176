"""What a gain costs in all: by hand, against simulation, and at both ends of a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import budget
from analysis.frames import Frames, load
from analysis.plots import NothingToShow, bought, compose_plot

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    study = make_square(("cnn", "vit"), seeds=(1, 2, 3), trials=6)
    return load(study.write(tmp_path_factory.mktemp("searched")))


def test_the_mean_of_the_largest() -> None:
    assert budget.largest([1, 2, 3]) == pytest.approx([0, 1 / np.sqrt(np.pi), 1.5 / np.sqrt(np.pi)], abs=1e-6)
    assert budget.largest(2.9) == pytest.approx(budget.largest(2)) and budget.largest(0.4) == pytest.approx(0, abs=1e-9)
    drawn = np.random.default_rng(0).normal(size=(20000, 40)).max(axis=1)
    assert budget.largest(40) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(len(drawn)))


def test_a_path_is_what_the_search_has_found_so_far() -> None:
    rows = {"best": [80.0, 80, np.nan, 84, 84], "default": [True, False, False, False, False]}
    rows |= {"score": [80.0, 70, np.nan, 84, 81], "status": ["finished"] * 5, "hours": [1.0, 1, 0.5, 1, 1]}
    path = budget._path(pd.DataFrame(rows).ffill(), 2.0, 1.5)
    assert path.times.tolist() == [2.0, 2.5, 2.75, 3.25, 3.75] and path.share.tolist() == [0, 0, 0, 1, 1]
    assert [path.at(times) for times in (0, 2, 3.2, 3.25, 99)] == [0, 0, 0, 1, 1]
    half = pd.DataFrame(rows).ffill().assign(best=[80.0, 82, 82, 84, 84])
    assert budget._path(half, 2.0, 1.5).share.tolist() == [0, 0.5, 0.5, 1, 1]


def test_where_the_search_has_found_nothing_better() -> None:
    rows = {"best": [80.0, 80.0], "default": [True, False], "score": [80.0, 70], "hours": [1.0, 1.0]}
    assert budget._path(pd.DataFrame(rows | {"status": ["finished"] * 2}), 1.0, 1.0).share.tolist() == [1, 1]
    failed = pd.DataFrame(rows | {"best": [np.nan, 70.0], "status": ["failed", "finished"]})
    assert budget._path(failed, 1.0, 1.0).share.tolist() == [0, 1]


def test_both_ends_are_confirmed_gains(searched: Frames) -> None:
    """The ledger's runs take 10 s and its six trials 2.5 s an epoch: one pruned at half makes them 5.5 runs."""
    cells = searched.cells.set_index(["method", "setting"])["gain_over_scratch"]
    for method, found in budget.bought(searched).items():
        assert len(found.students) == 4 and found.begins == pytest.approx(1)
        assert found.ends == pytest.approx(1 + 5 + 0.5)
        assert found.gain(0).value == pytest.approx(cells[method, "default"].mean())
        assert found.gain(found.ends).value == pytest.approx(cells[method, "tuned"].mean())
        values = [found.gain(times).value for times in np.linspace(1, found.ends, 9)]
        ends = sorted([values[0], values[-1]])
        assert all(ends[0] - 1e-9 <= value <= ends[1] + 5 for value in values)
    table = searched.table("bought")
    assert list(table["method"]) == ["kd", "kd", "pat", "pat"] and list(table["setting"]) == ["default", "tuned"] * 2
    assert np.allclose(
        table["gain"], [cells[key].mean() for key in zip(table["method"], table["setting"], strict=True)]
    )
    assert np.allclose(table["beyond"], table["gain"] - table["scratch"])
    assert np.allclose(table["per_hour"], table["gain"] / (table["times"] * 10 / 3600))


def test_pre_training_is_paid_for(searched: Frames) -> None:
    """One as long as two runs: before the default setting, and each of six trials; not again before the last run."""
    runs = searched.runs.copy()
    begun = (runs["method"] == "pat") & runs["phase"].isin(("search", "confirm"))
    runs.loc[begun, "config"] = '{"initial": "run:pppp"}'
    before = runs[begun].head(1).assign(run_id="pppp", phase="pretrain", method="hgkd", seconds=20.0, config="{}")
    runs = pd.concat([runs, before], ignore_index=True)
    frames = Frames(searched.matrix, runs, searched.epochs, {}, searched.definition)
    found = budget.bought(frames)
    assert found["kd"].begins == pytest.approx(1) and found["kd"].ends == pytest.approx(6.5)
    assert found["pat"].begins == pytest.approx(1 + 2) and found["pat"].ends == pytest.approx(5.5 + 6 * 2 + 1)


def test_what_luck_is_worth(searched: Frames) -> None:
    """Validation and test scores of the made-up runs are equal: luck is their standard deviation over seeds."""
    rows = searched.runs[searched.runs["phase"] == "scratch"]
    pooled = float(np.sqrt(rows.groupby("student")["test_last_raw"].var().mean()))
    assert budget.luck(searched) == pytest.approx(pooled)
    apart = Frames(
        searched.matrix, searched.runs.assign(val_last_raw=float("nan")), searched.epochs, {}, searched.definition
    )
    assert np.isnan(budget.luck(apart)) and bought.prepare(apart)["method"].eq("scratch").sum() == 0


def test_the_figure(searched: Frames, faults: Any, tmp_path: Path, make_square: Make) -> None:
    (drawing,) = compose_plot("bought", searched)
    assert faults(drawing.figure) == [] and "Grey: scratch given the same hours" in drawing.caption
    frame = bought.prepare(searched)
    assert frame.groupby("method")["times"].min().tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(NothingToShow, match="no pair has a search"):
        compose_plot("bought", load(make_square(("cnn",)).write(tmp_path)))


@pytest.mark.parametrize(("places", "found"), [([0.1, 0.5], [0.1, 0.5]), ([0.5, 0.5], [0.45, 0.55]), ([0.2], [0.2])])
def test_names_are_kept_apart(places: list[float], found: list[float]) -> None:
    assert bought.spread_out(np.array(places), 0.1) == pytest.approx(found)
