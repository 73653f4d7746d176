"""How a method looks in every figure: one colour, one marker, one line, whatever else is drawn beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import pandas as pd

from analysis.order import order

Line = Literal["-", "--", "-."]

SCRATCH_GREY = "0.7"
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_COLOURS = (*_OKABE_ITO, "#613008", "#5203B2", "#053B47")
"""Told apart by colour-blind readers: by Okabe and Ito, and three that stay far from them (tested)."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_LINES: tuple[Line, ...] = ("-", "-", "-", "-", "-", "-", "--", "--", "--", "--")
_KNOWN = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
_AKIN = {
    "rsd": "cc", "sokd": "rkd", "nkd": "kd", "wttm": "dist", "rld": "ofa", "vkd": "fitnet", "uskd": "fbt",
    "reviewkd": "pat", "pat_relational": "crd", "pat_hinted": "dkd",
}  # fmt: skip
"""There are no more colours: these share one, with another marker and line; not the forms of PAT, which stand side by
side in most studies."""


class Look(NamedTuple):
    """matplotlib's colour, marker and line style of a method."""

    colour: str
    marker: str
    line: Line


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each of `methods`; those without a colour of their own take what is free, in their order."""
    wanted = order(methods)
    taken = {method: place for method in wanted if (place := _place(method)) is not None}
    free = [place for place in range(2 * len(_COLOURS)) if place not in taken.values()]
    others = [method for method in wanted if method not in taken and method != "scratch"]
    places = taken | {method: (free or [0])[i % max(1, len(free))] for i, method in enumerate(others)}
    found = {method: _look(place) for method, place in places.items()}
    return found | ({"scratch": Look(SCRATCH_GREY, "", "-")} if "scratch" in wanted else {})


def _place(method: str) -> int | None:
    """The place of a method's look: first those with a colour of their own, then those that share one."""
    if method in _AKIN:
        return len(_COLOURS) + _KNOWN.index(_AKIN[method])
    return _KNOWN.index(method) if method in _KNOWN else None


def _look(place: int) -> Look:
    again, own = divmod(place, len(_COLOURS))
    marker = _MARKERS[(own + again * len(_MARKERS) // 2) % len(_MARKERS)]
    return Look(_COLOURS[own], marker, "-." if again else _LINES[own])


def dressed(frame: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """`frame` (column method) with the columns colour, marker and line: the looks in a study of these `methods`."""
    found = looks([*methods, *frame["method"], "scratch"])
    return frame.assign(
        colour=[found[method].colour for method in frame["method"]],
        marker=[found[method].marker for method in frame["method"]],
        line=[found[method].line for method in frame["method"]],
    )
