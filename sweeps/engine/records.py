"""What is written to the ledger about a run: its epochs, and one row when it has ended."""

from __future__ import annotations

import json
import math
import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch

import pat
from analysis import ledger, storage
from analysis.points import reached
from analysis.schema import CORRECT_COLUMNS, RESULT_COLUMNS
from pat.config import RunConfig
from pat.io import CHECKPOINT, CONFIG, STUDENT, UNREADABLE
from pat.tasks import task_class
from pat.train import Outcome
from sweeps.engine.jobs import MEASURES, WHERE, Job, run_folder
from sweeps.version import digest


def record_end(job: Job, status: str, failure: str = "", message: str = "", started: datetime | None = None) -> None:
    """End a run as pruned or failed where its epochs stand. Raises LedgerError where the storage refuses."""
    folder = run_folder(job.folder, job.run.run_id)
    storage.remove_file(folder, WHERE)  # whoever may still train it writes no more
    history = ledger.read_run_epochs(job.folder, job.run.run_id)
    write_end(job, Outcome(status, len(history), history, message), started or datetime.now(UTC), failure)


def write_end(job: Job, outcome: Outcome, started: datetime, failure: str = "") -> None:
    """The row that ends a run; then what only its training needed goes. A failed run keeps it for a retry."""
    config, folder = job.run, run_folder(job.folder, job.run.run_id)
    failure = failure or ("diverged" if outcome.status == "diverged" else "")
    row = {**_identity(job, config), **_found(outcome), **_circumstances(job, outcome, started)}
    if outcome.status == "finished":
        text = json.dumps({**outcome.described, "pat": _described(config, outcome, row)}, indent=1)
        storage.write_file(folder, CONFIG, f"{text}\n".encode())
    ledger.write_run(job.folder, {**row, "failure_class": failure or None})
    reached("summary before tidying")
    if outcome.status != "failed":
        tidy(folder)
    if not job.keep_student:
        storage.remove_file(folder, STUDENT)
    storage.remove_file(folder, MEASURES)


def _described(config: RunConfig, outcome: Outcome, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's `config.json` says beside what timm reads there: which run it is of, on which images it was
    trained, what it scores."""
    scores = {split: _number(outcome.results.get(f"{split}_last_{outcome.exported}")) for split in ("val", "test")}
    return {
        "run_id": config.run_id,
        "metric": row["metric"],
        "score": scores,
        "chance": _number(outcome.chance),
        "test_images": outcome.test_images,
        "teacher_score": _number(outcome.teacher_score),
        "weights": outcome.exported,
        "sha256": outcome.student_sha256,
        "classes": list(outcome.classes),
        "data": outcome.account,
        "config": config.to_dict(),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def tidy(folder: Path) -> None:
    """Remove the checkpoints of a run that has ended, and what killed processes left half written."""
    for name in (CHECKPOINT, *storage.list_temporary(folder)):
        if not name.startswith(UNREADABLE):
            storage.remove_file(folder, name)


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
        "trial": job.trial,
        "data": config.data.name,
        "task": config.task.name,
        "metric": task_class(config.task.name).metric,
        "epochs": config.recipe.epochs,
        "config": job.config,
        "threads": config.threads,
        **job.named,
    }


def _found(outcome: Outcome) -> dict[str, Any]:
    finished = outcome.status == "finished"
    correct = {name: outcome.test_correct.get(name.removeprefix("test_correct_")) for name in CORRECT_COLUMNS}
    return {
        "status": outcome.status,
        "epochs_done": outcome.epoch,
        **{name: outcome.results.get(name) for name in RESULT_COLUMNS},
        **correct,
        "details": json.dumps(outcome.details, sort_keys=True) if outcome.details else None,
        "test_images": outcome.test_images if finished else None,
        "skipped_images": outcome.skipped_images if finished else None,
        "memory_measures": outcome.measures or None,
        "exported": outcome.exported if finished else None,
        "initial_sha256": outcome.initial_sha256 if finished else None,
        "student_sha256": outcome.student_sha256 or None,
        "student_params": outcome.student_params if finished else None,
        "extra_params": outcome.extra_params if finished else None,
        "teacher_sha256": outcome.teacher_sha256 or None,
        "teacher_score": outcome.teacher_score if finished else None,
        "seconds": sum(row["seconds"] for row in outcome.history),
        "message": outcome.message or None,
    }


def _circumstances(job: Job, outcome: Outcome, started: datetime) -> dict[str, Any]:
    """When and where: `started` is the beginning of the run's last segment."""
    return {
        "energy_joules": None,
        "peak_memory": outcome.peak_memory or None,
        "started": started,
        "ended": datetime.now(UTC),
        "retries": job.retries,
        "preemptions": job.preemptions,
        "workers": job.workers,
        **machine(),
    }


@lru_cache(maxsize=1)
def machine() -> dict[str, str]:
    """Host, devices and versions of this process."""
    gpu = torch.cuda.is_available()
    return {
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "cpu": f"{_cpu_name()} / {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "pat_version": f"{pat.__version__}+{digest()}",
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
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
