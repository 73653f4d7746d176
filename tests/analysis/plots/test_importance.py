"""The importance figure: its rows, its marks, and pages that hold all methods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from searched import Trial, study

from analysis.plots import NothingToShow, compose_plot, importance
from analysis.tables import importance as table

TEN = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
STUDENTS = ("resnet_small", "vit_small", "mixer_small")


def trials(seed: int, names: int = 2) -> list[Trial]:
    """The first option decides, the others do nothing."""
    draw = np.random.default_rng(seed).uniform(0.1, 10, size=(12, names))
    return [
        (
            {f"option_{i}" + "_of_a_weight" * (i == 3): float(v) for i, v in enumerate(row)},
            80 + float(row[0]),
            "finished",
        )
        for row in draw
    ]


def test_numbers_are_those_of_the_table() -> None:
    frames = study({("resnet_big", name, "kd"): trials(seed) for seed, name in enumerate(STUDENTS)})
    frame = importance.prepare(frames)
    means = frame[frame["teacher"] == ""].set_index("parameter")
    wanted = table.by_method(frames).set_index("parameter")
    assert list(means["row"]) == [0, 1] and means.loc["option_0", "told"] and means.loc["option_0", "row"] == 0
    for name in ("importance", "low", "high", "cells", "trials"):
        assert np.allclose(means[name].astype(float), wanted.loc[means.index, name].astype(float))
    each = frame[frame["teacher"] != ""]
    assert len(each) == 6 and each["low"].isna().all() and set(each["row"]) == {0, 1}


def test_hollow_is_what_cannot_be_told_from_nothing() -> None:
    frame = importance.prepare(study({("resnet_big", "vit_small", "kd"): trials(0)}))
    ax = importance.draw(frame, Figure().subplots(), "red")
    marks = {line.get_markerfacecolor(): list(line.get_xdata()) for line in ax.lines}
    assert len(marks["red"]) == 1 and len(marks["white"]) == 1 and marks["red"][0] > marks["white"][0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["option_0", "option_1"]
    assert ax.get_title(loc="left") == "KD  (1 cell, 12 finished trials)"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", [2, 4, 6])
def test_ten_methods_are_readable(names: int, faults: Callable[[Figure], list[str]]) -> None:
    cells = {("resnet_big", student, method): trials(i, names) for method in TEN for i, student in enumerate(STUDENTS)}
    drawings = compose_plot("importance", study(cells))
    assert [drawing.name for drawing in drawings] == ["importance", "importance_2"][: len(drawings)]
    assert sum(len(drawing.figure.axes) for drawing in drawings) == 10
    for drawing in drawings:
        assert faults(drawing.figure) == [] and "8 finished trials" in drawing.caption


def test_few_trials_are_nothing() -> None:
    with pytest.raises(NothingToShow, match="no cell has 8 finished trials"):
        compose_plot("importance", study({("resnet_big", "vit_small", "kd"): trials(0)[:7]}))
