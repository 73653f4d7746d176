"""A process that hangs ends itself, and so counts as lost: no run waits for ever, whatever it waits for."""

from __future__ import annotations

import faulthandler
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from sweeps.planning.speeds import Speeds
    from sweeps.planning.units import Key

TIMES = 10.0
"""A run whose next epoch takes so many times what it is expected to take hangs."""
AT_LEAST, WHERE_UNKNOWN = 30 * 60.0, 6 * 3600.0
"""Seconds that every epoch may take, as a process also starts in its first; and where nobody has timed one."""


def patience(speeds: Speeds, key: Key) -> float:
    """After how many seconds without a new epoch a run of a unit hangs."""
    timed = speeds.source(key) in ("ledger", "probe")
    return max(TIMES * speeds.seconds(key), AT_LEAST if timed else WHERE_UNKNOWN)


class Watchdog:
    """Ends this process, the stacks of its threads on stderr, when `again` is not called for so many seconds within the
    block; 0: never. It needs no thread of Python's, which what hangs may hold up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def again(self) -> None:
        """There is a new epoch."""
        if self._seconds:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or sys.stderr)

    def __enter__(self) -> Self:
        self.again()
        return self

    def __exit__(self, *error: object) -> None:
        self.off()

    def off(self) -> None:
        """There is nothing to wait for."""
        if self._seconds:
            faulthandler.cancel_dump_traceback_later()
