"""Segments of runs in this process: train each to its next rung, write what happened to the ledger.

The same function serves `python -m sweeps train`, a Tune trial and the workers of Ray Train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from analysis import ledger, storage
from analysis.points import reached
from analysis.schema import LedgerError
from pat.config import ConfigError, DataError, RunConfig, StorageError
from pat.io import PREVIOUS, Files, LocalIO
from pat.lockstep import Walk, lockstep
from pat.memory import Crowded, Measures, OutOfMemory
from pat.plugins import load_plugins
from pat.starting import RUN
from pat.surroundings import SurroundingsError, of_surroundings
from pat.train import Company, Member, Outcome, threads, train
from sweeps.engine.health import here
from sweeps.engine.hold import Hold, Superseded
from sweeps.engine.jobs import MEASURES, Job, asked_to_pause, run_folder
from sweeps.engine.patience import Watchdog
from sweeps.engine.records import epoch_rows, first_line, record_end, write_end
from sweeps.engine.staging import stage
from sweeps.engine.texts import note_texts

STOPS_STUDY = (DataError, StorageError, LedgerError)
"""Errors that no other run of the study would escape: nothing is recorded, and the study stops."""

MakeIO = Callable[[Path, Callable[[list[dict[str, Any]]], None], Callable[[], bool], Files], LocalIO]


def execute(job: Job, make_io: MakeIO = LocalIO, record_errors: bool = True) -> str:
    """A segment by itself: its status; raises what `execute_together` gives in its place."""
    [(_, end)] = execute_together([job], make_io, record_errors)
    if isinstance(end, Exception):
        raise end
    return end


def execute_together(
    jobs: Sequence[Job], make_io: MakeIO = LocalIO, record_errors: bool = True
) -> Iterator[tuple[Job, str | Exception]]:
    """Train segments of runs of one data set, one batch after the other (`pat.lockstep`); each as it ends, with its
    status - paused, finished, diverged or failed - or an error of these:

    one of STOPS_STUDY for what concerns every run, SurroundingsError for what does not concern this one, Superseded
    where another process has taken it, Crowded where it has no room beside the others; with `record_errors` off any.
    """
    load_plugins()
    company = Company(Path(jobs[0].data_root), shared=True) if len(jobs) > 1 else None
    watchdog = Watchdog(sum(job.patience for job in jobs))
    walks = {place: _segment(job, make_io, record_errors, watchdog, company) for place, job in enumerate(jobs)}
    try:
        with threads(jobs[0].run.threads):
            for place, end in lockstep(walks, company.teachers.forget if company else lambda: None):
                yield jobs[place], end
    finally:
        watchdog.off()


def _segment(job: Job, make_io: MakeIO, record_errors: bool, watchdog: Watchdog, company: Company | None) -> Walk[str]:
    """One of them; it has its status at once if the run has ended.

    The epochs are written after each one, the run's row last, when nothing more will be trained. Where the memory does
    not suffice, the segment is tried again with the measures that are left, which are kept for the run's later
    segments. Another error ends the run as failed, `oom` or `bug`, unless it is one of the surroundings. With
    `record_errors` off these are raised: others decide whether it was the run; of one worker what its configuration
    says is still recorded, of several nothing is tried again.
    """
    started, folder = datetime.now(UTC), run_folder(job.folder, job.run.run_id)
    storage.refresh(folder)
    ended = ledger.read_run(job.folder, job.run.run_id)
    if ended is not None:
        return str(ended["status"])
    if job.data_source:
        stage(job.run.data, job.data_source, Path(job.data_root))
    hold = Hold(folder)
    try:
        while True:
            try:
                return (yield from _attempt(job, make_io, started, hold, watchdog, company))
            except (*STOPS_STUDY, Superseded, Crowded):
                raise
            except OutOfMemory as problem:
                hold.check()
                if problem.measures is not None:
                    storage.write_file(folder, MEASURES, str(problem.measures).encode())
                    if record_errors or job.workers == 1:
                        continue
                if not record_errors:
                    raise
                record_end(job, "failed", "oom", first_line(problem), started)
                return "failed"
            except Exception as error:
                outside = of_surroundings(error)
                if not record_errors and (outside or job.workers > 1 or not isinstance(error, ConfigError)):
                    raise
                if outside:
                    raise SurroundingsError(f"{first_line(error)} ({type(error).__name__} on {here()})") from error
                hold.check()
                record_end(job, "failed", "bug", first_line(error), started)
                return "failed"
    finally:
        with suppress(LedgerError):
            hold.drop()


def _attempt(
    job: Job, make_io: MakeIO, started: datetime, hold: Hold, watchdog: Watchdog, company: Company | None
) -> Walk[str]:
    config, folder = job.run, hold.folder

    def keep(history: list[dict[str, Any]]) -> None:
        hold.check()
        ledger.write_epochs(job.folder, config.run_id, epoch_rows(config, history))

    def on_epoch(history: list[dict[str, Any]]) -> None:
        reached("checkpoint without epochs")
        keep(history)
        watchdog.again()

    io = make_io(folder, on_epoch, lambda: asked_to_pause(job.folder), hold)
    if io.rank == 0:
        hold.take(torch.cuda.get_device_name(io.device) if io.device.type == "cuda" else "cpu")
        note_texts(folder, config)
        watchdog.again()
    kept = storage.read_file(folder, MEASURES)
    files: dict[str, Any] = {
        "teacher_file": Path(job.teacher_file) if job.teacher_file else None,
        "teacher_sha256": job.teacher_sha256 or None,
        "initial_file": Path(job.initial_file) if job.initial_file else None,
        "initial_sha256": job.initial_sha256 or None,
        "measures": Measures.parse(kept.decode()) if kept else Measures(),
        "teacher_score": _known_score(job),
    }
    outcome: Outcome
    if company is None:
        outcome = train(config, io, until=job.until, data_root=Path(job.data_root), **files)
    else:
        outcome = yield from company.walk(Member(config, io, job.until, **files))
    if io.rank == 0:
        keep(outcome.history)
        if outcome.status != "paused":
            reached("epochs without summary")
            hold.check()
            write_end(job, outcome, started)
        elif outcome.epoch >= job.until:  # it may wait for long, and its last checkpoint is safe
            storage.remove_file(folder, PREVIOUS)
    return outcome.status


def _known_score(job: Job) -> float | None:
    """What a teacher's own run has recorded of the weights that it teaches with, on the same test images."""
    config, teacher = job.run, job.run.teacher
    if teacher is None or not teacher.weights.startswith(RUN):
        return None
    found = ledger.read_run(job.folder, teacher.weights.removeprefix(RUN))
    if found is None or found["status"] != "finished":
        return None
    data, size = RunConfig.from_json(found["config"]).data, teacher.image_size or config.data.image_size
    alike = replace(data, validation=0.0) == replace(config.data, validation=0.0, image_size=size)
    score: float | None = found[f"test_last_{found['exported']}"]
    return score if alike and config.task.name == found["task"] else None
