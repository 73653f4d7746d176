"""The atlas: its numbers are those of the cells, its choices those of validation, its ink fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.cells import seed_gains
from analysis.choice import choose
from analysis.frames import Frames
from analysis.plots import NothingToShow, atlas, compose_plot
from analysis.stats import mean_gain
from analysis.verdicts import HELPS, HURTS

Study = Callable[[str], Frames]
Faults = Callable[[Figure], list[str]]


def test_numbers_are_those_of_the_cells(study: Study) -> None:
    frames = study("3 x 3 with gaps")
    frame = atlas.prepare(frames)
    main = frames.cells[frames.cells["setting"] == "tuned"]
    assert len(frame) == 9 * 2 and frame["gain"].notna().sum() == main["gain_over_scratch"].notna().sum()
    assert frame["gain"].sum() == pytest.approx(main["gain_over_scratch"].sum())
    assert frame["sure"].sum() == main["verdict"].isin((HELPS, HURTS)).sum()
    picked = choose(frames, ["teacher", "student"])
    assert frame["chosen"].sum() == len(picked)
    assert sorted(frame.loc[frame["chosen"], "gain"]) == pytest.approx(sorted(picked["gain_over_scratch"]))
    assert frame.loc[frame["chosen"], "cost"].tolist() == pytest.approx([1.0] * len(picked))
    assert set(frame.loc[~frame["chosen"], "cost"].isna()) == {True}


def test_the_corner_says_that_the_default_does_it(study: Study, with_cells: Callable[..., Frames]) -> None:
    frames = study("2 x 2, two seeds")
    cells = frames.cells.assign(verdict="not known")
    cells.loc[(cells["setting"] == "default") & (cells["method"] == "pat"), "verdict"] = HELPS
    frame = atlas.prepare(with_cells(frames, cells))
    assert set(frame.loc[frame["default"], "method"]) == {"pat"} and not frame["sure"].any()
    assert not atlas.prepare(study("12 of 20, default only"))["default"].any()


def test_the_margins_are_means_of_what_was_chosen(study: Study) -> None:
    frames = study("2 x 2, two seeds")
    gains = seed_gains(frames.matrix, frames.runs).merge(
        choose(frames, ["teacher", "student"])[["teacher", "student", "method", "setting"]]
    )
    for side, names in (("teacher", ("resnet_tiny", "vit_mini")), ("student", ("resnet_nano", "vit_nano"))):
        found = atlas.margins(frames, side).set_index("place")
        for place, name in enumerate(names):
            own = gains[gains[side] == name].pivot(
                index=["teacher", "student"], columns="seed", values="gain_over_scratch"
            )
            wanted = mean_gain(own.to_numpy(float), list(own.index.get_level_values("student")))
            assert found.loc[place].tolist() == pytest.approx(list(wanted[:3]), nan_ok=True)


@pytest.mark.parametrize("shape", ["3 x 3 with gaps", "one pair, one seed", "12 of 20, ten methods"])
def test_it_fits(shape: str, study: Study, faults: Faults) -> None:
    (drawing,) = compose_plot("atlas", study(shape))
    assert faults(drawing.figure) == []
    assert "framed" in drawing.caption and drawing.caption.endswith(".")


def test_bars_stand_on_the_line_of_no_gain(study: Study) -> None:
    """One tile: a gain of 2, a loss of 1 and a number beyond the scale."""
    frame = atlas.prepare(study("12 of 20, default only"))
    tile = frame[(frame["row"] == 0) & (frame["column"] == 0)].head(1)
    rows = pd.concat([tile] * 3, ignore_index=True)
    rows = rows.assign(method=["kd", "ofa", "pat"], gain=[2.0, -1, 9], low=np.nan, high=np.nan, left=-1.0, right=3.0)
    rows = rows.assign(chosen=[True, False, False], sure=False, limit=3.0, column=0, row=0, cost=1.0, reason="")
    ax = Figure(figsize=(2, 2)).add_axes((0, 0, 1, 1))
    atlas.draw(rows, ax)
    patches: list[Any] = [patch for patch in ax.artists + list(ax.patches) if isinstance(patch, Rectangle)]
    bars = [patch for patch in patches if to_hex(patch.get_facecolor()) in ("#0072b2", "#009e73", "#d55e00")]
    heights = [bar.get_height() for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1]) and heights[2] == pytest.approx(3 * heights[1])
    assert bars[1].get_y() == pytest.approx(bars[0].get_y() + heights[0])
    assert [bar.get_linewidth() for bar in bars] == [0.8, 0, 0]
    assert [text.get_text() for text in ax.texts if "+" in text.get_text()] == ["+2.00 KD"]


def test_too_many_models_for_a_page(study: Study, with_cells: Callable[..., Frames]) -> None:
    frames = study("one pair, one seed")
    many = [frames.cells.assign(student=f"student_{i:02d}") for i in range(30)]
    with pytest.raises(NothingToShow, match="too many for one page"):
        compose_plot("atlas", with_cells(frames, pd.concat(many, ignore_index=True)))
