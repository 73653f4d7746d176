"""A study at one moment, read from its folder: what has ended, is in flight, and has cost. No Ray, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import ledger, storage
from analysis.cost import device_hours, gpu_share
from analysis.definition import below, read_definition
from analysis.live import Driver, read_driver
from analysis.schema import LedgerError
from analysis.storage import Folder

COLUMNS = (
    "run_id", "status", "phase", "teacher", "student", "method", "seed", "seconds", "workers", "device", "retries",
    "preemptions", "failure_class", "message",
)  # fmt: skip


@dataclass(frozen=True)
class Running:
    """A run in flight: `epoch` of `epochs` done, `since` in seconds of the epoch, 0 where that is not known."""

    run_id: str
    phase: str
    cell: tuple[str, str, str]
    seed: int
    epoch: int
    epochs: int
    since: float
    host: str
    device: str


@dataclass(frozen=True)
class Picture:
    """A study at one moment. `task`: what is learnt, empty where that is classification; `rows`: the matrix, `ended`:
    COLUMNS of the runs that have ended, `running`: the runs in flight, `paused`: how many runs have begun and wait,
    `hours`: device-hours spent so far, `damaged`: what is wrong with study.json, then read as empty."""

    folder: str
    name: str
    task: str
    driver: Driver | None
    rows: list[dict[str, Any]]
    ended: pd.DataFrame
    running: list[Running]
    paused: int
    hours: float
    damaged: str = ""


class Reader:
    """Looks at a folder again and again; a run that has ended is read once."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._ended: dict[str, dict[str, Any]] | None = None

    def look(self) -> Picture:
        """The study as it is now. Raises LedgerError where the folder holds none."""
        driver, rows = read_driver(self.folder), ledger.read_matrix_rows(self.folder)
        run_ids = ledger.list_run_folders(self.folder)
        if not rows and driver is None and not run_ids:
            nothing = "nothing of a study here yet: no matrix.parquet, driver.json or runs"
            raise LedgerError(f"{self.folder}: {nothing}{below(self.folder)}")
        ended = self._look_ended()
        begun = {run_id: ledger.read_run_epochs(self.folder, run_id) for run_id in run_ids if run_id not in ended}
        running = []
        if driver is not None and driver.alive:
            running = [run for run in self._running(driver, begun) if run.run_id not in ended]
        frame = pd.DataFrame(list(ended.values()), columns=list(COLUMNS))
        study, damaged = _study(self.folder)
        return Picture(
            folder=str(self.folder),
            name=str(study.get("name", "")) or (str(rows[0]["study"]) if rows else ""),
            task=_task(study),
            driver=driver,
            rows=[_corrected(row, ended, {run.run_id for run in running}) for row in rows],
            ended=frame,
            running=running,
            paused=sum(bool(epochs) for epochs in begun.values()) - sum(bool(run.epoch) for run in running),
            hours=self._hours(frame, begun, running, study),
            damaged=damaged,
        )

    def _look_ended(self) -> dict[str, dict[str, Any]]:
        if self._ended is None:
            found = ledger.read_runs(self.folder, COLUMNS).astype(object)
            rows = found.where(found.notna(), None).to_dict("records")
            self._ended = {str(row["run_id"]): {str(key): value for key, value in row.items()} for row in rows}
            return self._ended
        now = set(ledger.list_runs(self.folder))
        for run_id in self._ended.keys() - now:
            del self._ended[run_id]
        for run_id in sorted(now - self._ended.keys()):
            if row := ledger.read_run(self.folder, run_id):
                self._ended[run_id] = {name: row[name] for name in COLUMNS}
        return self._ended

    def _running(self, driver: Driver, begun: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Running]:
        found = []
        for entry in driver.running:
            run_id = str(entry["run_id"])
            try:
                where = json.loads(storage.read_file(self.folder, f"runs/{run_id}/_where.json") or b"{}")
            except ValueError:
                where = {}
            teacher, student, method = entry["cell"]
            found.append(
                Running(
                    run_id=run_id,
                    phase=str(entry["phase"]),
                    cell=(teacher, student, method),
                    seed=int(entry["seed"]),
                    epoch=len(begun.get(run_id, ())),
                    epochs=int(entry["until"]),
                    since=float(entry.get("since") or 0),
                    host=str(where.get("host", "")),
                    device=str(where.get("device", "")),
                )
            )
        return found

    def _hours(
        self,
        ended: pd.DataFrame,
        begun: Mapping[str, Sequence[Mapping[str, Any]]],
        running: Sequence[Running],
        study: Mapping[str, Any],
    ) -> float:
        """Device-hours of what has ended and of the epochs of what has not."""
        runs = {run.run_id: run for run in running}
        workers = study.get("workers", 1)
        rows = []
        for run_id, epochs in begun.items():
            run = runs.get(run_id)
            count = workers if isinstance(workers, int) else workers.get(run.cell[2] if run else "", 1)
            seconds = sum(row["seconds"] or 0.0 for row in epochs)
            rows.append({"seconds": seconds, "workers": count, "device": run.device or None if run else None})
        share = gpu_share(self.folder)
        parts = (ended, pd.DataFrame(rows, columns=["seconds", "workers", "device"]))
        return sum(float(device_hours(part, share).sum()) for part in parts)


def _study(folder: Folder) -> tuple[Mapping[str, Any], str]:
    try:
        return read_definition(folder), ""
    except LedgerError as refusal:
        return {}, str(refusal)


def _task(study: Mapping[str, Any]) -> str:
    name = str(study.get("task", {}).get("name", ""))
    return "" if name == "classification" else name


def _corrected(row: dict[str, Any], ended: Mapping[str, Mapping[str, Any]], running: set[str]) -> dict[str, Any]:
    """A matrix row with what has happened since it was written."""
    run = ended.get(row["run_id"])
    if run is not None:
        return {**row, "status": run["status"], "reason": run["message"]}
    if row["run_id"] in running:
        return {**row, "status": "running"}
    return {**row, "status": "waiting"} if row["status"] in ("running", "finished") else row
