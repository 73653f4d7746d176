"""Which trial a search chose, and on which scale its hyper-parameters are seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from numpy.testing import assert_allclose
from searched import study

from analysis.searches import marked, parameters
from analysis.tables import trials

CELL = ("resnet_big", "vit_small", "kd")


def test_the_best_finished_trial_is_chosen_and_of_equals_the_earlier() -> None:
    """A pruned one may have scored more where it stopped: that says nothing about its full length."""
    ends = [(70.0, "finished"), (99.0, "pruned"), (80.0, "finished"), (80.0, "finished"), (95.0, "diverged")]
    frames = study({CELL: [({"weight": float(place)}, *end) for place, end in enumerate(ends)]})
    rows = marked(trials.prepare(frames), frames.matrix)
    assert rows["chosen"].tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("values", "scale", "unit"),
    [
        ([0.1, 0.2, 0.25, 0.4], "log", None),  # four times is wide, half a level each time it doubles
        ([0.1, 0.2, 0.25, 0.39], "linear", [0, 1 / 3, 2 / 3, 1]),
        ([0.0, 0.2, 0.3, 9.0], "linear", [0, 1 / 3, 2 / 3, 1]),  # 0 has no logarithm
        ([16, 36, 64, 64], "levels", [0, 0.5, 1, 1]),
        ([0.0, 0.0, 0.0, 3.0, 3.0, 3.0], "levels", [0, 0, 0, 1, 1, 1]),
        (["b", "a", "b", "c"], "words", [0.5, 0, 0.5, 1]),
        ([True, False, True, True], "words", [1, 0, 1, 1]),
    ],
)
def test_the_scale_of_a_parameter(values: Sequence[Any], scale: str, unit: Sequence[float] | None) -> None:
    options = [json.dumps({"x": value, "same": 1}) for value in values]
    (found,) = parameters(pd.DataFrame({"options": options, "teacher": "t", "student": "s"}))
    assert (found.name, found.scale) == ("x", scale)
    assert_allclose(found.unit, [0, 0.5, 0.661, 1] if unit is None else unit, atol=1e-3)


def test_an_option_that_joined_later_did_not_vary_before() -> None:
    """Trials from before it are without it; among the others it counts where it has several values."""
    options = [{"x": 1}, {"x": 2, "rate": 1.0}, {"x": 3, "rate": 1.0}]
    table = pd.DataFrame({"options": [json.dumps(one) for one in options], "teacher": "t", "student": "s"})
    assert [found.name for found in parameters(table)] == ["x"]
    table.loc[2, "options"] = json.dumps({"x": 3, "rate": 0.5})
    assert [found.name for found in parameters(table)] == ["rate", "x"]
