"""The planner's picture of the ledger: how far each run is and how it scored on validation.

Only these columns are read. Nothing in here comes from the test set, so no decision can.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import ledger
from analysis.schema import LedgerError

RUN_COLUMNS = ("run_id", "status", "student_sha256", "message", "failure_class")
EPOCH_COLUMNS = ("run_id", "epoch", "val_score_raw", "val_score_ema")


@dataclass(frozen=True)
class RunState:
    """One run: `status` as in the ledger ("" = not ended), epochs done, validation scores after each epoch or some.

    `scores`: `raw` or `ema` weights -> epochs done -> percent. `student_sha256` identifies the exported weights of a
    finished run; `message` says why a run failed, and `failure_class` of what kind that was.
    """

    status: str = ""
    epochs: int = 0
    scores: Mapping[str, Mapping[int, float | None]] = field(default_factory=dict)
    student_sha256: str = ""
    message: str = ""
    failure_class: str = ""

    def score(self, weights: str, epoch: int) -> float | None:
        """Validation score in percent of `raw` or `ema` weights after `epoch` epochs; None if absent or not finite."""
        value = self.scores.get(weights, {}).get(epoch)
        return value if value is not None and math.isfinite(value) else None

    def at(self, rungs: Collection[int]) -> RunState:
        """The same with the scores after these epochs alone: the planner asks for no others."""
        kept = {weights: {e: v for e, v in found.items() if e in rungs} for weights, found in self.scores.items()}
        return replace(self, scores=kept)


class StaleError(LedgerError):
    """A storage that does not show yet, or no longer, all that was written to it."""


NOT_STARTED = RunState()
View = Mapping[str, RunState]


def read_view(
    folder: Path, rungs: Collection[int] | None = None, ended: pd.DataFrame | None = None
) -> dict[str, RunState]:
    """Every run of a study's folder; its scores after every epoch, or after `rungs` alone.

    `ended`: the ended runs with RUN_COLUMNS at least, where they have been read already.
    """
    epochs = ledger.read_epochs(folder, columns=EPOCH_COLUMNS)
    done = {str(run_id): int(count) for run_id, count in epochs.groupby("run_id").size().items()}
    kept = epochs if rungs is None else epochs[epochs["epoch"].isin(list(rungs))]
    rows: dict[str, list[dict[str, Any]]] = {run_id: [] for run_id in done}
    for values in kept.itertuples(index=False, name=None):
        rows[values[0]].append(dict(zip(EPOCH_COLUMNS, values, strict=True)))
    found = ledger.read_runs(folder, columns=RUN_COLUMNS) if ended is None else ended[list(RUN_COLUMNS)]
    runs = found.itertuples(index=False, name=None)
    last = {values[0]: dict(zip(RUN_COLUMNS, values, strict=True)) for values in runs}
    return {
        run_id: _state(last.get(run_id), rows.get(run_id, ()), done.get(run_id, 0))
        for run_id in sorted(last.keys() | done.keys())
    }


def read_state(folder: Path, run_id: str) -> RunState:
    """One run as the ledger has it now.

    Raises StaleError where its row tells of more epochs than there are: no decision may rest on that.
    """
    run, epochs = ledger.read_run(folder, run_id), ledger.read_run_epochs(folder, run_id)
    if run is not None and len(epochs) < run["epochs_done"]:
        found = f"run.parquet tells of {run['epochs_done']} epochs, epochs.parquet has {len(epochs)}"
        raise StaleError(f"{folder}/runs/{run_id}: {found}; to train it again: --retry {run_id}")
    return _state(run, epochs, len(epochs))


def _state(run: Mapping[str, Any] | None, epochs: Iterable[Mapping[str, Any]], done: int) -> RunState:
    scores = {weights: {row["epoch"]: row[f"val_score_{weights}"] for row in epochs} for weights in ("raw", "ema")}
    if run is None:
        return RunState("", done, scores)
    names = ("student_sha256", "message", "failure_class")
    text = {name: run[name] if isinstance(run[name], str) else "" for name in names}
    return RunState(str(run["status"]), done, scores, **text)
