"""The driver of a study: hands out segments, and after each one takes up what the ledger says.

It holds no state that is not in the ledger. `run_here` drives a study in this process; `launch` does on Ray.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from analysis import ledger
from pat.models import create_model, family, has_batchnorm
from sweeps.cells import Segment
from sweeps.planner import Planner, keys, matrix_rows
from sweeps.progress import Progress
from sweeps.runs import Job, execute, record_end, run_folder, teacher_path
from sweeps.study import Study, TeacherFile
from sweeps.teachers import local_file
from sweeps.view import read_state, read_view

LOST_LIMIT = 3
MATRIX_EVERY = 2.0
SUPERSEDED = "superseded"


class Fatal(RuntimeError):
    """Nothing more can be written or run; the message is one line."""


class Driver:
    """One study in its folder. `asked`: the part of it that this call is to complete."""

    def __init__(
        self,
        folder: Path,
        study: Study,
        asked: Study,
        data_root: Path,
        gpus: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.folder, self.study, self.data_root, self.gpus = folder, study, data_root, gpus
        self.flying: dict[str, Segment] = {}
        self._lost: Counter[str] = Counter()
        self._families = {name: family(name) for name in (*study.used_teachers(), *study.used_students())}
        self.planner = Planner(study, read_view(folder), unsynced_models(study, gpus), asked)
        self.progress = Progress(self.planner, folder, stream)
        self.progress.flying = self.flying
        self._matrix_due = 0.0
        self._settle()

    def kind(self) -> int | None:
        """How many workers the most urgent segment needs; None if none is ready."""
        segment = next((s for s in self.planner.ready() if s.run_id not in self.flying), None)
        return None if segment is None else self._workers(segment)

    def next_job(self, workers: int) -> Job | None:
        """The most urgent segment for that many workers; it counts as in flight until `ended` is told."""
        for segment in self.planner.ready():
            if segment.run_id not in self.flying and self._workers(segment) == workers:
                self.flying[segment.run_id] = segment
                return self.job(segment)
        return None

    def job(self, segment: Segment) -> Job:
        """What a process needs to train the segment."""
        config, teacher_file, sha256 = segment.config, "", ""
        if config.teacher is not None:
            source = self.study.teachers[segment.cell.teacher]
            if isinstance(source, TeacherFile):
                teacher_file, sha256 = str(local_file(source, self.folder)), source.sha256
            else:
                run_id = config.teacher.weights.removeprefix("run:")
                teacher_file = str(teacher_path(self.folder, run_id))
                sha256 = self.planner.view[run_id].student_sha256
        return Job(
            folder=str(self.folder),
            study=self.study.name,
            config=config.to_json(),
            until=segment.until,
            phase=segment.phase,
            student_family=self._families[config.student],
            teacher_family=self._families[segment.cell.teacher] if config.teacher else "",
            data_root=str(self.data_root),
            teacher_file=teacher_file,
            teacher_sha256=sha256,
            workers=self._workers(segment),
            retries=self._lost[segment.run_id],
        )

    def ended(self, run_id: str, lost: bool = False) -> None:
        """A segment is over. `lost`: its process is gone; after three times the run counts as failed."""
        segment = self.flying.pop(run_id)
        if lost:
            self._lost[run_id] += 1
            self.progress.say(f"  lost the process of {segment.cell} ({self._lost[run_id]} of {LOST_LIMIT})")
            if self._lost[run_id] >= LOST_LIMIT:
                record_end(self.job(segment), "failed", "Lost", f"its process was lost {self._lost[run_id]} times")
        self._refresh(segment)
        self._settle()

    def finish(self) -> None:
        """The last matrix. Confirmations of settings that a longer search replaced are set aside in `superseded/`."""
        whole = all(row.status == "finished" for row in self.planner.rows())
        for run_id in self.planner.superseded() if whole else ():
            place = self.folder / SUPERSEDED / run_id
            place.parent.mkdir(exist_ok=True)
            run_folder(self.folder, run_id).rename(place)
        self.write_matrix()

    def write_matrix(self) -> None:
        """Every cell, setting and seed as it stands."""
        running = frozenset(self.flying)
        ledger.write_matrix(self.folder, matrix_rows(self.study, self.planner.rows(), self._families, running))
        self._matrix_due = time.monotonic() + MATRIX_EVERY

    def _workers(self, segment: Segment) -> int:
        return self.study.workers_of(segment.config.method.name)

    def _refresh(self, segment: Segment) -> None:
        state = read_state(self.folder, segment.run_id)
        self.planner.update(segment.run_id, state)
        if state.status:
            row = ledger.read_run(self.folder, segment.run_id)
            assert row is not None
            self.progress.ended(segment, row)

    def _settle(self) -> None:
        """Record what the plan gave up as pruned, and now and then the matrix."""
        for segment in list(self.planner.prune()):
            record_end(self.job(segment), "pruned")
            self._refresh(segment)
        if time.monotonic() >= self._matrix_due:
            self.write_matrix()


def unsynced_models(study: Study, gpus: bool) -> frozenset[str]:
    """Models whose BatchNorm sees only one worker's share of the batch: several workers without GPUs."""
    several = not isinstance(study.workers, int) or study.workers > 1
    if gpus or not several:
        return frozenset()
    models = {key.cell.student for key in keys(study)}
    size = study.data.image_size
    return frozenset(name for name in models if has_batchnorm(create_model(name, 10, size)))


def run_here(driver: Driver) -> None:
    """Drive the study to its end in this process, one segment after the other, each on one worker."""
    with driver.progress.ticking():
        while (kind := driver.kind()) is not None:
            job = driver.next_job(kind)
            assert job is not None
            execute(job)
            driver.ended(job.run.run_id)
    driver.finish()
