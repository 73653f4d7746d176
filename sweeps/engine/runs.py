"""One segment of a run in this process: train to the next rung, write what happened to the ledger.

The same function serves `python -m sweeps train`, a Tune trial and the workers of Ray Train.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from analysis import ledger, storage
from analysis.schema import LedgerError
from pat.config import DataError, StorageError
from pat.io import LocalIO
from pat.memory import Measures, OutOfMemory
from pat.train import Outcome, train
from sweeps.engine.jobs import MEASURES, STOP, WHERE, Job, run_folder
from sweeps.engine.records import epoch_rows, first_line, record_end, write_end
from sweeps.engine.staging import stage

STOPS_STUDY = (DataError, StorageError, LedgerError)
"""Errors that no other run of the study would escape: nothing is recorded, and the study stops."""

MakeIO = Callable[[Path, Callable[[list[dict[str, Any]]], None], Callable[[], bool]], LocalIO]


def execute(job: Job, make_io: MakeIO = LocalIO, record_errors: bool = True) -> str:
    """Train a segment; returns the run's status: paused, finished, diverged or failed; at once if it has ended.

    The epochs are written after each one, the run's row last, when nothing more will be trained. Where the memory does
    not suffice, the segment is tried again with the measures that are left, which are kept for the run's later
    segments. Another error ends the run as failed: `oom` or `bug`. With `record_errors` off errors are raised
    instead, but for a last `oom`: one of several workers is started again by others, or only lost a peer.
    Raises one of STOPS_STUDY for what concerns every run.
    """
    started = datetime.now(UTC)
    ended = ledger.read_run(job.folder, job.run.run_id)
    if ended is not None:
        return str(ended["status"])
    if job.data_source:
        stage(job.run.data, job.data_source, Path(job.data_root))
    while True:
        try:
            return _attempt(job, make_io, started)
        except STOPS_STUDY:
            raise
        except OutOfMemory as problem:
            if problem.measures is None:
                record_end(job, "failed", "oom", first_line(problem), started)
            else:
                storage.write_file(run_folder(job.folder, job.run.run_id), MEASURES, str(problem.measures).encode())
            if not record_errors:
                raise
            if problem.measures is None:
                return "failed"
        except Exception as error:
            if not record_errors:
                raise
            record_end(job, "failed", "bug", first_line(error), started)
            return "failed"


def _attempt(job: Job, make_io: MakeIO, started: datetime) -> str:
    config, folder = job.run, run_folder(job.folder, job.run.run_id)

    def on_epoch(history: list[dict[str, Any]]) -> None:
        ledger.write_epochs(job.folder, config.run_id, epoch_rows(config, history))

    io = make_io(folder, on_epoch, (Path(job.folder) / STOP).exists)
    kept = storage.read_file(folder, MEASURES)
    with _seen(io, folder):
        outcome: Outcome = train(
            config,
            io,
            until=job.until,
            data_root=Path(job.data_root),
            teacher_file=Path(job.teacher_file) if job.teacher_file else None,
            teacher_sha256=job.teacher_sha256 or None,
            initial_file=Path(job.initial_file) if job.initial_file else None,
            initial_sha256=job.initial_sha256 or None,
            measures=Measures.parse(kept.decode()) if kept else Measures(),
        )
    if io.rank == 0:
        on_epoch(outcome.history)
        if outcome.status != "paused":
            write_end(job, outcome, started)
    return outcome.status


@contextmanager
def _seen(io: LocalIO, folder: Path) -> Iterator[None]:
    """Says in the run's folder, for the time of the block, which process trains it."""
    if io.rank != 0:
        yield
        return
    device = torch.cuda.get_device_name(io.device) if io.device.type == "cuda" else "cpu"
    where = {"host": socket.gethostname(), "pid": os.getpid(), "device": device}
    storage.write_file(folder, WHERE, json.dumps(where).encode())
    try:
        yield
    finally:
        (folder / WHERE).unlink(missing_ok=True)
