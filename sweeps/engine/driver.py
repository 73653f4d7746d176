"""The driver of a study: hands out segments, and after each one takes up what the ledger says.

It holds no state that is not in the ledger. `alone.run_here` drives a study in this process, `launch` on Ray.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TextIO

from analysis import ledger, storage
from analysis.cost import money
from analysis.live import closed_places
from analysis.points import reached
from analysis.words import counted, duration
from pat.models import family
from sweeps.engine.endings import Fatal, Paused
from sweeps.engine.health import Failure, Health, Place, is_among
from sweeps.engine.job_of import job_of
from sweeps.engine.jobs import PAUSE, STOP, Job, asked_to_pause
from sweeps.engine.keep import (
    drop_students,
    set_aside,
    set_aside_superseded,
    set_aside_unreadable,
    tidy_up,
)
from sweeps.engine.kept import Keep
from sweeps.engine.limits import Limits
from sweeps.engine.live import live
from sweeps.engine.lock import Pulse
from sweeps.engine.patience import patience
from sweeps.engine.progress import COLUMNS, Progress
from sweeps.engine.quarantine import FILE as HEALTH
from sweeps.engine.quarantine import Quarantine
from sweeps.engine.records import record_end
from sweeps.engine.seen import all_seen, given_up, last_epoch, seen
from sweeps.engine.siblings import Found, adopt, adoptable
from sweeps.planning.matrix import matrix_rows
from sweeps.planning.planned import rungs_of
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key, Segment
from sweeps.planning.unsynced import unsynced_models
from sweeps.planning.view import NOT_STARTED, RUN_COLUMNS, read_state
from sweeps.study import Study
from sweeps.teacher_seeds import model_of
from sweeps.waves import read_waves, write_wave

GATHER_EVERY = 1000
"""Ended runs after which the ledger's many small files are gathered, so that a report need not open each."""
MATRIX_EVERY = 2.0
MATRIX_SHARE = 0.02
"""At most this share of the driver's time goes into writing the matrix."""


