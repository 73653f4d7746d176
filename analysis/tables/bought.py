"""What each method's gain has cost, beside what scratch gains with the same hours."""

from __future__ import annotations

import pandas as pd

from analysis.budget import bought, largest, luck
from analysis.frames import Frames
from analysis.tables import INT, REAL, TEXT, register_table


@register_table(
    "bought",
    57,
    title="What a gain costs, and scratch given the same hours",
    note="Over the pairs and seeds of a method that have both settings. Costs are multiples of one scratch run of the "
    "student, without the teacher's own training. Scratch given the same hours: so many runs more, the best on "
    "validation taken; what that gains is an estimate from the covariance of validation and test scores over seeds.",
    columns={
        "method": (TEXT, "how it was distilled"),
        "setting": (TEXT, "default, or tuned with its whole search"),
        "pairs": (INT, "pairs with both settings"),
        "times": (REAL, "what it costs, a mean over the pairs of multiples of a scratch run"),
        "gain": (REAL, "mean gain over scratch, {points}"),
        "low": (REAL, "95 % interval, these pairs, other seeds"),
        "high": (REAL, "its upper end"),
        "scratch": (
            REAL,
            "what scratch gains with the same hours, {points}; none where no run keeps validation images",
        ),
        "beyond": (REAL, "gain beyond that, {points}"),
        "per_hour": (REAL, "gain over the device-hours spent for one pair, {points} an hour"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """Two rows for each searched method, its default setting first."""
    rows, chance = [], luck(frames)
    for method, found in bought(frames).items():
        for setting, times in (("default", found.begins), ("tuned", found.ends)):
            estimate = found.gain(times) if setting == "tuned" else found.gain(0.0)
            again = chance * float(largest(times))
            spent = times * float(found.scratch.mean())
            row = (method, setting, len(found.students), times, *estimate[:3], again)
            rows.append((*row, estimate.value - again, estimate.value / spent))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = ("method", "setting", "pairs", "times", "gain", "low", "high", "scratch", "beyond", "per_hour")
