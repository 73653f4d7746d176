"""How long an epoch of a cell takes: as its runs took, else as they are expected to take. No torch, cheap calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.study import Cell

UNKNOWN_SECONDS = 1.0


class _Sum:
    """Seconds that so many units of work (epochs, or seconds that had been expected) took."""

    def __init__(self) -> None:
        self.seconds, self.work = 0.0, 0.0

    def add(self, seconds: float, work: float) -> None:
        self.seconds += seconds
        self.work += work

    @property
    def ratio(self) -> float:
        return self.seconds / self.work


class Speeds:
    """Expected seconds of one epoch of one run, its scoring included, on the device (or the share of one) that it gets.

    `probed` and `counted` are expectations in seconds an epoch: from a short probe on such a device, and from FLOPs at
    a stated throughput. Scratch baselines and teachers are cells without a teacher.
    """

    def __init__(self, probed: Mapping[Cell, float] | None = None, counted: Mapping[Cell, float] | None = None) -> None:
        self.probed, self.counted = dict(probed or {}), dict(counted or {})
        self._own: dict[Cell, _Sum] = {}
        self._siblings: dict[tuple[str, str], list[Cell]] = {}
        self._all, self._over_counted = _Sum(), _Sum()

    def note(self, cell: Cell, seconds: float, epochs: int) -> None:
        """A run of `cell` took `seconds` for `epochs` epochs. What says nothing (no epoch, no time) is left out."""
        if epochs < 1 or not 0 < seconds < float("inf"):
            return
        if cell not in self._own:
            self._own[cell] = _Sum()
            self._siblings.setdefault((cell.student, cell.method), []).append(cell)
        self._own[cell].add(seconds, epochs)
        self._all.add(seconds, epochs)
        if cell in self.counted:
            self._over_counted.add(seconds, self.counted[cell] * epochs)

    def seconds(self, cell: Cell) -> float:
        """Expected seconds of one epoch. Never raises; 1.0 where nothing is known of any cell.

        The mean of the cell's own runs; else that of the same student and method with other teachers, in proportion to
        what was expected of both; else the probe; else FLOPs, at the throughput of the runs that there are; else the
        mean of all runs.
        """
        if cell in self._own:
            return self._own[cell].ratio
        if siblings := self._siblings.get((cell.student, cell.method)):
            return self._from_siblings(cell, siblings)
        if cell in self.probed:
            return self.probed[cell]
        if cell in self.counted:
            return self.counted[cell] * (self._over_counted.ratio if self._over_counted.work else 1.0)
        return self._all.ratio if self._all.work else UNKNOWN_SECONDS

    def source(self, cell: Cell) -> str:
        """Where `seconds` comes from: ledger (runs of this cell or of others), probe, flops or none."""
        if cell in self._own or (cell.student, cell.method) in self._siblings:
            return "ledger"
        if cell in self.probed:
            return "probe"
        if cell in self.counted:
            return "flops"
        return "ledger" if self._all.work else "none"

    def _from_siblings(self, cell: Cell, siblings: list[Cell]) -> float:
        for expected in (self.probed, self.counted):
            known = [other for other in siblings if other in expected]
            if cell in expected and known:
                total = _Sum()
                for other in known:
                    total.add(self._own[other].seconds, self._own[other].work * expected[other])
                return expected[cell] * total.ratio
        total = _Sum()
        for other in siblings:
            total.add(self._own[other].seconds, self._own[other].work)
        return total.ratio
