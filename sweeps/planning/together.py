"""Which segments are trained together in one process, and how many (`pat.lockstep`)."""

from __future__ import annotations

from collections.abc import Hashable

from pat.config import RunConfig
from sweeps.planning.units import Segment
from sweeps.planning.view import NOT_STARTED, View

MOST = 8
"""Runs of a group: with more of them hardly anything is left to share."""
_COMMON = ("data", "task", "seed", "threads", "unsynced_workers")


def beside(one: Segment, other: Segment, view: View) -> bool:
    """Whether two segments have their views in common, from the first to the last: runs of one data set, seed
    and kind of views that have come as far and are to come as far."""
    done = {view.get(segment.run_id, NOT_STARTED).epochs for segment in (one, other)}
    return common(one.config) == common(other.config) and one.until == other.until and len(done) == 1


def common(run: RunConfig) -> Hashable:
    """What runs must have in common that are trained together."""
    alone = run.run_id if run.recipe.compiled else ""
    return *(getattr(run, name) for name in _COMMON), run.recipe.shown, alone


def group_size(ready: int, slots: int, most: int) -> int:
    """How many of `ready` segments one of `slots` devices takes: its share, so that none idles to make a group larger.

    What is left is shared anew each time (guided self-scheduling, Polychronopoulos & Kuck 1987): groups become smaller
    towards the end, and as long as fewer are ready than there are devices each run has one for itself.
    """
    return max(1, min(most, -(-ready // slots)))
