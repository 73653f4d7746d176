"""A segment as it travels from the driver to the process that trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from analysis import storage
from pat.config import RunConfig
from pat.kept import STUDENT

STOP, PAUSE = "_stop", "_pause"
"""While a study's folder holds one of these files, runs pause after their epoch and none is begun. The driver itself
writes PAUSE, for a moment in which its processes are to be new ones."""
MEASURES, WHERE = "_measures", "_where.json"
"""In a run's folder: what it does to fit the memory, and which process trains it; both are gone when it has ended."""


@dataclass(frozen=True)
class Job:
    """What a process needs to train a segment; made of JSON values, so that it travels.

    `config` is the run's canonical configuration, `folder` the study's, `until` the number of epochs after which to
    stop. `teacher_file` is empty for runs without a teacher; `teacher_sha256` is what its bytes must hash to.
    `initial_file` holds the weights that the training starts from, where the configuration names some; its bytes must
    hash to `initial_sha256`, where that is known.
    `data_source`: where each machine fetches the data set from, once, into its own `data_root`; empty: it lies there.
    `retries` and `preemptions` count the processes that the run has lost so far. `keep_student`: whether the student's
    file outlives the run. `trial`: the place of a search run in its cell's search. `named`: what the run stands for
    where its configuration says something else: columns of its row in the ledger.
    `avoid`: places (host, device) where the run is not to be tried now; `closed`: places that get no work, with the
    seconds for which they do not. `patience`: after how many seconds without a new epoch the process ends itself (0:
    never).
    """

    folder: str
    study: str
    config: str
    until: int
    phase: str
    student_family: str
    teacher_family: str = ""
    data_root: str = "data"
    data_source: str = ""
    teacher_file: str = ""
    teacher_sha256: str = ""
    initial_file: str = ""
    initial_sha256: str = ""
    workers: int = 1
    retries: int = 0
    preemptions: int = 0
    keep_student: bool = True
    trial: int | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    avoid: tuple[tuple[str, str], ...] = ()
    closed: tuple[tuple[str, str, float], ...] = ()
    patience: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)

    @property
    def run(self) -> RunConfig:
        return RunConfig.from_json(self.config)


def asked_to_pause(folder: str | Path) -> bool:
    """Whether runs of a study are to pause after their epoch."""
    return any(storage.exists(folder, name) for name in (STOP, PAUSE))


def run_folder(folder: str | Path, run_id: str) -> Path:
    """Where a run keeps its checkpoint, its student and its tables."""
    return Path(folder) / "runs" / run_id


def student_path(folder: str | Path, run_id: str) -> Path:
    """The weights of what a run trained, as a teacher that was trained here."""
    return run_folder(folder, run_id) / STUDENT
