"""What a probe has found, and the file of a study that remembers it: `probes.json`, so that none is made twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from analysis import storage
from analysis.schema import LedgerError
from sweeps.planning.units import Key
from sweeps.study import Cell

FILE, VERSION = "probes.json", 3


@dataclass(frozen=True)
class Probe:
    """What a run of one unit of a study takes on one kind of device. `kind`: the unit's (`Key`).

    `asked_workers` share the global batch in the study; `workers` is the smallest number (the same, twice, four times
    it …) at which a worker's share fits the memory, 0 where not even one image does. `step_seconds`: one step of
    a worker's share; `epoch_seconds`: an epoch of `asked_workers`, its scoring included; 0 where nothing fits. Of that,
    `views_seconds` and `plain_seconds` go into the views and into the teacher's plain passes, which runs that are
    trained together have in common.
    `batch`: images of the measured steps; where that is less than the share, the time was scaled.
    `peak_bytes`: a GPU's memory as its allocator reserves it, without the context; on the CPU the growth of the
    process; None where unknown. `checkpoint_bytes`, `student_bytes`: the run's files.
    """

    teacher: str
    student: str
    method: str
    device: str
    asked_workers: int
    workers: int
    batch: int = 0
    share: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    score_seconds: float = 0.0
    epoch_seconds: float = 0.0
    views_seconds: float = 0.0
    plain_seconds: float = 0.0
    peak_bytes: int | None = None
    checkpoint_bytes: int = 0
    student_bytes: int = 0
    kind: str = "cell"

    @property
    def key(self) -> Key:
        return Key(self.kind, self.cell)

    @property
    def cell(self) -> Cell:
        return Cell(self.teacher, self.student, self.method)

    @property
    def fits(self) -> bool:
        """Whether a run of the study fits its devices."""
        return self.workers == self.asked_workers


def read_probes(folder: Path, device: str = "") -> dict[Key, Probe]:
    """The probes that a study's folder has for a kind of device; empty: the last one of each unit, whatever its device.

    A file that cannot be read, or was written by another version of this program or beside another torch, has none.
    """
    return {one.key: one for one in _read(folder) if device in ("", one.device)}


def write_probes(folder: Path, probes: Iterable[Probe]) -> None:
    """Add probes to those of a study's folder. Raises LedgerError where the storage refuses."""
    known = {(one.key, one.device): asdict(one) for one in (*_read(folder), *probes)}
    content = {"version": VERSION, "torch": version("torch"), "probes": list(known.values())}
    storage.write_file(folder, FILE, (json.dumps(content, indent=1) + "\n").encode())


def _read(folder: Path) -> list[Probe]:
    try:
        content = json.loads(storage.read_file(folder, FILE) or b"{}")
        current = (content["version"], content["torch"]) == (VERSION, version("torch"))
        return [Probe(**values) for values in content["probes"]] if current else []
    except (LedgerError, ValueError, KeyError, TypeError):
        return []
