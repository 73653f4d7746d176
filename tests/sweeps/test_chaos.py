"""A study whose processes are killed at random, again and again, ends with the table of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from chaos_study import chaos
from kill_at import POINTS
from test_driver import same

from analysis import read_runs
from sweeps.store import grown_study

KILLS, EVERY = 24, (5.0, 20.0)
VICTIMS = ("driver", "trial", "worker", "controller")
"""The process that drives the study, Tune's actors, and Ray Train's workers and controllers."""
TITLES = {"trial": "ray::ImplicitFunc", "worker": "ray::RayTrainWorker", "controller": "ray::TrainController"}
MARK = "CHAOS_OF_THIS_TEST"
ELSEWHERE = ("merge", "merge without the row", "half set aside")
"""Points that a study which is not merged and has nothing to retry does not come to: `test_points` does."""


OF_DRIVERS = ("write study.json", "wave drawn", "segment handed out", "segment ended", "write matrix.parquet", "gather")


class Points:
    """Named points of failure; a process that dies at one leaves a file in `died`."""

    def __init__(self, died: Path) -> None:
        died.mkdir(parents=True)
        self.files = {name: died / name.replace(" ", "_") for name in POINTS if name not in ELSEWHERE}

    def left(self) -> list[str]:
        return [name for name, file in self.files.items() if not file.exists()]

    def next(self) -> str:
        """PAT_FAIL_AT for the next start: one point for the driver and two for workers, or one run would die too often
        in a row."""
        own = [name for name in self.left() if name in OF_DRIVERS][:1]
        workers = [name for name in self.left() if name not in OF_DRIVERS][:2]
        return ";".join(f"{name}:1:{self.files[name]}" for name in (*own, *workers))


class Driver:
    """The command in a session of its own; all of its processes carry a mark in their environment."""

    def __init__(self, storage: Path, mark: str, log: Path, fail_at: str = "") -> None:
        script = Path(__file__).with_name("chaos_study.py")
        environment = {**os.environ, MARK: mark, "TMPDIR": str(storage / "tmp"), "RAY_TMPDIR": tempfile.gettempdir()}
        (storage / "tmp").mkdir(parents=True, exist_ok=True)
        with log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script), "--storage", str(storage)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**environment, "RAY_worker_niceness": "0", "PAT_FAIL_AT": fail_at},
            )


def marked(mark: str) -> dict[int, str]:
    """Living processes that carry the mark: pid -> title."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return {pid: title for pid, title in found.items() if title}


def victims(driver: Driver, mark: str) -> dict[str, list[int]]:
    """What could be killed now, by kind."""
    titles = marked(mark)
    found = {kind: [pid for pid, title in titles.items() if title.startswith(TITLES[kind])] for kind in TITLES}
    return {"driver": [driver.process.pid] if driver.process.poll() is None else [], **found}


def test_its_study_can_begin(tmp_path: Path) -> None:
    """The tests that use it are slow and seldom run: this one says at once that a name has moved or a rule is new."""
    assert len(grown_study(tmp_path, chaos()).pairs) == 2


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_chaos(tmp_path: Path) -> None:
    rng = random.Random(int(os.environ.get("CHAOS_SEED", "0")))
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    start = time.monotonic()
    assert Driver(calm, "calm", tmp_path / "calm.log").process.wait() == 0, (tmp_path / "calm.log").read_text()[-2000:]
    undisturbed = time.monotonic() - start

    start, killed, starts = time.monotonic(), Counter[str](), 1
    named = Points(tmp_path / "died")
    driver = Driver(wild, "wild", tmp_path / "wild.log", named.next())
    due = time.monotonic() + 20
    while (code := driver.process.poll()) != 0:
        if code is not None:
            driver, starts = Driver(wild, "wild", tmp_path / "wild.log", named.next()), starts + 1
            due = time.monotonic() + rng.uniform(15, 40)  # Ray takes a while to start
        if killed.total() < KILLS and time.monotonic() >= due:
            there = {kind: pids for kind, pids in victims(driver, "wild").items() if pids}
            if there:
                kind = min(there, key=lambda kind: (killed[kind], rng.random()))
                os.kill(rng.choice(there[kind]), signal.SIGKILL)
                killed[kind] += 1
            due = time.monotonic() + rng.uniform(*EVERY)
        time.sleep(0.2)
    disturbed = time.monotonic() - start
    print(f"undisturbed {undisturbed:.0f} s, disturbed {disturbed:.0f} s, {starts} starts, kills {dict(killed)}")
    print(f"named points hit: {len(named.files) - len(named.left())} of {len(named.files)}")

    assert not named.left()
    assert killed.total() >= 20 and set(killed) == set(VICTIMS), killed
    same(wild / "chaos", calm / "chaos")
    assert set(read_runs(wild / "chaos")["status"]) <= {"finished", "pruned"}
    deadline = time.monotonic() + 30
    while (left := {**marked("wild"), **marked("calm")}) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
    assert not list((wild / "tmp").glob("sweeps-tune-*"))
    assert [path.name for path in (wild / "chaos").rglob("_*")] == ["_driver.lock"]
