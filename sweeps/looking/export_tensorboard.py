"""The curves of a study as TensorBoard's event files, one for each run, written from the ledger. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from analysis import ledger
from analysis.live import read_driver
from analysis.schema import LedgerError, phase_of
from analysis.storage import Folder

FILE = "events.out.tfevents.0.sweeps"
TAGS = {
    "lr": "lr",
    "train_loss": "loss/train",
    "val_loss_raw": "loss/val_raw",
    "val_loss_ema": "loss/val_ema",
    "val_score_raw": "{metric}/val_raw",
    "val_score_ema": "{metric}/val_ema",
    "test_score_raw": "{metric}/test_raw",
    "test_score_ema": "{metric}/test_ema",
    "seconds": "seconds",
}
"""A curve's name; {metric} is that of its run."""


def export_tensorboard(folder: Folder, target: Path) -> int:
    """Write the epochs of every run into `target`/models/method/phase-seed-run_id; returns the number of runs.

    A run that is neither ended, in flight nor in the matrix has no name yet and is left for the next time.
    Raises LedgerError where `folder` holds no run.
    """
    runs = ledger.read_runs(folder, ("run_id", "teacher", "student", "method", "phase", "seed", "ended", "metric"))
    ends = dict(zip(runs["run_id"], runs["ended"], strict=True))
    matrix = ledger.read_matrix_rows(folder)
    names, count = _names(folder, matrix, runs), 0
    metrics = dict(zip(runs["run_id"], runs["metric"], strict=True))
    of_study = matrix[0]["metric"] if matrix else "score"
    for run_id in ledger.list_run_folders(folder):
        epochs = ledger.read_run_epochs(folder, run_id)
        if epochs and run_id in names:
            end = ends[run_id].timestamp() if run_id in ends else sum(row["seconds"] or 0.0 for row in epochs)
            _write(target / names[run_id], epochs, end, metrics.get(run_id, of_study))
            count += 1
    if not count:
        raise LedgerError(f"{folder}: no run here has an epoch yet")
    return count


def _names(folder: Folder, matrix: Sequence[Mapping[str, Any]], runs: pd.DataFrame) -> dict[str, str]:
    """Where the curves of each run go; the same name while it runs and after its end."""
    found = {}
    for row in matrix:
        phase, run_id = phase_of(row["setting"]), row["run_id"]
        if run_id not in found or phase != "exchange":
            found[run_id] = _name(run_id, row["teacher"], row["student"], row["method"], phase, row["seed"])
    driver = read_driver(folder)
    for entry in driver.running if driver else ():
        teacher, student, method = entry["cell"]
        found[entry["run_id"]] = _name(entry["run_id"], teacher, student, method, entry["phase"], entry["seed"])
    for run_id, teacher, student, method, phase, seed, *_ in runs.itertuples(index=False, name=None):
        found[run_id] = _name(run_id, teacher, student, method, phase, seed)
    return found


def _name(run_id: str, teacher: str, student: str, method: str, phase: str, seed: int) -> str:
    parts = ("-to-".join(filter(None, (teacher, student))), method, f"{phase}-seed{seed}-{run_id}")
    return "/".join(re.sub(r"[^\w.-]", "_", part) for part in parts)


def _write(place: Path, epochs: Sequence[Mapping[str, Any]], end: float, metric: str) -> None:
    """One event for each epoch; its wall time is `end` less what the later epochs took."""
    place.mkdir(parents=True, exist_ok=True)
    partial = place / "_partial"
    writer = RecordWriter(str(partial))
    left = sum(row["seconds"] or 0.0 for row in epochs)
    writer.write(Event(wall_time=end - left, file_version="brain.Event:2").SerializeToString())
    for row in epochs:
        left -= row["seconds"] or 0.0
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _values(row, metric)]
        event = Event(wall_time=end - left, step=row["epoch"], summary=Summary(value=values))
        writer.write(event.SerializeToString())
    writer.close()
    partial.replace(place / FILE)


def _values(row: Mapping[str, Any], metric: str) -> Iterator[tuple[str, float]]:
    for column, tag in TAGS.items():
        if row[column] is not None:
            yield tag.format(metric=metric), row[column]
    for name, value in json.loads(row["parts"]).items():
        if isinstance(value, int | float):
            yield f"parts/{name}", float(value)
