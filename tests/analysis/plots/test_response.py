"""The response figure: what stands on which axis, and that every shape of study is readable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from searched import Trial, study

from analysis.frames import load
from analysis.plots import NothingToShow, compose_plot, response

CELL = ("resnet_big", "vit_small", "pat")


def option(weight: float, depth: int, form: str) -> dict[str, Any]:
    return {"weight": weight, "depth": depth, "form": form, "heads": 4}


TRIALS: list[Trial] = [
    (option(1.0, 4, "b"), 80.0, "finished"),
    (option(0.1, 0, "a"), 82.5, "finished"),
    (option(20.0, 2, "b"), 40.0, "pruned"),
    (option(5.0, 2, "b"), 99.0, "failed"),
]


def test_axes_of_each_kind_of_value() -> None:
    frame = response.prepare(study({CELL: TRIALS}, TRIALS[0][0]))
    assert len(frame) == 3 * 3 and set(frame["status"]) == {"finished", "pruned"}
    scales = frame.drop_duplicates("parameter").set_index("parameter")["scale"]
    assert scales.to_dict() == {"depth": "levels", "form": "words", "weight": "log"}
    rows = frame.set_index(["parameter", "trial"])
    assert list(rows.loc["weight", "value"]) == [1.0, 0.1, 20.0] and list(rows.loc["weight", "score"]) == [80, 82.5, 40]
    assert list(rows.loc["depth", "value"]) == [2, 0, 1] and list(rows.loc["depth", "level"]) == ["4", "0", "2"]
    assert list(rows.loc["form", "value"]) == [1, 0, 1] and set(rows.loc["depth", "levels"]) == {3}
    assert list(frame.loc[frame["default"], "trial"].unique()) == [0]
    assert list(frame.loc[frame["chosen"], "trial"].unique()) == [1]
    assert set(frame["pair"]) == {"resnet_big → vit_small"}


def test_a_pruned_trial_stands_on_the_edge() -> None:
    frame = response.prepare(study({CELL: TRIALS}))
    ax = response.draw(frame[frame["parameter"] == "weight"], Figure().subplots())
    pruned, finished, default, chosen = ax.lines
    low, high = ax.get_ylim()
    assert list(pruned.get_xdata()) == [20.0] and list(pruned.get_ydata()) == [low]
    assert list(finished.get_ydata()) == [80.0, 82.5] and low < 80 < 82.5 < high
    assert list(default.get_ydata()) == [80.0] and list(chosen.get_ydata()) == [82.5]


def test_round_numbers() -> None:
    assert response.round_numbers(0.01, 100) == [0.01, 0.1, 1, 10, 100][::2]
    assert response.round_numbers(0.5, 8) == [0.5, 1, 2, 5]
    assert response.round_numbers(1.01, 2.03) == [1.5, 2]
    assert response.round_numbers(1.01, 1.02) == [1.0]


def test_every_method_and_page_has_a_drawing(faults: Callable[[Figure], list[str]]) -> None:
    options = [{f"o{i}": float(10**k) for i in range(9)} for k in range(4)]
    trials: list[Trial] = [(setting, 80.0 + i, "finished") for i, setting in enumerate(options)]
    drawings = compose_plot("response", study({("resnet_big", "vit_small", "kd"): trials, CELL: TRIALS}))
    assert [drawing.name for drawing in drawings] == ["response_kd", "response_pat", "response_kd_2"]
    for drawing in drawings:
        assert faults(drawing.figure) == [] and "one seed" in drawing.caption and drawing.caption.endswith(".")
    assert "pruned (1 of 3)" in drawings[1].caption


@pytest.mark.parametrize("shape", ["12 of 20", "2 x 2"])
def test_every_shape_is_readable(
    shape: str, tmp_path: Path, make_twelve: Any, make_square: Any, faults: Callable[[Figure], list[str]]
) -> None:
    made = make_twelve(methods=("pat",), trials=9, seeds=(1,)) if "12" in shape else make_square(("cnn",), trials=5)
    for drawing in compose_plot("response", load(made.write(tmp_path))):
        assert faults(drawing.figure) == []


def test_without_a_search_there_is_nothing(tmp_path: Path, make_square: Any) -> None:
    with pytest.raises(NothingToShow, match="no search"):
        compose_plot("response", load(make_square(("cnn",), seeds=(1,)).write(tmp_path)))
