"""The driver of a study: hands out segments, and after each one takes up what the ledger says.

It holds no state that is not in the ledger. `run_here` drives a study in this process; `launch` does on Ray.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from analysis import ledger
from pat.models import family, has_batchnorm
from pat.starting import RUN
from pat.tasks import create_task
from sweeps.configs import default_options, teacher_name
from sweeps.costs.speeds import Speeds
from sweeps.engine.jobs import STOP, WHERE, Job, run_folder, student_path
from sweeps.engine.keep import Keep, drop_students, outlives, set_aside_superseded
from sweeps.engine.lock import Pulse
from sweeps.engine.progress import COLUMNS, Progress
from sweeps.engine.records import first_line, record_end
from sweeps.engine.runs import STOPS_STUDY, execute
from sweeps.engine.siblings import adopt, adoptable, initial_name
from sweeps.planning.matrix import matrix_rows
from sweeps.planning.planner import Planner, rungs_of
from sweeps.planning.units import Segment, as_text, keys
from sweeps.planning.view import RUN_COLUMNS, read_state, read_view
from sweeps.study import Study, TeacherFile
from sweeps.teachers import initial_file, initial_sha256, local_file

LOST_LIMIT, UNBEGUN_LIMIT = 3, 20
GATHER_EVERY = 1000
"""Ended runs after which the ledger's many small files are gathered, so that a report need not open each."""
MATRIX_EVERY = 2.0
MATRIX_SHARE = 0.02
"""At most this share of the driver's time goes into writing the matrix."""


class Fatal(RuntimeError):
    """Nothing more can be written or run; the message is one line."""


@dataclass
class Losses:
    """The processes that a run has lost: `preemptions` with their machine, `retries` otherwise. Of the latter, in a row
    since the run got on: `begun` while it was trained, `unbegun` before. `epochs` it had done at the last one."""

    retries: int = 0
    preemptions: int = 0
    begun: int = 0
    unbegun: int = 0
    epochs: int = 0


