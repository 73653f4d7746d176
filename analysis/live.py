"""The driver's sign of life: `driver.json`, which the process that drives a study writes every few seconds."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.storage import Folder, read_file
from analysis.words import duration

FILE, LOCK = "driver.json", "_driver.lock"
SILENT_SECONDS = 60.0
"""A driver whose last beat is older is taken for dead, unless it says itself that it has ended."""


@dataclass(frozen=True)
class Driver:
    """What the driver said last. `ended`: why it ended, empty before; `slots`: runs at a time; `price`: money for one
    device-hour, None if unknown; `running`: one entry for each run in flight; `facts`: the whole record. `gone`: it was
    on this machine, where no such process has the study."""

    host: str
    pid: int
    beat: datetime
    command: str
    ended: str
    slots: int
    price: float | None
    running: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any]
    gone: bool = False

    def silence(self) -> float:
        """Seconds since the last beat, by this machine's clock."""
        return (datetime.now(UTC) - self.beat).total_seconds()

    @property
    def alive(self) -> bool:
        return not self.ended and not self.gone and self.silence() <= SILENT_SECONDS

    def closed(self) -> list[str]:
        """A line for each device or host that gets no work for now."""
        return closed_places(self.facts.get("closed") or (), self.silence())


def closed_places(told: Iterable[Mapping[str, Any]], ago: float = 0.0) -> list[str]:
    """A line for each device or host that a driver told of so many seconds ago, if it still gets no work."""
    lines = list[str]()
    for entry in told:
        if (left := float(entry["seconds"]) - ago) > 0:
            why = f"after {entry['failures']} failures in a row, the last: {entry['last']}"
            lines.append(f"{entry['place']} gets no work for {duration(left)}, {why}")
    return lines


def read_driver(folder: Folder) -> Driver | None:
    """The last sign of life in a study's folder; None where there is none, or one that cannot be understood."""
    try:
        facts = json.loads(read_file(folder, FILE) or b"")
        price = facts.get("price")
        return Driver(
            host=str(facts["host"]),
            pid=int(facts["pid"]),
            beat=datetime.fromisoformat(facts["beat"]).astimezone(UTC),
            command=str(facts.get("command") or ""),
            ended=str(facts.get("ended") or ""),
            slots=int(facts.get("slots") or 1),
            price=None if price is None else float(price),
            running=tuple(facts.get("running") or ()),
            facts=facts,
            gone=facts["host"] == socket.gethostname() and _is_gone(folder, int(facts["pid"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_gone(folder: Folder, pid: int) -> bool:
    """Whether a driver of this machine has died: neither is there such a process, as another container might have it
    under another number, nor does anybody hold the study's lock."""
    lock = Path(folder, LOCK)
    if Path("/proc", str(pid)).exists() or not Path("/proc/self").exists() or not lock.is_file():
        return False
    import fcntl  # where there is no /proc there may be no fcntl

    handle = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