class Driver:
    """One study in its folder. `asked`: the part of it that this call is to complete.

    `gpus`: whether the cluster has some. `keep`: which students' files outlive their runs. `pulse` tells others what
    is running. `data_source`: where each machine fetches the data set from, into `data_root`. `together`: how many runs
    one process may train at a time. `changed`: what is to be said of own files that have changed.
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
        self.changed: list[str] = []
        self.together = 1
        self.limits = Limits()
        self.health = Health()
        self.quarantine = Quarantine(folder, self.health)
        self.since: dict[str, float] = {}
        self.process: dict[str, str] = {}
        self.families = {name: family(model_of(name)) for pair in study.pairs for name in pair}
        ended = ledger.read_runs(folder, columns=tuple(dict.fromkeys((*RUN_COLUMNS, *COLUMNS, "epochs_done"))))
        view = all_seen(folder, rungs_of(study), ended)
        self.planner = Planner(study, view, unsynced_models(study, gpus), asked, speeds, read_waves(folder))
        self.progress = Progress(self.planner, ended, stream, verbose=verbose)
        self.progress.since = self.since
        self.progress.epochs = partial(ledger.read_run_epochs, folder)
        self.progress.spent = self._spent
        self.elsewhere: list[tuple[Key, Found]] = []
        self._matrix_due, self._ended = 0.0, 0
        for request in (STOP, PAUSE):
            storage.remove_file(folder, request)
        for line in closed_places(self.health.why_closed(time.time())):
            self.progress.say(f"{line}; remove {folder / HEALTH} to try it at once")
        if pulse is not None:
            pulse.facts = lambda: live(self)

    def foresee(self) -> None:
        """Count on the finished teachers that studies under the same storage hold, without taking them over yet."""
        self.elsewhere = list(adoptable(self.folder, self.planner))
        for _, found in self.elsewhere:
            self.planner.update(found.run_id, read_state(found.folder, found.run_id))

    def adopt(self) -> bool:
        """Take over what was foreseen, and say so. Returns whether all of it could be."""
        counts: Counter[tuple[str, str]] = Counter()
        for key, found in self.elsewhere:
            if problem := adopt(self.folder, self.study.name, found):
                self.progress.say(f"not adopted: {problem}")
            else:
                counts[key.kind, found.folder.name] += 1
            self.planner.update(found.run_id, read_state(self.folder, found.run_id))
        for (kind, study), count in counts.items():
            self.progress.say(f"adopted {counted(count, f'finished {kind}')} from study {study!r}")
        return counts.total() == len(self.elsewhere)

    def kind(self) -> int | None:
        """How many workers the most urgent segment needs; None if none is ready."""
        return self.planner.kind()

    def next_job(self, workers: int) -> Job | None:
        """The most urgent segment for that many workers; it counts as in flight until `ended`, `declined` or `lost` is
        told."""
        self._settle()
        return self._begun(self.planner.take(workers))

    def next_jobs(self, workers: int) -> list[Job]:
        """The same with the segments that are to be trained beside it (`planning.together`); none if none is ready."""
        job = self.next_job(workers)
        if job is None:
            return []
        first = self.planner.flying[job.run.run_id]
        mates = self.planner.take_with(first, self.progress.slots, self.together)
        jobs = [job, *(mate for segment in mates if (mate := self._begun(segment)) is not None)]
        process = uuid.uuid4().hex
        for segment in (first, *mates):
            self.process[segment.run_id] = process
            self.progress.beside[segment.run_id] = len(jobs)
            self.limits.began(segment.run_id, self._devices(segment) / len(jobs))
        return jobs

    def crowded(self, run_id: str) -> None:
        """A segment had no room beside others: it is handed out alone."""
        self.planner.alone.add(run_id)
        self._refresh(self.planner.flying[run_id])

    def pausing(self) -> str:
        """Why nothing more is to be handed out; empty while the study goes on. Runs in flight end their epoch."""
        if reason := self.limits.reached():
            (self.folder / STOP).touch()
            return reason
        return "the study was asked to stop" if (self.folder / STOP).exists() else ""

    def check_pause(self) -> None:
        """Raises Paused where work is left that is not to be handed out."""
        if self.kind() is not None and (reason := self.pausing()):
            done, total = self.planner.counts()
            raise Paused(f"{reason}; {done} of {total} runs are done, the same command goes on from here")

    def declined(self, run_id: str, place: Place) -> None:
        """A segment came to a place that gets no work now, or where its run is not to be tried again.

        The latter waits until another place has done well, or nothing else is in flight.
        """
        self._landed(run_id)
        if is_among(place, self.health.closed(time.time())):
            self.planner.release(run_id)
        else:
            self.health.declined(run_id)
            self.planner.set_aside(run_id)

    def reached(self, run_id: str) -> Job | None:
        """A segment is done, and its workers wait: the run's next segment where the plan wants it at once."""
        segment = self.planner.flying[run_id]
        self._refresh(segment, segment.until)
        self._settle()
        return self._begun(self.planner.take_on(run_id))

    def ended(self, run_id: str, place: Place | None = None) -> None:
        """A segment is over, and the ledger says how; `place`: where its process, which goes on, has done well."""
        segment = self.planner.flying[run_id]
        reached("segment ended")
        if place is not None:
            self.health.well(place)
            self.planner.take_back()
        self._refresh(segment, 0 if asked_to_pause(self.folder) else segment.until)
        self._settle()

    def lost(self, run_id: str, failure: Failure, place: Place | None = None) -> None:
        """A segment came to a bad end at `place` (else where the run's folder says), and its process with it.

        The run goes on elsewhere, until `Health` finds that it has failed itself. Raises Fatal for what ends the study.
        """
        segment = self.planner.flying[run_id]
        self.planner.alone.add(run_id)  # it may be the one that took the others with it
        where, epochs = given_up(self.folder, run_id)
        if place is None and where and "slot" in (noted := json.loads(where)):
            place = Place(noted["host"], noted["slot"])
        begun = failure.said or where is not None
        if begun and not failure.said and (hung := self._hung(segment)):
            failure = Failure(hung)
        verdict = self.health.lost(run_id, failure, place, begun, epochs, time.time(), self.process.get(run_id, ""))
        self.progress.lost(segment, failure.text, verdict.count, verdict.limit, str(place or ""))
        if verdict.final and failure.kind == "stop":
            self.planner.release(run_id)
            raise Fatal(failure.text)
        if verdict.final:
            gone = f"its process was lost {verdict.limit} times: {failure.text}"
            record_end(self.job(segment), "failed", failure.kind, failure.text if failure.said else gone)
        self._refresh(segment)
        self._settle()

    def _hung(self, segment: Segment) -> str:
        """What is said of a segment whose process has ended itself; empty where its last epoch is not so long ago."""
        last = max(self.since.get(segment.run_id, 0.0), last_epoch(self.folder, segment.run_id))
        silent = time.time() - last
        return f"no new epoch for {duration(silent)}" if silent >= patience(self.planner.speeds, segment.key) else ""

    def job(self, segment: Segment) -> Job:
        """What a process needs to train the segment."""
        return job_of(self, segment)

    def finish(self) -> None:
        """The last matrix; what a longer search replaced is set aside, and students that are not kept are removed."""
        self._settle()
        set_aside_superseded(self.folder, self.planner.superseded())
        self.write_matrix()
        if self.planner.complete:
            tidy_up(self.folder, self.planner)
            drop_students(self.folder, self.planner, self.keep)

    def write_matrix(self) -> None:
        """Every cell, setting and seed that was asked for, as it stands."""
        start = time.monotonic()
        running = frozenset(self.planner.flying)
        rows = matrix_rows(self.planner.scope, self.planner.rows(), self.families, running)
        ledger.write_matrix(self.folder, rows)
        took = time.monotonic() - start
        self._matrix_due = time.monotonic() + max(MATRIX_EVERY, took / MATRIX_SHARE)

    def _begun(self, segment: Segment | None) -> Job | None:
        if segment is None:
            return None
        if self.planner.view.get(segment.run_id, NOT_STARTED).status == "pruned":
            self.progress.say(f"run {segment.run_id} was pruned and goes on after all: another one was made again")
            set_aside(self.folder, segment.run_id)
        self.since[segment.run_id] = time.time()
        self.limits.began(segment.run_id, self._devices(segment))
        self.progress.began(segment)
        reached("segment handed out")
        return self.job(segment)

    def _refresh(self, segment: Segment, until: int = 0) -> None:
        self._landed(segment.run_id)
        state = seen(self.folder, segment.run_id, until, ended=until == segment.config.recipe.epochs)
        self.planner.update(segment.run_id, state)
        for line in set_aside_unreadable(self.folder, segment.run_id):
            self.progress.say(line)
        if state.status:
            self.health.runs.pop(segment.run_id, None)
            row = ledger.read_run(self.folder, segment.run_id)
            assert row is not None
            self.progress.ended(segment, row)
            self._ended += 1
            if self._ended % GATHER_EVERY == 0:
                ledger.gather(self.folder)

    def _spent(self) -> str:
        """What this call has taken so far, in words."""
        hours = self.limits.spent()
        return f"{hours:.2f} device-hours" + ("" if self.price is None else f", {money(hours, self.price)}")

    def _landed(self, run_id: str) -> None:
        """A segment is no longer in flight, however that came."""
        self.since.pop(run_id, None)
        self.process.pop(run_id, None)
        self.progress.beside.pop(run_id, None)
        self.limits.over(run_id)

    def _devices(self, segment: Segment) -> float:
        """How many devices a segment takes."""
        workers = self.study.workers_of(segment.cell.method)
        return (self.study.gpu_share or 1.0) if self.gpus and workers == 1 else float(workers)

    def _settle(self) -> None:
        """Record the waves that the plan has drawn, what it gave up as pruned, what is known of devices and hosts, and
        now and then the matrix."""
        self.quarantine.keep()
        for segment in self.planner.prune():
            record_end(self.job(segment), "pruned")
            self._refresh(segment)
        for wave in self.planner.drawn():
            write_wave(self.folder, self.study, wave)
        if time.monotonic() >= self._matrix_due:
            self.write_matrix()
