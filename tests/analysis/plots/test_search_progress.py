"""The progress of the searches: the best so far, waves, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from searched import Trial, study

from analysis.frames import load
from analysis.plots import NothingToShow, compose_plot, search_progress

CELL = ("resnet_big", "vit_small", "kd")
TRIALS: list[Trial] = [
    ({"weight": 1.0}, 50.0, "pruned"),
    ({"weight": 2.0}, 80.0, "finished"),
    ({"weight": 3.0}, 99.0, "failed"),
    ({"weight": 4.0}, 79.0, "finished"),
    ({"weight": 5.0}, 81.0, "finished"),
]


def test_the_best_so_far_is_of_finished_trials() -> None:
    frame = search_progress.prepare(study({CELL: TRIALS}))
    assert list(frame["trial"]) == [0, 1, 2, 3, 4] and np.isnan(frame["best"].iloc[0])
    assert list(frame["best"].iloc[1:]) == [80.0, 80.0, 80.0, 81.0] and set(frame["pair"]) == {"resnet_big → vit_small"}


def test_ink() -> None:
    ax = search_progress.draw(search_progress.prepare(study({CELL: TRIALS})), Figure().subplots(), wave=2)
    lines = {str(line.get_marker()): line for line in ax.lines if line.get_marker() != "None"}
    assert list(lines["|"].get_xdata()) == [1] and list(lines["x"].get_xdata()) == [3]
    assert list(lines["o"].get_xdata()) == [5] and list(lines["o"].get_ydata()) == [81.0]
    waves = [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert waves == [2.5, 4.5] and ax.get_ylim()[0] < 80 and ax.get_ylim()[1] > 81


def test_a_cell_that_has_finished_nothing_is_drawn(faults: Callable[[Figure], list[str]]) -> None:
    frames = study({CELL: TRIALS[:1], ("resnet_big", "resnet_small", "pat"): TRIALS})
    (drawing,) = compose_plot("search_progress", frames)
    assert faults(drawing.figure) == [] and len(drawing.figure.axes) == 2
    assert "1 to 5 trials" in drawing.caption and "(2 of 6)" in drawing.caption and "wave of 2" in drawing.caption


@pytest.mark.parametrize("shape", ["12 of 20", "3 x 3", "one pair"])
def test_every_shape_is_readable(
    shape: str, tmp_path: Path, make_twelve: Any, make_square: Any, faults: Callable[[Figure], list[str]]
) -> None:
    made = {
        "12 of 20": lambda: make_twelve(methods=("kd", "pat", "ofa"), trials=5, seeds=(1,)),
        "3 x 3": lambda: make_square(trials=3, seeds=(1,)),
        "one pair": lambda: make_square(("vit",), trials=9, seeds=(1,)),
    }[shape]()
    (drawing,) = compose_plot("search_progress", load(made.write(tmp_path)))
    assert faults(drawing.figure) == [] and drawing.caption.endswith(".")


def test_without_a_search_there_is_nothing(tmp_path: Path, make_square: Any) -> None:
    with pytest.raises(NothingToShow, match="no search"):
        compose_plot("search_progress", load(make_square(("cnn",), seeds=(1,)).write(tmp_path)))
