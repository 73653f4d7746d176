"""Does a setting travel: what is left of the tuning gain with the best setting of another cell."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.order import order
from analysis.stats import Estimate
from analysis.tables import INT, REAL, TEXT, register_table
from analysis.travel import KINDS, Trips, trips

ALL = "all"
"""In the place of a method: over all of them."""
DEFAULT = "default"


@register_table(
    "travel",
    22,
    title="Does a setting travel",
    note="The best settings of cells, confirmed in other cells of their method on the same fresh seeds (only in a "
    "study with an exchange). survives: the gain over the default setting as a share of what the cell's own best "
    "setting gains over it, a ratio of means, so that 1 is as good as the own search and 0 as no search; nothing "
    "where tuning has no clear gain. kept: the same of the gain over scratch, which the default setting has too. "
    "Intervals: 95 %, these pairs, other seeds (ratios: Fieller's); seeds of a student are kept whole.",
    columns={
        "method": (TEXT, "how it was distilled; all: over all methods"),
        "kind": (TEXT, "student: same student, another teacher; families: same families, another student; other: other "
                       "families; default: the default setting of the same cells"),
        "trips": (INT, "settings that were tried in another cell, on all seeds; default: cells"),
        "survives": (REAL, "share of the tuning gain, 1 is all of it"),
        "survives_low": (REAL, "its 95 % interval"),
        "survives_high": (REAL, "its upper end"),
        "kept": (REAL, "share of the own best setting's gain over scratch"),
        "kept_low": (REAL, "its 95 % interval"),
        "kept_high": (REAL, "its upper end"),
        "lost": (REAL, "against the cell's own best setting, {points}"),
        "lost_low": (REAL, "its 95 % interval"),
        "lost_high": (REAL, "its upper end"),
        "tuning": (REAL, "what the own best setting gains over the default in these cells, {points}"),
    },
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """All methods first, then each that has a trip, where there are several; a row for each kind that it has."""
    found = trips(frames)
    methods = order(found.frame["method"])
    rows = []
    for method in (ALL, *methods) if len(methods) != 1 else methods:
        own = found if method == ALL else found.only((found.frame["method"] == method).to_numpy())
        for kind in KINDS:
            if (own.frame["kind"] == kind).any():
                rows.append(_row(method, kind, own.only((own.frame["kind"] == kind).to_numpy())))
        if len(own.frame):
            rows.append(_row(method, DEFAULT, _stayed(own.cells())))
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "method", "kind", "trips", "survives", "survives_low", "survives_high", "kept", "kept_low", "kept_high", "lost",
    "lost_low", "lost_high", "tuning",
]  # fmt: skip


def _row(method: str, kind: str, found: Trips) -> tuple[object, ...]:
    survives = Estimate(0.0, *[float("nan")] * 3) if kind == DEFAULT else found.survives()
    parts = [value for one in (survives, found.kept(), found.lost()) for value in one[:3]]
    return (method, kind, len(found.frame), *parts, float(found.tuning.mean()))


def _stayed(cells: Trips) -> Trips:
    """The default setting in the place of what was tried."""
    return cells._replace(gained=0.0 * cells.gained)
