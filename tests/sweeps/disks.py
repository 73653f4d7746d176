"""A study on a simulated cluster whose disk is bad, in virtual time: the real driver, ledger and checkpoints, no Ray.

Processes die, are taken for dead, and are started again; the command is given again whenever it ended with a line.
"""

from __future__ import annotations

import heapq
import io
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from bad_disk import KINDS, Client, Killed, PowerCut, Server
from stored import stored_study, stored_train
from test_driver import lasting

import analysis.bulk
import sweeps.engine.driver
import sweeps.engine.runs
from analysis import storage
from analysis.schema import LedgerError
from pat.config import ConfigError
from pat.io import LocalIO
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import Failure
from sweeps.engine.hold import Superseded
from sweeps.engine.jobs import Job
from sweeps.engine.keep import retry
from sweeps.engine.records import machine
from sweeps.engine.runs import STOPS_STUDY, execute
from sweeps.store import open_study

DEVICES, EPOCH_SECONDS, STARTS = 2, 20.0, 40
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def plan_of(rng: random.Random) -> dict[int, tuple[str, int]]:
    """Up to eight faults among the first operations of a study, which makes some 430 where nothing happens."""
    amounts = {"error": (1, 2, 5, 40), "full": (1, 3), "jump": (-86_400, 3_600)}
    faults = {}
    for _ in range(rng.randint(1, 8)):
        kind = rng.choice(KINDS)
        faults[rng.randint(1, 600)] = kind, rng.choice(amounts.get(kind, (1,)))
    return faults


class Cluster:
    """Runs a study on `DEVICES` machines of a seed; `lines` are those with which the command ended before its end.

    Raises AssertionError where a run is handed out that has ended.
    """

    def __init__(self, place: Path, seed: int, faults: bool = True) -> None:
        self.rng, self.place, self.study = random.Random(seed), place, stored_study()
        kind = self.rng.choice(("plain", "nfs", "late")) if faults else "plain"
        plan = plan_of(self.rng) if faults else {}
        self.zombies = self.rng.choice((0.0, 0.2)) if faults else 0.0
        if kind == "late":  # a store has no names that power could lose
            plan = {number: fault for number, fault in plan.items() if fault[0] != "power"}
        self.server = Server(plan, self.rng, kind == "nfs", 90.0 * (kind == "late"))
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self._names, self._cut_off = itertools.count(), ""
        machine()  # asks git, and waits for it
        (place / self.study.name).mkdir(parents=True, exist_ok=True)  # on the real disk, for who asks it for rights

    def run(self) -> Tables:
        """The study to its end; its tables."""
        with self._installed():
            for _ in range(STARTS):
                try:
                    if self._command():
                        self.server.sleep(self.server.late)  # until everybody sees what there is
                        self._as("reader")
                        return lasting(self.place / self.study.name)
                except (LedgerError, ConfigError, Fatal) as error:
                    self.lines.append(str(error))
                except Killed:
                    self.counts["drivers killed"] += 1
                except PowerCut:
                    self.counts["power cuts"] += 1
                self.server.full = self.server.failing = 0  # somebody has seen to it
                self.server.sleep(30.0)
                self._as_told()
        raise AssertionError(f"not complete after {STARTS} starts: {self.lines[-1:]}, {self.server.happened}")

    def _as_told(self) -> None:
        """What the last line asks for: of a run whose row and epochs disagree the record is set aside."""
        _, asked, run_id = (self.lines or [""])[-1].partition("--retry ")
        if asked and self.counts["retried"] < len(self.lines):
            self.counts["retried"] = len(self.lines)
            self.server.sleep(self.server.late)
            self._as("person")
            retry(self.place / self.study.name, run_id)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        with (
            mock.patch.object(storage, "disk", storage.disk),
            mock.patch("time.sleep", self.server.sleep),
            mock.patch.object(sweeps.engine.runs, "train", stored_train),
            mock.patch.object(sweeps.engine.driver, "GATHER_EVERY", 2),
            mock.patch.object(analysis.bulk, "_WORTH", 1),
            mock.patch("sys.stderr", io.StringIO()),
        ):
            yield

    def _as(self, name: str) -> Client:
        client = Client(self.server, f"{name} {next(self._names)}")
        storage.disk = client
        return client

    def _command(self) -> bool:
        """One start of the command; whether the study is complete."""
        own = self._as("driver")
        self.server.make(str(self.place))
        storage.catch_up(self.place / self.study.name)
        folder, grown = open_study(self.place, self.study)
        driver = Driver(folder, grown, self.study, self.place, stream=io.StringIO())
        heap: list[tuple[float, int, Job]] = []
        while True:
            while len(heap) < DEVICES and (kind := driver.kind()) is not None:
                job = driver.next_job(kind)
                assert job is not None
                assert not self._ended(job), f"run {job.run.run_id} has ended and is handed out"
                seconds = EPOCH_SECONDS * job.until * self.rng.lognormvariate(0, 0.5)
                heapq.heappush(heap, (self.server.now + seconds, next(self._names), job))
            if not heap:
                break
            end, _, job = heapq.heappop(heap)
            self.server.now = max(self.server.now, end)
            self._segment(driver, own, job)
        driver.finish()
        return driver.planner.complete

    def _ended(self, job: Job) -> bool:
        """Whether the run's row is on the disk, seen or not."""
        row = self.server.files.get(f"{job.folder}/runs/{job.run.run_id}/run.parquet")
        return bool(row and row[-1].content)

    def _segment(self, driver: Driver, own: Client, job: Job) -> None:
        run_id, lost = job.run.run_id, ""
        worker = self._as("worker")
        self._cut_off = run_id if self.rng.random() < self.zombies else ""

        def make_io(*given: Any) -> LocalIO:
            return CutOff(*given, on_cut=lambda: self._succeed(driver, own, worker, run_id))

        try:
            execute(job, make_io)
        except STOPS_STUDY as error:
            raise Fatal(str(error)) from error
        except Killed:
            lost = "killed"
        except Superseded:
            self.counts["fenced"] += 1
        storage.disk = own
        if run_id not in driver.planner.flying:
            return  # its successor has ended it
        if lost:
            self.counts["workers killed"] += 1
            driver.lost(run_id, Failure(lost, preempted=True))
        else:
            driver.ended(run_id)

    def _succeed(self, driver: Driver, own: Client, zombie: Client, run_id: str) -> None:
        """In the middle of a run its machine is taken for dead; another one does the segment; then it is back."""
        if self._cut_off != run_id:
            return
        self._cut_off = ""
        storage.disk = own
        driver.lost(run_id, Failure("no answer", preempted=True))
        segment = driver.planner.take_on(run_id)
        if segment is not None:
            successor = driver.job(segment)
            self._as("worker")
            try:
                execute(successor, LocalIO)
            except STOPS_STUDY as error:
                raise Fatal(str(error)) from error
            except Killed:
                storage.disk = own
                driver.lost(run_id, Failure("killed", preempted=True))
            else:
                storage.disk = own
                driver.ended(run_id)
        storage.disk = zombie


class CutOff(LocalIO):
    """A worker that others take for dead after an epoch."""

    def __init__(self, *given: Any, on_cut: Any) -> None:
        super().__init__(*given)
        self.on_cut = on_cut

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        super().report(history, state)
        self.on_cut()
