"""How long an epoch of a unit takes: as its runs took, else as they are expected to take. No torch, cheap calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.planning.units import Key

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


def _kin(key: Key) -> tuple[str, str, str]:
    """What a unit has in common with those that differ in their teacher alone."""
    return key.kind, key.cell.student, key.cell.method


class Speeds:
    """Expected seconds of one epoch of one run, its scoring included, on the device (or the share of one) that it gets.

    `probed` and `counted` are expectations in seconds an epoch: from a short probe on such a device, and from FLOPs at
    a stated throughput. All is kept by unit: a model may be a teacher and a student, under two recipes.
    """

    def __init__(self, probed: Mapping[Key, float] | None = None, counted: Mapping[Key, float] | None = None) -> None:
        self.probed, self.counted = dict(probed or {}), dict(counted or {})
        self._own: dict[Key, _Sum] = {}
        self._siblings: dict[tuple[str, str, str], list[Key]] = {}
        self._all, self._over_counted = _Sum(), _Sum()

    def note(self, key: Key, seconds: float, epochs: int) -> None:
        """A run of `key` took `seconds` for `epochs` epochs. What says nothing (no epoch, no time) is left out."""
        if epochs < 1 or not 0 < seconds < float("inf"):
            return
        if key not in self._own:
            self._own[key] = _Sum()
            self._siblings.setdefault(_kin(key), []).append(key)
        self._own[key].add(seconds, epochs)
        self._all.add(seconds, epochs)
        if key in self.counted:
            self._over_counted.add(seconds, self.counted[key] * epochs)

    def seconds(self, key: Key) -> float:
        """Expected seconds of one epoch. Never raises; 1.0 where nothing is known of any unit.

        The mean of the unit's own runs; else that of the same student and method with other teachers, in proportion to
        what was expected of both; else the probe; else FLOPs, at the throughput of the runs that there are; else the
        mean of all runs.
        """
        if key in self._own:
            return self._own[key].ratio
        if siblings := self._siblings.get(_kin(key)):
            return self._from_siblings(key, siblings)
        if key in self.probed:
            return self.probed[key]
        if key in self.counted:
            return self.counted[key] * (self._over_counted.ratio if self._over_counted.work else 1.0)
        return self._all.ratio if self._all.work else UNKNOWN_SECONDS

    def source(self, key: Key) -> str:
        """Where `seconds` comes from: ledger (runs of this unit or of others), probe, flops or none."""
        if key in self._own or _kin(key) in self._siblings:
            return "ledger"
        if key in self.probed:
            return "probe"
        if key in self.counted:
            return "flops"
        return "ledger" if self._all.work else "none"

    def _from_siblings(self, key: Key, siblings: list[Key]) -> float:
        for expected in (self.probed, self.counted):
            known = [other for other in siblings if other in expected]
            if key in expected and known:
                total = _Sum()
                for other in known:
                    total.add(self._own[other].seconds, self._own[other].work * expected[other])
                return expected[key] * total.ratio
        total = _Sum()
        for other in siblings:
            total.add(self._own[other].seconds, self._own[other].work)
        return total.ratio
