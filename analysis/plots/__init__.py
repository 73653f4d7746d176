"""Figures, one a file: `prepare(frames) -> frame` makes the numbers, `draw(frame, ax) -> Axes` puts them on paper.

A file joins the report by `@register_plot(name)` on the function that composes its figure from the study's frames;
every module of this package is imported, so there is no list to edit.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.frames import Frames

Compose = Callable[[Frames], Figure]
_plots: dict[str, Compose] = {}

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "analysis",
    "pdf.fonttype": 42,
}
"""matplotlib settings of every figure; sizes in points, for figures printed at their own size."""


def register_plot(name: str) -> Callable[[Compose], Compose]:
    """Make the decorated function the figure `name`; the report stores it under that file name."""

    def decorate(compose: Compose) -> Compose:
        if name in _plots:
            raise ValueError(f"two figures are named {name!r}")
        _plots[name] = compose
        return compose

    return decorate


def list_plots() -> list[str]:
    """The names of all figures, sorted."""
    return sorted(_plots)


def compose_plot(name: str, frames: Frames) -> Figure:
    """The figure `name` of one study, in the house style, laid out once for all formats. KeyError: no such figure."""
    with mpl.rc_context(STYLE):
        figure = _plots[name](frames)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def render(figure: Figure, form: str) -> bytes:
    """The figure as a `png` (200 dpi) or `pdf` file without dates, so that equal figures are equal bytes."""
    metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}}[form]
    sink = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(sink, format=form, dpi=200, metadata=metadata)
    return sink.getvalue()


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
