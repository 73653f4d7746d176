"""What a person reads while a study runs: one line for each event, with its run_id; in between, on a terminal, lines
that stay and are drawn anew, elsewhere one now and then where something has changed."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, TextIO

import pandas as pd

from analysis.chance import at_chance
from analysis.metrics import METRICS
from analysis.words import duration
from pat.tasks import task_class
from sweeps.engine.repeat import repeating
from sweeps.looking.region import Region, is_terminal
from sweeps.planning.chain import chain_seconds
from sweeps.planning.planner import Planner
from sweeps.planning.units import Row, Segment
from sweeps.planning.view import NOT_STARTED
from sweeps.study import SCRATCH, Cell

COLUMNS = ("run_id", "exported", "test_last_raw", "test_last_ema")
EVERY, DRAWN_EVERY = 10.0, 2.0
LATEST = 600.0
"""Seconds after which a line comes though nothing has changed."""
SHOWN = 8
"""Runs in flight that are named; of the others there is a number."""


class Progress:
    """Scores and gains of one study while it runs. Shows test scores; nothing here decides anything.

    `ended`: the runs that the ledger had at the start, with COLUMNS at least. `slots` runs go on at a time;
    `verbose`: a line also for each segment that begins. `since`: when each run in flight was handed out; `beside`: how
    many share its process, itself among them; `chance`: what a constant answer scores on the test images, in percent;
    `epochs`: what a run in flight has recorded; `spent`: device-hours and money of this call, in words.
    """

    def __init__(
        self,
        planner: Planner,
        ended: pd.DataFrame,
        stream: TextIO | None = None,
        slots: int = 1,
        verbose: bool = False,
    ) -> None:
        self.planner, self.slots, self.verbose = planner, slots, verbose
        self.since: Mapping[str, float] = {}
        self.beside: dict[str, int] = {}
        self.chance: float | None = None
        self.epochs: Callable[[str], Sequence[Mapping[str, Any]]] = lambda run_id: ()
        self.spent: Callable[[], str] = lambda: ""
        self._region: Region | None = None
        self._last, self._last_time = "", -LATEST
        self._cells: tuple[int, str, str] = -1, "", ""
        self._stream = stream or sys.stdout
        self._scores: dict[str, float] = {}
        self._lock = threading.Lock()
        for row in ended[list(COLUMNS)].to_dict("records"):
            self._note({str(key): value for key, value in row.items()})

    def say(self, line: str) -> None:
        """One line, at once, also into a pipe."""
        with self._lock:
            if self._region is not None:
                self._region.say(line)
            else:
                print(line, file=self._stream, flush=True)

    def began(self, segment: Segment) -> None:
        """A segment has been handed out; said only with `verbose`."""
        if self.verbose:
            self._event("started", segment, f" to epoch {segment.until} of {segment.config.recipe.epochs}")

    def lost(self, segment: Segment, reason: str, count: int, limit: int, place: str = "") -> None:
        """The process of a segment is gone, for the `count`-th time of `limit` without progress (0: not counted)."""
        where = f" on {place}" if place else ""
        self._event("lost", segment, f": {reason}{where} ({f'{count} of {limit}' if count else 'does not count'})")

    def ended(self, segment: Segment, row: Mapping[str, Any]) -> None:
        """A run has ended: its row of the ledger."""
        self._note(row)
        self.planner.speeds.note(segment.key, float(row["seconds"]), int(row["epochs_done"]))
        text, score = "", self._scores.get(str(row["run_id"]))
        if score is not None and segment.phase != "search":
            guesses = ", at chance" if at_chance(score, self.chance, row.get("test_images")) else ""
            text = f": {METRICS[str(row['metric'])].told(score)} on test{guesses}"
        if row["status"] == "failed":
            text = f", {row['failure_class']}: {row['message']}"
        elif row["status"] == "diverged":
            text = f": {row['message']}"
        self._event(row["status"], segment, f"{text} ({duration(row['seconds'])})")

    def _event(self, what: str, segment: Segment, text: str) -> None:
        done, total = self.planner.counts()
        run = f"{segment.cell} seed {segment.config.seed} {segment.run_id}"
        self.say(f"[{done}/{total}] {what:8} {segment.phase:7} {run}{text}")

    def status(self) -> str:
        """What is being done, how far it is, how long it will take and the best gain so far."""
        done, total = self.planner.counts()
        phases = [segment.phase for segment in list(self.planner.flying.values())]
        doing = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases)) or "nothing"
        failed = self.planner.failed()
        line = f"running {doing}; {done} of {total} runs done, {failed} failed; {self.time_left()}"
        return f"{line}; {gain}" if (gain := self.best_gain()) else line

    def time_left(self) -> str:
        """How long it will still take, in words."""
        seconds = self.seconds_left()
        return "time left unknown yet" if seconds is None else f"about {duration(seconds)} left"

    def seconds_left(self) -> float | None:
        """An estimate from what an epoch of each unit takes; None where nothing is known of any.

        What is left is shared by the slots, but never takes less than the longest row of runs that wait for each
        other. Of a run in flight, what it should have done since its segment began counts as done.
        """
        planner = self.planner
        left, speeds = planner.left(), planner.speeds
        if all(speeds.source(key) == "none" for key in left):
            return None
        passed = self._passed()
        work = sum(speeds.seconds(key) * epochs for key, epochs in left.items()) - sum(passed.values())
        return max(work / max(1, self.slots), chain_seconds(planner, speeds, passed))

    def _passed(self) -> dict[str, float]:
        """The seconds that each run in flight has been at its segment, at most as long as that should take."""
        found, now = {}, time.time()
        for segment in list(self.planner.flying.values()):
            epochs = segment.until - self.planner.view.get(segment.run_id, NOT_STARTED).epochs
            most = epochs * self.planner.speeds.seconds(segment.key)
            passed = (now - self.since.get(segment.run_id, now)) / self.beside.get(segment.run_id, 1)
            found[segment.run_id] = min(passed, most)
        return found

    def best_gain(self) -> str:
        """The setting with the largest mean gain over scratch, paired by seed, on the seeds that are there."""
        rows = [row for row in self.planner.rows() if row.run_id in self._scores]
        scratch = {(row.cell.student, row.seed): row for row in rows if row.setting == SCRATCH}
        gains: dict[tuple[Cell, str], list[float]] = defaultdict(list)
        for row in rows:
            base = scratch.get((row.cell.student, row.seed))
            if row.setting in ("default", "tuned") and base is not None:
                gains[row.cell, row.setting].append(self._score(row) - self._score(base))
        if not gains:
            return ""
        (cell, setting), found = max(gains.items(), key=lambda item: fmean(item[1]))
        points = METRICS[task_class(self.planner.study.task.name).metric].points
        return f"best gain so far {fmean(found):+.2f} {points} ({cell}, {setting}, n = {len(found)})"

    def _score(self, row: Row) -> float:
        return self._scores[str(row.run_id)]

    def _note(self, row: Mapping[str, Any]) -> None:
        if row["exported"] in ("raw", "ema"):
            score = row[f"test_last_{row['exported']}"]
            if score is not None and not pd.isna(score):
                self._scores[str(row["run_id"])] = float(score)

    @contextmanager
    def ticking(self, every: float = EVERY) -> Iterator[None]:
        """For the time of the block how far the study is: on a terminal drawn anew again and again, else every so many
        seconds a line where there is something new. With `verbose` lines everywhere: workers write there, too."""
        if self.verbose or not is_terminal(self._stream):
            with repeating(self._tick, every):
                yield
            return
        self._region = Region(self._stream)
        try:
            with repeating(self._draw, DRAWN_EVERY):
                yield
        finally:
            with self._lock:
                self._region.close()
                self._region = None

    def _tick(self) -> None:
        """A line, unless it says what the last one said."""
        flying = list(self.planner.flying.values())
        known = self._known()
        if len(flying) <= SHOWN:
            known += "".join(f"; {segment.cell} {self._epoch(segment)[0]}" for segment in flying)
        if known == self._last and time.monotonic() - self._last_time < LATEST:
            return
        self._last, self._last_time = known, time.monotonic()
        epochs = ", ".join(self._epoch(segment)[0] for segment in flying) if len(flying) <= SHOWN else ""
        self.say(f"  {time.strftime('%H:%M:%S')} {self.status()}" + (f"; {epochs}" if epochs else ""))

    def _draw(self) -> None:
        lines = self.lines()
        with self._lock:
            if self._region is not None:
                self._region.show(lines)

    def lines(self) -> list[str]:
        """How far the study is, what it has cost, and each run in flight with its epoch and its best score."""
        done, total = self.planner.counts()
        if self._cells[0] != done:  # rows are many, and change when a run ends
            self._cells = done, self._cells_done(), self.best_gain()
        parts = [f"{done} of {total} runs", self._cells[1], f"{self.planner.failed()} failed", self.spent()]
        lines = ["; ".join(filter(None, [*parts, self.time_left()])), *filter(None, [self._cells[2]])]
        flying = list(self.planner.flying.values())
        for segment in flying[:SHOWN]:
            epoch, best = self._epoch(segment)
            passed = duration(max(0.0, time.time() - self.since.get(segment.run_id, time.time())))
            what = f"{segment.phase:7} {segment.cell} seed {segment.config.seed}"
            lines.append("  ".join(filter(None, [f"  {epoch:14}", what, best, passed])))
        if len(flying) > SHOWN:
            lines.append(f"  and {len(flying) - SHOWN} more")
        return lines

    def _epoch(self, segment: Segment) -> tuple[str, str]:
        """Which epoch a run in flight is in, and its best score on validation so far."""
        rows, recipe = self.epochs(segment.run_id), segment.config.recipe
        weights = "ema" if recipe.ema_decay else "raw"
        scores = [row[f"val_score_{weights}"] for row in rows]
        known = [score for score in scores if score is not None and not pd.isna(score)]
        metric = METRICS[task_class(segment.config.task.name).metric]
        best = f"best {metric.number(max(known))}" if known else ""
        return f"epoch {min(len(rows) + 1, recipe.epochs)} of {recipe.epochs}", best

    def _cells_done(self) -> str:
        cells: dict[Cell, bool] = {}
        for row in self.planner.rows():
            cells[row.cell] = cells.get(row.cell, True) and row.status == "finished"
        return f"{sum(cells.values())} of {len(cells)} cells"

    def _known(self) -> str:
        """What `status` says beside the time that is left."""
        done, total = self.planner.counts()
        phases = [segment.phase for segment in list(self.planner.flying.values())]
        return f"{sorted(phases)} {done} {total} {self.planner.failed()}"
