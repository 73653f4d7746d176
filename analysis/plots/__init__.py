"""Figures, one a file: `prepare(frames) -> frame` makes the numbers, `draw(frame, ax) -> Axes` puts them on paper.

A file joins the report by `@register_plot(name, order, question)` on the function that composes its drawings from the
study's frames; every module of this package is imported, so there is no list to edit. All figures use `paper.mplstyle`
and are as wide as a column or a page of a paper (COLUMN, PAGE), so that their text has the size that it says.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from analysis.frames import Frames
from analysis.plots import _font

STYLE = Path(__file__).with_name("paper.mplstyle")
COLUMN, PAGE, TALLEST = 3.35, 7.0, 9.0
"""Width of one column and of a page, height of a page, in inches."""

FORMS = ("png", "svg", "pdf")

HELPS, WHOM, METHODS, COST, SETTINGS, TRUST = (
    "Does it help, and whom?",
    "Which teacher, which families?",
    "Which method?",
    "At what cost?",
    "Which setting?",
    "Can I trust it?",
)
QUESTIONS = (HELPS, WHOM, METHODS, COST, SETTINGS, TRUST)
"""What a report's figures answer, in its order."""


@dataclass(frozen=True)
class Drawing:
    """One figure: `name` of its files, `title` in a few words, `caption` (how to read it, on how much evidence);
    `more`: it shows in detail what another of the report's shows as a whole."""

    name: str
    title: str
    caption: str
    figure: Figure
    more: bool = False


class NothingToShow(Exception):
    """A study has nothing for a figure; the message says why, in one line."""


Compose = Callable[[Frames], Iterable[Drawing]]
_plots: dict[str, tuple[int, int, Compose]] = {}


def register_plot(name: str, order: int, question: str) -> Callable[[Compose], Compose]:
    """Make the decorated function the plot `name`; the report shows plots by their `question`, and then by `order`.

    The function returns its drawings, whose names begin with `name`, or raises NothingToShow.
    """

    def decorate(compose: Compose) -> Compose:
        if name in _plots:
            raise ValueError(f"two plots are named {name!r}")
        _plots[name] = QUESTIONS.index(question), order, compose
        return compose

    return decorate


def list_plots() -> list[str]:
    """The names of all plots, in the order of the report."""
    return sorted(_plots, key=lambda name: (*_plots[name][:2], name))


def question(name: str) -> str:
    """The one of QUESTIONS that the plot `name` answers."""
    return QUESTIONS[_plots[name][0]]


def compose_plot(name: str, frames: Frames) -> list[Drawing]:
    """The drawings of the plot `name`, in the house style, laid out once for all formats.

    Raises NothingToShow, and KeyError where there is no such plot.
    """
    _font.register()
    with matplotlib.style.context(STYLE):
        drawings = list(_plots[name][2](frames))
        for figure in (drawing.figure for drawing in drawings):
            if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
        return drawings


def render(figure: Figure, form: str, dpi: int = 200) -> bytes:
    """The figure as a `png`, `svg` or `pdf` file without dates, so that equal figures are equal bytes."""
    metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}[form]
    sink = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(sink, format=form, dpi=dpi, metadata=metadata)
    return sink.getvalue()


mpl.use("agg")
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