class Driver:
    """One study in its folder. `asked`: the part of it that this call is to complete.

    `gpus`: whether the cluster has some. `keep`: which students' files outlive their runs. `pulse` tells others what
    is running. `data_source`: where each machine fetches the data set from, into `data_root`.
    """

    def __init__(
        self,
        folder: Path,
        study: Study,
        asked: Study,
        data_root: Path,
        gpus: bool = False,
        stream: TextIO | None = None,
        keep: Keep = "all",
        speeds: Speeds | None = None,
        verbose: bool = False,
        pulse: Pulse | None = None,
        data_source: str = "",
    ) -> None:
        self.folder, self.study, self.data_root, self.gpus, self.keep = folder, study, data_root, gpus, keep
        self.pulse, self.data_source = pulse, data_source
        self.price: float | None = None
        if pulse is not None:
            pulse.facts = self.live
        self._losses: dict[str, Losses] = defaultdict(Losses)
        self._since: dict[str, float] = {}
        self._families = {name: family(name) for pair in study.pairs for name in pair}
        ended = ledger.read_runs(folder, columns=tuple(dict.fromkeys((*RUN_COLUMNS, *COLUMNS))))
        view = read_view(folder, rungs_of(study), ended)
        self.planner = Planner(study, view, unsynced_models(study, gpus), asked, speeds)
        self.progress = Progress(self.planner, ended, stream, verbose=verbose)
        self._matrix_due, self._ended = 0.0, 0
        (folder / STOP).unlink(missing_ok=True)
        self._settle()

    def adopt(self) -> None:
        """Take over the finished teachers that studies under the same storage hold, and say so."""
        counts: Counter[tuple[str, str]] = Counter()
        for key, found in list(adoptable(self.folder, self.planner)):
            if problem := adopt(self.folder, self.study.name, found):
                self.progress.say(f"not adopted: {problem}")
                continue
            self.planner.update(found.run_id, read_state(self.folder, found.run_id))
            counts[key.kind, found.folder.name] += 1
        for (kind, study), count in counts.items():
            self.progress.say(f"adopted {count} finished {kind}{'s' if count > 1 else ''} from study {study!r}")

    def kind(self) -> int | None:
        """How many workers the most urgent segment needs; None if none is ready."""
        return self.planner.kind()

    def next_job(self, workers: int) -> Job | None:
        """The most urgent segment for that many workers; it counts as in flight until `ended` or `lost` is told."""
        return self._begun(self.planner.take(workers))

    def reached(self, run_id: str) -> Job | None:
        """A segment is done, and its workers wait: the run's next segment where the plan wants it at once."""
        segment = self.planner.flying[run_id]
        self._refresh(segment)
        self._settle()
        return self._begun(self.planner.take_on(run_id))

    def ended(self, run_id: str) -> None:
        """A segment is over, and the ledger says how."""
        segment = self.planner.flying[run_id]
        self._refresh(segment)
        self._settle()

    def lost(self, run_id: str, reason: str, preempted: bool = False) -> None:
        """The process of a segment is gone, `preempted` with its machine, which does not count.

        After three losses in a row while it was trained, or 20 before it began, without an epoch in between, the run
        has failed.
        """
        segment, losses = self.planner.flying[run_id], self._losses[run_id]
        where = run_folder(self.folder, run_id) / WHERE
        begun, epochs = where.exists(), len(ledger.read_run_epochs(self.folder, run_id))
        where.unlink(missing_ok=True)
        if epochs > losses.epochs:
            losses.begun, losses.unbegun, losses.epochs = 0, 0, epochs
        losses.preemptions += preempted
        losses.retries += not preempted
        losses.begun += begun and not preempted
        losses.unbegun += not begun and not preempted
        count, limit = (losses.begun, LOST_LIMIT) if begun else (losses.unbegun, UNBEGUN_LIMIT)
        self.progress.lost(segment, reason, 0 if preempted else count, limit)
        if count >= limit:
            record_end(self.job(segment), "failed", "lost", f"its process was lost {limit} times: {reason}")
        self._refresh(segment)
        self._settle()

    def job(self, segment: Segment) -> Job:
        """What a process needs to train the segment."""
        config, teacher_file, sha256 = segment.config, "", ""
        if config.teacher is not None:
            source = self.study.teachers[segment.cell.teacher]
            if isinstance(source, TeacherFile):
                teacher_file, sha256 = str(local_file(source, self.folder)), source.sha256
            else:
                run_id = config.teacher.weights.removeprefix("run:")
                teacher_file = str(student_path(self.folder, run_id))
                sha256 = self.planner.view[run_id].student_sha256
        initial, initial_sha256 = self._initial(config.initial)
        losses = self._losses[segment.run_id]
        return Job(
            folder=str(self.folder),
            study=self.study.name,
            config=config.to_json(),
            until=segment.until,
            phase=segment.phase,
            student_family=self._families[config.student],
            teacher_family=self._families[segment.cell.teacher] if config.teacher else "",
            data_root=str(self.data_root),
            data_source=self.data_source,
            initial_file=initial,
            initial_sha256=initial_sha256,
            teacher_file=teacher_file,
            teacher_sha256=sha256,
            workers=self.study.workers_of(segment.cell.method),
            retries=losses.retries,
            preemptions=losses.preemptions,
            keep_student=outlives(self.keep, segment.phase),
            trial=segment.trial,
            named=self._named(segment),
        )

    def _named(self, segment: Segment) -> dict[str, str]:
        """Columns of a run that only trains on what its method has pre-trained: it is one of that method's."""
        cell, study = segment.cell, self.study
        if cell.method == segment.config.method.name or segment.phase in ("teacher", "pretrain"):
            return {}
        options = as_text(default_options(study, cell))
        taught = {"teacher": teacher_name(study, cell), "teacher_family": self._families.get(cell.teacher, "")}
        return {"method": cell.method, "options": options, **(taught if cell.teacher else {})}

    def _initial(self, weights: str) -> tuple[str, str]:
        """The file of the weights that a run starts from, and its SHA-256; empty where there are none."""
        if not weights:
            return "", ""
        if self.planner.runs.trained_here(weights):
            run_id = weights.removeprefix(RUN)
            return str(student_path(self.folder, run_id)), self.planner.view[run_id].student_sha256
        name = initial_name(weights)
        return str(initial_file(name, self.folder)), initial_sha256(name, self.folder)

    def live(self) -> dict[str, Any]:
        """What `driver.json` says beside who drives: how far the study is, and the runs in flight."""
        flying = list(self.planner.flying.values())
        return {
            "slots": self.progress.slots,
            "price": self.price,
            "gpu_share": self.study.gpu_share,
            "counts": self.planner.counts(),
            "seconds_left": self.progress.seconds_left(),
            "running": [
                {
                    "run_id": segment.run_id,
                    "since": self._since.get(segment.run_id),
                    "phase": segment.phase,
                    "cell": list(segment.cell),
                    "seed": segment.config.seed,
                    "until": segment.until,
                    "epochs": segment.config.recipe.epochs,
                }
                for segment in flying
            ],
        }

    def finish(self) -> None:
        """The last matrix; what a longer search replaced is set aside, and students that are not kept are removed."""
        set_aside_superseded(self.folder, self.planner.superseded())
        self.write_matrix()
        if self.planner.complete:
            drop_students(self.folder, self.planner, self.keep)

    def write_matrix(self) -> None:
        """Every cell, setting and seed that was asked for, as it stands."""
        start = time.monotonic()
        running = frozenset(self.planner.flying)
        rows = matrix_rows(self.planner.scope, self.planner.rows(), self._families, running)
        ledger.write_matrix(self.folder, rows)
        took = time.monotonic() - start
        self._matrix_due = time.monotonic() + max(MATRIX_EVERY, took / MATRIX_SHARE)

    def _begun(self, segment: Segment | None) -> Job | None:
        if segment is None:
            return None
        self._since[segment.run_id] = time.time()
        self.progress.began(segment)
        return self.job(segment)

    def _refresh(self, segment: Segment) -> None:
        self._since.pop(segment.run_id, None)
        state = read_state(self.folder, segment.run_id)
        self.planner.update(segment.run_id, state)
        if state.status:
            self._losses.pop(segment.run_id, None)
            row = ledger.read_run(self.folder, segment.run_id)
            assert row is not None
            self.progress.ended(segment, row)
            self._ended += 1
            if self._ended % GATHER_EVERY == 0:
                ledger.gather(self.folder)

    def _settle(self) -> None:
        """Record what the plan gave up as pruned, and now and then the matrix."""
        for segment in self.planner.prune():
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
    task = create_task(study.task, study.data, num_classes=2)
    return frozenset(name for name in models if has_batchnorm(task.student(name, seed=0)))


def run_here(driver: Driver) -> None:
    """Drive the study to its end in this process, one segment after the other, each on one worker.

    Raises Fatal, naming the file, for what concerns every run.
    """
    with driver.progress.ticking():
        while (kind := driver.kind()) is not None:
            job = driver.next_job(kind)
            assert job is not None
            try:
                execute(job)
            except STOPS_STUDY as error:
                raise Fatal(first_line(error)) from error
            driver.ended(job.run.run_id)
    driver.finish()
