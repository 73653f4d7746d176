"""What a person reads while a study runs: plain lines, one for each run that ends and one now and then in between."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

import pandas as pd

from analysis import ledger
from sweeps.cells import Row, Segment
from sweeps.planner import Planner
from sweeps.study import SCRATCH, Cell

SCORES = ("exported", "test_last_raw", "test_last_ema")
COLUMNS = ("run_id", "student", "teacher", "method", "seconds", "epochs_done", *SCORES)
EVERY = 10.0
ENDED = ("finished", "pruned", "diverged", "failed")


def duration(seconds: float) -> str:
    """A time span as a person says it: 48 s, 12 min, 3 h 05 min, 4 d 7 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


class Progress:
    """Counts, speeds and gains of one study while it runs. Shows test scores; nothing here decides anything."""

    def __init__(self, planner: Planner, folder: Path, stream: TextIO | None = None, slots: int = 1) -> None:
        self.planner, self.slots = planner, slots
        self.flying: Mapping[str, Segment] = {}
        self._stream = stream or sys.stdout
        self._scores: dict[str, float] = {}
        self._speeds: dict[Cell, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        for row in ledger.read_runs(folder, columns=COLUMNS).to_dict("records"):
            self._note({str(key): value for key, value in row.items()})

    def say(self, line: str) -> None:
        """One line, at once, also into a pipe."""
        with self._lock:
            print(line, file=self._stream, flush=True)

    def ended(self, segment: Segment, row: Mapping[str, Any]) -> None:
        """A run has ended: its row of the ledger."""
        self._note(row)
        done, total = self.counts()
        text = f"[{done}/{total}] {row['status']:8} {segment.phase:7} {segment.cell} seed {row['seed']}"
        score = self._scores.get(str(row["run_id"]))
        if score is not None and segment.phase != "search":
            text += f": {score:.2f} % on test"
        if row["status"] in ("diverged", "failed"):
            text += f": {row['message']}"
        self.say(f"{text} ({duration(row['seconds'])})")

    def status(self) -> str:
        """What is being done, how far it is, how long it will take and the best gain so far."""
        done, total = self.counts()
        failed = sum(1 for status in self._statuses().values() if status in ("diverged", "failed"))
        phases = [segment.phase for segment in list(self.flying.values())]
        doing = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases)) or "nothing"
        line = f"running {doing}; {done} of {total} runs done, {failed} failed; {self.time_left()}"
        return f"{line}; {gain}" if (gain := self.best_gain()) else line

    def counts(self) -> tuple[int, int]:
        """Runs that have ended, and all that are expected."""
        statuses = self._statuses()
        unknown = sum(unit.unknown_runs for unit in self.planner.asked_units())
        return sum(status in ENDED for status in statuses.values()), len(statuses) + unknown

    def _statuses(self) -> dict[str, str]:
        return {run: status for unit in self.planner.asked_units() for run, status in unit.runs.items()}

    def time_left(self) -> str:
        """An estimate from the speed of this study's own runs."""
        known = {cell: fmean(speeds) for cell, speeds in self._speeds.items()}
        if not known:
            return "time left unknown yet"
        by_method = {cell.method: fmean(v for c, v in known.items() if c.method == cell.method) for cell in known}
        slowest = max(by_method.values())
        seconds = 0.0
        for unit in self.planner.asked_units():
            speed = known.get(unit.cell, by_method.get(unit.cell.method, slowest))
            seconds += speed * unit.left
        return f"about {duration(seconds / max(1, self.slots))} left"

    def best_gain(self) -> str:
        """The setting with the largest mean gain over scratch, paired by seed, on the seeds that are there."""
        rows = [row for row in self.planner.rows() if row.run_id in self._scores]
        scratch = {(row.cell.student, row.seed): row for row in rows if row.setting == SCRATCH}
        gains: dict[tuple[Cell, str], list[float]] = defaultdict(list)
        for row in rows:
            base = scratch.get((row.cell.student, row.seed))
            if row.setting != SCRATCH and base is not None:
                gains[row.cell, row.setting].append(self._score(row) - self._score(base))
        if not gains:
            return ""
        (cell, setting), found = max(gains.items(), key=lambda item: fmean(item[1]))
        return f"best gain so far {fmean(found):+.2f} points ({cell}, {setting}, n = {len(found)})"

    def _score(self, row: Row) -> float:
        return self._scores[str(row.run_id)]

    def _note(self, row: Mapping[str, Any]) -> None:
        if row["exported"] in ("raw", "ema"):
            score = row[f"test_last_{row['exported']}"]
            if score is not None and not pd.isna(score):
                self._scores[str(row["run_id"])] = float(score)
        if row["epochs_done"]:
            cell = Cell(str(row["teacher"]), str(row["student"]), str(row["method"]))
            self._speeds[cell].append(float(row["seconds"]) / int(row["epochs_done"]))

    @contextmanager
    def ticking(self, every: float = EVERY) -> Iterator[None]:
        """A status line every so many seconds for the time of the block."""
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(every):
                self.say(f"  {time.strftime('%H:%M:%S')} {self.status()}")

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
