"""Every figure for studies of every shape: it fits, nothing covers anything, it has a caption and the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.style
import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames, load
from analysis.plots import (
    FORMS,
    PAGE,
    QUESTIONS,
    STYLE,
    Drawing,
    NothingToShow,
    compose_plot,
    list_plots,
    register_plot,
    render,
)

Faults = Callable[[Figure], list[str]]
GAINS = ("gain_heatmap", "gain_bars", "family_matrix", "learning_curves", "critical_difference", "performance_profile")
SHAPES = (
    "3 x 3 with gaps",
    "3 x 3, one seed",
    "2 x 2, two seeds",
    "one pair, one seed",
    "12 of 20, ten methods",
)


def drawings(plot: str, frames: Frames) -> list[Drawing]:
    try:
        return compose_plot(plot, frames)
    except NothingToShow as nothing:
        assert "\n" not in str(nothing) and str(nothing)
        return []


def test_the_check_sees_faults(faults: Faults) -> None:
    figure = Figure(figsize=(PAGE, 4))
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "two")
    figure.text(0.99, 0.9, "three")
    figure.text(0.2, 0.2, "four", fontsize=5)
    assert faults(figure) == ["'one' covers 'two'", "'three' leaves the figure", "'four' is too small"]
    assert faults(Figure(figsize=(PAGE, 10))) == ["the figure is 7.0 x 10.0 inches"]


@pytest.mark.parametrize("plot", GAINS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_of_every_shape(plot: str, shape: str, study: Callable[[str], Frames], faults: Faults) -> None:
    found = drawings(plot, study(shape))
    ranked = shape.startswith("12") or (plot == "performance_profile" and shape.startswith("3 x 3"))
    assert found or (plot in ("critical_difference", "performance_profile") and not ranked)
    for drawing in found[:4]:
        assert drawing.name.startswith(plot) and drawing.title and drawing.caption.endswith(".")
        assert faults(drawing.figure) == [], f"{drawing.name} of {shape}"


def test_a_study_that_has_only_begun(tmp_path: Path, make_square: Callable[..., Any], faults: Faults) -> None:
    """Nothing finished yet: a figure is drawn and says so, or there is nothing to show."""
    keys = itertools.product(["resnet_tiny"], ["resnet_nano"], ["kd", "pat"], ["default", "tuned"])
    states = dict.fromkeys([*keys, ("", "resnet_nano", "scratch", "scratch")], ("waiting", ""))
    frames = load(make_square(("cnn",), states=states).write(tmp_path))
    for plot in GAINS:
        for drawing in drawings(plot, frames):
            assert plot == "gain_heatmap" and faults(drawing.figure) == []


@pytest.mark.parametrize("plot", GAINS)
def test_equal_studies_give_equal_bytes(plot: str, study: Callable[[str], Frames]) -> None:
    ranked = plot in ("critical_difference", "performance_profile")
    frames = study("12 of 20, default only" if ranked else "one pair, one seed")
    first, second = (drawings(plot, frames)[0].figure for _ in range(2))
    for form in FORMS:
        data = render(first, form, dpi=50)
        assert data == render(second, form, dpi=50)
        assert b"<dc:date>" not in data and b"CreationDate" not in data


def test_the_registry() -> None:
    names = list_plots()
    assert set(GAINS) < set(names) and "published_scatter" in names and names[0] == "atlas"
    with pytest.raises(ValueError, match="two plots are named 'gain_heatmap'"):
        register_plot("gain_heatmap", 1, QUESTIONS[0])(lambda frames: [])
    with pytest.raises(KeyError):
        compose_plot("gain_heatmaps", None)


def test_the_style_is_readable() -> None:
    with matplotlib.style.context(STYLE):
        names = (
            "font.size",
            "axes.titlesize",
            "axes.labelsize",
            "xtick.labelsize",
            "ytick.labelsize",
            "legend.fontsize",
        )
        assert min(float(matplotlib.rcParams[name]) for name in names) >= 6.5
