"""The planner's picture of the ledger: how far each run is and how it scored on validation.

Only these columns are read. Nothing in here comes from the test set, so no decision can.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import ledger

RUN_COLUMNS = ("run_id", "status", "epochs_done", "student_sha256", "message")
EPOCH_COLUMNS = ("run_id", "epoch", "val_top1_raw", "val_top1_ema")


@dataclass(frozen=True)
class RunState:
    """One run: `status` as in the ledger ("" = not ended), epochs done, validation top-1 after each epoch.

    `student_sha256` identifies the exported weights of a finished run; `message` says why a run failed.
    """

    status: str = ""
    epochs: int = 0
    scores: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    student_sha256: str = ""
    message: str = ""

    def score(self, weights: str, epoch: int) -> float | None:
        """Validation top-1 in percent of `raw` or `ema` weights after `epoch` epochs; None if absent or not finite."""
        scores = self.scores.get(weights, ())
        value = scores[epoch - 1] if epoch <= len(scores) else None
        return value if value is not None and math.isfinite(value) else None


NOT_STARTED = RunState()
View = Mapping[str, RunState]


def read_view(folder: Path) -> dict[str, RunState]:
    """Every run of a study's folder. A failed run counts as not ended: each new start tries it once more."""
    epochs = ledger.read_epochs(folder, columns=EPOCH_COLUMNS)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in epochs.to_dict("records"):
        rows.setdefault(str(row["run_id"]), []).append({str(key): value for key, value in row.items()})
    ended = {
        str(row["run_id"]): {str(key): value for key, value in row.items()}
        for row in ledger.read_runs(folder, columns=RUN_COLUMNS).to_dict("records")
    }
    view = {run_id: _state(ended.get(run_id), rows.get(run_id, ())) for run_id in ended.keys() | rows.keys()}
    return {run_id: _again(state) if state.status == "failed" else state for run_id, state in view.items()}


def read_state(folder: Path, run_id: str) -> RunState:
    """One run as the ledger has it now."""
    return _state(ledger.read_run(folder, run_id), ledger.read_run_epochs(folder, run_id))


def _again(state: RunState) -> RunState:
    return RunState("", state.epochs, state.scores)


def _state(run: Mapping[str, Any] | None, epochs: Iterable[Mapping[str, Any]]) -> RunState:
    ordered = sorted(epochs, key=lambda row: row["epoch"])
    scores = {weights: tuple(row[f"val_top1_{weights}"] for row in ordered) for weights in ("raw", "ema")}
    if run is None:
        return RunState("", len(ordered), scores)
    text = {key: run[key] if isinstance(run[key], str) else "" for key in ("student_sha256", "message")}
    return RunState(str(run["status"]), len(ordered), scores, text["student_sha256"], text["message"])
