"""Devices and hosts: what failed where, which of them get no work for a while, and when a run itself is at fault.

Told what happens, and when; it acts on nothing, so that it runs in virtual time as well. A failure is at first that
of a place. It is the run's own where another place says the same: then nothing is held against those places.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

IN_A_ROW = 3
"""Processes that failed at a place with nothing in between that went well there, after which it gets no work."""
CLOSED_SECONDS, CLOSED_AT_MOST = 3600.0, 86_400.0
"""How long a place gets no work; then it is tried with one run, and after a failure closed for twice as long."""
SAID_LIMIT, LOST_LIMIT, UNBEGUN_LIMIT = 2, 3, 20
"""How often a run fails in the same words, loses its process while it is trained, or before, until it has failed."""
DECLINED_LIMIT = 10
"""A run that was turned away so often where it has failed before is trained wherever it comes."""


class Place(NamedTuple):
    """Where a process works: a host and its device there; no device stands for the host as a whole."""

    host: str
    device: str = ""

    def __str__(self) -> str:
        return f"{self.host} {self.device}".rstrip()


def here() -> Place:
    """The place of this process, without a look at the device, which may be sick."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return Place(socket.gethostname(), f"GPU {gpus}" if gpus else "")


def is_among(place: Place, places: Collection[tuple[str, str]]) -> bool:
    """Whether a place, or its host as a whole, is one of these."""
    return place in places or Place(place.host) in places


@dataclass(frozen=True)
class Failure:
    """How a segment came to a bad end. `kind`: `lost`, `bug` and `oom` as in the ledger, or `stop` for what ends the
    study. `said`: the run raised it; else its process is just gone, `preempted` with its machine."""

    text: str
    kind: str = "lost"
    said: bool = False
    preempted: bool = False

    def same(self, other: Failure) -> bool:
        """In the same words, numbers and addresses aside."""
        return (self.kind, self.said, _words(self.text)) == (other.kind, other.said, _words(other.text))


@dataclass(frozen=True)
class Verdict:
    """How often a run has failed like this, of how often at most; whether it has therefore failed for good."""

    count: int
    limit: int
    final: bool = False


@dataclass
class Losses:
    """What has become of a run so far: `preemptions` and other processes lost (`retries`); `failures` with their place
    and whether training had begun, since it got on to `epochs`; `declined` where it was turned away."""

    retries: int = 0
    preemptions: int = 0
    epochs: int = 0
    declined: int = 0
    failures: list[tuple[Place | None, Failure, bool]] = field(default_factory=list)


class _Failed(NamedTuple):
    """A run that failed on a device, in a process that it may have shared with others."""

    device: str
    run_id: str
    process: str


@dataclass
class _Row:
    """What failed in a row at a place. `until`: when it is open again; closed `times` so far."""

    failures: list[_Failed] = field(default_factory=list)
    until: float = 0.0
    times: int = 0
    last: str = ""

    @property
    def count(self) -> int:
        """Runs that failed together in their process count once."""
        return len({failed.process for failed in self.failures})


