"""One segment of a run in this process: train to the next rung, write what happened to the ledger.

The same function serves `python -m sweeps train`, a Tune trial and the workers of Ray Train.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import timm
import torch

import pat.methods  # noqa: F401  (declares every method's options)
from analysis import ledger
from analysis.schema import CORRECT_COLUMNS, RESULT_COLUMNS, LedgerError
from pat.config import RunConfig
from pat.io import CHECKPOINT, STUDENT, LocalIO
from pat.train import Outcome, train

MakeIO = Callable[[Path, Callable[[list[dict[str, Any]]], None]], LocalIO]


@dataclass(frozen=True)
class Job:
    """What a process needs to train a segment; made of JSON values, so that it travels.

    `config` is the run's canonical configuration, `folder` the study's, `until` the number of epochs after which to
    stop. `teacher_file` is empty for runs without a teacher; `teacher_sha256` is what its bytes must hash to.
    """

    folder: str
    study: str
    config: str
    until: int
    phase: str
    student_family: str
    teacher_family: str = ""
    data_root: str = "data"
    teacher_file: str = ""
    teacher_sha256: str = ""
    workers: int = 1
    retries: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)

    @property
    def run(self) -> RunConfig:
        return RunConfig.from_json(self.config)


def run_folder(folder: str | Path, run_id: str) -> Path:
    """Where a run keeps its checkpoint, its student and its tables."""
    return Path(folder) / "runs" / run_id


def teacher_path(folder: str | Path, run_id: str) -> Path:
    """The weights of a teacher that was trained here."""
    return run_folder(folder, run_id) / STUDENT


def execute(job: Job, make_io: MakeIO = LocalIO, record_errors: bool = True) -> str:
    """Train a segment; returns the run's status: paused, finished, diverged or failed.

    The epochs are written after each one, the run's row last, when nothing more will be trained. An error ends the
    run as failed; with `record_errors` off it is raised instead (several workers: a peer may only have been lost).
    Raises LedgerError where the storage refuses.
    """
    config, started = job.run, datetime.now(UTC)
    run_id = config.run_id
    ended = ledger.read_run(job.folder, run_id)
    if ended is not None and ended["status"] == "finished":
        return "finished"

    def on_epoch(history: list[dict[str, Any]]) -> None:
        ledger.write_epochs(job.folder, run_id, epoch_rows(config, history))

    try:
        io = make_io(run_folder(job.folder, run_id), on_epoch)
        outcome = train(
            config,
            io,
            until=job.until,
            data_root=Path(job.data_root),
            teacher_file=Path(job.teacher_file) if job.teacher_file else None,
            teacher_sha256=job.teacher_sha256 or None,
        )
    except LedgerError:
        raise
    except Exception as error:
        if not record_errors:
            raise
        record_end(job, "failed", type(error).__name__, first_line(error), started)
        return "failed"
    if io.rank == 0:
        on_epoch(outcome.history)
        if outcome.status != "paused":
            _write_end(job, config, outcome, started)
    return outcome.status


def record_end(job: Job, status: str, failure: str = "", message: str = "", started: datetime | None = None) -> None:
    """End a run as pruned or failed where its epochs stand. Raises LedgerError where the storage refuses."""
    config = job.run
    history = ledger.read_run_epochs(job.folder, config.run_id)
    outcome = Outcome(status, len(history), history, message)
    _write_end(job, config, outcome, started or datetime.now(UTC), failure)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def epoch_rows(config: RunConfig, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The loop's history as rows of the ledger's epoch table."""
    options = json.dumps(config.method.options, sort_keys=True)
    return [
        {
            **row,
            "run_id": config.run_id,
            "parts": json.dumps(row["parts"], sort_keys=True),
            "options": options,
        }
        for row in history
    ]


def _write_end(job: Job, config: RunConfig, outcome: Outcome, started: datetime, failure: str = "") -> None:
    ledger.write_run(job.folder, {**_identity(job, config), **_found(outcome, failure), **_circumstances(job, started)})
    (run_folder(job.folder, config.run_id) / CHECKPOINT).unlink(missing_ok=True)


def _identity(job: Job, config: RunConfig) -> dict[str, Any]:
    return {
        "run_id": config.run_id,
        "study": job.study,
        "phase": job.phase,
        "teacher": config.teacher.name if config.teacher else "",
        "teacher_weights": config.teacher.weights if config.teacher else None,
        "teacher_family": job.teacher_family or None,
        "student": config.student,
        "student_family": job.student_family,
        "method": config.method.name,
        "options": json.dumps(config.method.options, sort_keys=True),
        "seed": config.seed,
        "data": config.data.name,
        "epochs": config.recipe.epochs,
        "config": job.config,
        "threads": config.threads,
    }


def _found(outcome: Outcome, failure: str) -> dict[str, Any]:
    finished = outcome.status == "finished"
    correct = {name: outcome.test_correct.get(name.removeprefix("test_correct_")) for name in CORRECT_COLUMNS}
    failure = failure or ("Diverged" if outcome.status == "diverged" else "")
    return {
        "status": outcome.status,
        "epochs_done": outcome.epoch,
        **{name: outcome.results.get(name) for name in RESULT_COLUMNS},
        **correct,
        "test_images": outcome.test_images if finished else None,
        "exported": outcome.exported if finished else None,
        "student_sha256": outcome.student_sha256 or None,
        "student_params": outcome.student_params if finished else None,
        "extra_params": outcome.extra_params if finished else None,
        "teacher_sha256": outcome.teacher_sha256 or None,
        "teacher_top1": outcome.teacher_top1 if finished else None,
        "seconds": sum(row["seconds"] for row in outcome.history),
        "failure_class": failure or None,
        "message": outcome.message or None,
    }


def _circumstances(job: Job, started: datetime) -> dict[str, Any]:
    """When and where: `started` is the beginning of the run's last segment."""
    return {
        "energy_joules": None,
        "started": started,
        "ended": datetime.now(UTC),
        "retries": job.retries,
        "workers": job.workers,
        **_machine(),
    }


@lru_cache(maxsize=1)
def _machine() -> dict[str, str]:
    gpu = torch.cuda.is_available()
    return {
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "cpu": f"{_cpu_name()} / {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "pat_version": getattr(pat, "__version__", ""),
        "python": platform.python_version(),
        "git_commit": _git_commit(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _git_commit() -> str:
    """The commit of the source tree, empty where the package is installed without one."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
