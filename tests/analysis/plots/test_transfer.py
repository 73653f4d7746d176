"""The matrix of regrets: its places, its marks, and sizes from 2 x 2 to more than a page holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from searched import FAMILIES, Trial, study

from analysis.plots import NothingToShow, compose_plot, transfer

A, B = ("vit_big", "vit_small", "kd"), ("resnet_big", "resnet_small", "kd")
TRIALS: dict[tuple[str, str, str], list[Trial]] = {
    A: [({"weight": 1.0}, 80.0, "finished"), ({"weight": 9.0}, 82.0, "finished")],
    B: [({"weight": 1.0}, 71.0, "finished"), ({"weight": 5.0}, 70.0, "finished"), ({"weight": 2.0}, 60.0, "finished")],
}


def test_places_and_numbers() -> None:
    frame = transfer.prepare(study(TRIALS))
    rows = frame.set_index(["row", "column"])
    assert len(frame) == 2 + 2 + 2 and frame["row"].max() == 2 + 0.35 + 1
    assert rows.loc[(0, 1), "regret"] == 2.0 and rows.loc[(0, 1), "exact"]  # the default, from the CNN to the ViT
    assert rows.loc[(1, 0), "regret"] == 1.0 and not rows.loc[(1, 0), "exact"]  # 5 is the nearest to 9
    assert rows.loc[(0, 1), "row_label"] == "resnet_big → resnet_small"
    assert rows.loc[(2.35, 0), "regret"] == 0.0 and rows.loc[(2.35, 1), "regret"] == 2.0
    assert rows.loc[(3.35, 0), "regret"] == pytest.approx(71 - 67) and rows.loc[(3.35, 1), "regret"] == 1.0


def test_marks() -> None:
    pruned = TRIALS | {A: [({"weight": 1.0}, 50.0, "pruned"), ({"weight": 9.0}, 82.0, "finished")]}
    frame = transfer.prepare(study(pruned))
    ax = transfer.draw(frame, Figure().subplots())
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts[(1, 0)] == "–" and texts[(0, 1)] == "1.0"
    framed = [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert {(round(patch.get_x() + 0.45), round(patch.get_y() + 0.42, 2)) for patch in framed} == {
        (1, 0.0),
        (0, 2.35),
        (1, 2.35),
    }
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]


@pytest.mark.parametrize(("size", "width"), [(2, 3.35), (12, 7.0), (23, 7.0)])
def test_every_size_is_readable(
    size: int, width: float, faults: Callable[[Figure], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"swin_tiny_{i:02d}": "vit" for i in range(size)} | {"mobilenetv2_100": "cnn"}
    for name, family in names.items():
        monkeypatch.setitem(FAMILIES, name, family)
    draw = np.random.default_rng(0)
    cells: dict[tuple[str, str, str], list[Trial]] = {
        (f"swin_tiny_{i:02d}", "mobilenetv2_100", "kd"): [
            ({"weight": float(draw.uniform(0.1, 10))}, float(draw.uniform(60, 90)), "finished") for _ in range(4)
        ]
        for i in range(size)
    }
    drawings = compose_plot("transfer", study(cells))
    assert [drawing.name for drawing in drawings] == ["transfer_kd"]
    assert faults(drawings[0].figure) == [] and drawings[0].figure.get_figwidth() == width
    assert ("3 more cells are left out" in drawings[0].caption) == (size == 23)
    assert len(drawings[0].figure.axes[0].get_xticklabels()) == min(size, 20)


def test_one_cell_has_nothing_to_transfer() -> None:
    with pytest.raises(NothingToShow, match="two cells"):
        compose_plot("transfer", study({A: TRIALS[A]}))