class Health:
    """Of a cluster of `hosts` with `devices` in all (its hosts, where they have none)."""

    def __init__(self, hosts: int = 1, devices: int = 1) -> None:
        self.hosts, self.devices = hosts, devices
        self.runs: dict[str, Losses] = defaultdict(Losses)
        self._rows: dict[Place, _Row] = defaultdict(_Row)

    def kept(self) -> list[dict[str, Any]]:
        """What is held against places, as JSON values, for the study's next driver."""
        return [{"place": [*place], **asdict(row)} for place, row in sorted(self._rows.items())]

    def recall(self, kept: Iterable[Mapping[str, Any]]) -> None:
        """Go on from there. Raises TypeError, ValueError or KeyError for what `kept` did not give."""
        rows = {Place(*one["place"]): _Row(**{name: one[name] for name in one if name != "place"}) for one in kept}
        for row in rows.values():
            row.failures = [_Failed(*failed) for failed in row.failures]
            row.until, row.times = float(row.until), int(row.times)
        self._rows.update(rows)

    def lost(
        self,
        run_id: str,
        failure: Failure,
        place: Place | None,
        begun: bool,
        epochs: int,
        now: float,
        process: str = "",
    ) -> Verdict:
        """A segment failed at `place`, where that is known, once its run had done `epochs`; `process` is the same for
        all that were trained together."""
        losses = self.runs[run_id]
        if epochs > losses.epochs:
            losses.failures, losses.declined, losses.epochs = [], 0, epochs
        losses.preemptions += failure.preempted
        losses.retries += not failure.preempted
        if failure.preempted:
            return Verdict(0, LOST_LIMIT)
        losses.failures.append((place, failure, begun))
        verdict = self._verdict(losses.failures)
        if place is not None:
            self._note(place, run_id, process or uuid.uuid4().hex, failure.text, now)
        if verdict.final:
            self._acquit(run_id)
        return verdict

    def well(self, place: Place) -> None:
        """A segment came to its end there: nothing is held against the place any more."""
        for known in (place, Place(place.host)):
            self._rows.pop(known, None)

    def declined(self, run_id: str) -> None:
        """A run was turned away, for it has failed there before."""
        self.runs[run_id].declined += 1

    def closed(self, now: float) -> dict[Place, float]:
        """The places that get no work, and for how many seconds more."""
        return {place: row.until - now for place, row in list(self._rows.items()) if row.until > now}

    def why_closed(self, now: float) -> list[dict[str, Any]]:
        """The same for people."""
        found = {place: self._rows[place] for place in self.closed(now)}
        return [
            {"place": str(place), "seconds": row.until - now, "failures": row.count, "last": row.last}
            for place, row in found.items()
        ]

    def avoided(self, run_id: str) -> list[Place]:
        """Where a run is not to be tried again for now: where it has failed, and where the last one failed as well.
        Never everywhere."""
        losses = self.runs.get(run_id)
        if losses is None or losses.declined >= DECLINED_LIMIT:
            return []
        own = {self._unit(place) for place, _, _ in losses.failures if place is not None}
        if not own or len(own) >= self._units:
            return []
        rows = [place for place, row in list(self._rows.items()) if row.failures and (place.device or self.hosts > 1)]
        suspects = own | {self._unit(place) for place in rows}
        return sorted(suspects if len(suspects) < self._units else own)

    @property
    def _units(self) -> int:
        """How many places can tell whether a failure is a run's own: hosts, else devices."""
        return self.hosts if self.hosts > 1 else self.devices

    def _unit(self, place: Place) -> Place:
        return Place(place.host) if self.hosts > 1 else place

    def _verdict(self, failures: list[tuple[Place | None, Failure, bool]]) -> Verdict:
        _, last, begun = failures[-1]
        if not begun:
            count = sum(not begun for _, _, begun in failures)
            return Verdict(count, UNBEGUN_LIMIT, count >= UNBEGUN_LIMIT)
        alike = [place for place, failure, begun in failures if begun and failure.same(last)]
        places = {self._unit(place) for place in alike if place is not None}
        asked = len(places) + alike.count(None)
        limit = SAID_LIMIT if last.said else LOST_LIMIT
        if last.kind == "stop":  # a machine's file system is not its devices'
            limit = 1 if self.hosts == 1 else SAID_LIMIT
        enough = len(alike) >= limit and asked >= min(2, self._units, limit)
        return Verdict(len(alike), limit, enough or len(failures) >= UNBEGUN_LIMIT)

    def _note(self, place: Place, run_id: str, process: str, text: str, now: float) -> None:
        """One more failure of a device and of its host; the host is closed as a whole where several devices fail."""
        for known in {place, Place(place.host)}:
            row = self._rows[known]
            again = any(failed.process == process for failed in row.failures)
            row.failures.append(_Failed(place.device, run_id, process))
            row.last = text
            if again:
                continue
            several = known == place or len({failed.device for failed in row.failures}) > 1
            all_there = self.devices if known.device else self.hosts
            shut = sum(bool(other.device) == bool(known.device) for other in self.closed(now))
            if (row.count >= IN_A_ROW or row.times) and several and 2 * (shut + 1) <= all_there:
                row.until = now + min(CLOSED_AT_MOST, CLOSED_SECONDS * 2**row.times)
                row.times += 1

    def _acquit(self, run_id: str) -> None:
        """It was the run: a place that was closed for its sake is open again."""
        for row in self._rows.values():
            its = {failed.process for failed in row.failures if failed.run_id == run_id}
            row.failures = [failed for failed in row.failures if failed.process not in its]
            if row.count < IN_A_ROW:
                row.until, row.times = 0.0, 0


def sits_out(place: Place, avoid: Iterable[Any], closed: Iterable[Any]) -> float | None:
    """For how many seconds a process at `place` does nothing, so that others get its segment; None: it trains it.

    `avoid` and `closed` are places as they travel, the closed ones with their seconds.
    """
    seconds = [left for host, device, left in closed if is_among(place, [(host, device)])]
    if seconds:
        return float(max(seconds))
    return 1.0 if is_among(place, [tuple(known) for known in avoid]) else None


def _words(text: str) -> str:
    return re.sub(r"0x[0-9a-fA-F]+|\d+", "#", text)
