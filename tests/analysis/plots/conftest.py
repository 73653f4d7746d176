"""The ink of a figure by its boxes: no text over another, over the edge of its figure, or too small to read."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.frames import Frames, load
from analysis.plots import COLUMN, PAGE, TALLEST

SMALLEST = 6.5
"""Points."""


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Callable[[Figure], list[str]]:
    """What is wrong with a figure as it is saved: texts that cover one another by more than a point, leave the figure
    or are smaller than 6.5 points; a figure that fits neither column nor page."""

    def find(figure: Figure) -> list[str]:
        width, height = figure.get_size_inches()
        found = [] if width in (COLUMN, PAGE) and height <= TALLEST else [f"the figure is {width} x {height} inches"]
        return found + _texts(figure, monkeypatch)

    return find


def _texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    drawn: dict[int, Text] = {}
    original = Text.draw

    def record(text: Text, *arguments: Any, **options: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        original(text, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn.values()]
    margin, edge = figure.dpi / 72, figure.bbox
    faults = []
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > margin and high > margin:
            faults.append(f"{first!r} covers {second!r}")
    for text, box in boxes:
        if min(box.x0, box.y0) < -1 or box.x1 > edge.x1 + 1 or box.y1 > edge.y1 + 1:
            faults.append(f"{text!r} leaves the figure")
    small = {text.get_text() for text in drawn.values() if text.get_fontsize() < SMALLEST}
    return faults + [f"{text!r} is too small" for text in sorted(small)]


TEN = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
MISSING = {
    ("vit_mini", "mixer_nano", "pat", "tuned"): ("waiting", "search: 3 of 4 trials done"),
    ("vit_mini", "mixer_nano", "kd", "tuned"): ("running", ""),
    ("mixer_mini", "vit_nano", "pat", "default"): ("diverged", "loss became nan in epoch 3"),
    ("mixer_mini", "vit_nano", "pat", "tuned", 101): ("failed", "out of memory on a device with a very long name"),
    ("resnet_tiny", "vit_nano", "kd", "default"): ("failed", "OutOfMemoryErrorWithoutAnySpaceInItsName"),
}


@pytest.fixture(scope="session")
def study(
    tmp_path_factory: pytest.TempPathFactory, make_square: Callable[..., Any], make_twelve: Callable[..., Any]
) -> Callable[[str], Frames]:
    """The frames of a synthetic study by its name; written and read once."""
    studies = {
        "3 x 3 with gaps": lambda: make_square(states=MISSING),
        "3 x 3, one seed": lambda: make_square(seeds=(101,)),
        "2 x 2, two seeds": lambda: make_square(("cnn", "vit"), seeds=(101, 102)),
        "one pair, one seed": lambda: make_square(("vit",), seeds=(101,)),
        "12 of 20, ten methods": lambda: make_twelve(methods=TEN, seeds=(101, 102)),
        "12 of 20, default only": lambda: make_twelve(methods=("kd", "pat", "ofa"), settings=("default",)),
    }

    @functools.cache
    def read(name: str) -> Frames:
        return load(studies[name]().write(tmp_path_factory.mktemp("study")))

    return read


@pytest.fixture
def with_cells() -> Callable[[Frames, pd.DataFrame], Frames]:
    """A copy of the frames whose cells are the given ones."""

    def replace(frames: Frames, cells: pd.DataFrame) -> Frames:
        other = copy.copy(frames)
        other.__dict__["_tables"] = {}
        other.__dict__["cells"] = cells
        return other

    return replace
