"""A run as the driver's machine sees it, once the storage shows what other machines have written."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from analysis import ledger, storage
from sweeps.engine.jobs import WHERE, run_folder
from sweeps.planning.view import RunState, StaleError, read_state, read_view

TRIES, SECONDS = 24, 5.0


def seen(folder: Path, run_id: str, until: int = 0, ended: bool = False) -> RunState:
    """What the ledger has of a run that has come to `until` epochs or to its end, as `ended` says it has; what a
    storage shows late is waited for, two minutes. Raises StaleError where row and epochs still disagree then."""
    for _ in range(TRIES):
        storage.refresh(run_folder(folder, run_id))
        try:
            state = read_state(folder, run_id)
        except StaleError:
            pass
        else:
            if state.status or (state.epochs >= until and not ended):
                return state
        time.sleep(SECONDS)
    return read_state(folder, run_id)


def all_seen(folder: Path, rungs: Collection[int], ended: pd.DataFrame) -> dict[str, RunState]:
    """Every run at the start, as `read_view`; of a row that tells of more epochs than there are the rest is waited for,
    as in `seen`. `ended` has RUN_COLUMNS and `epochs_done` at least."""
    view = read_view(folder, rungs, ended)
    told = zip(ended["run_id"], ended["epochs_done"], strict=True)
    short = [run_id for run_id, epochs in told if view[run_id].epochs < epochs]
    return view | {run_id: seen(folder, run_id).at(rungs) for run_id in short}


def given_up(folder: Path, run_id: str) -> tuple[bytes | None, int]:
    """Of a run whose process is gone, where it said to be, None if it had not begun; and the epochs that it had done.
    Whoever may still train it writes no more, and has been given the time to see that. It may have ended: that is seen
    from now on."""
    own = run_folder(folder, run_id)
    storage.refresh(own)
    storage.catch_up(own)
    where = storage.read_file(own, WHERE)
    storage.remove_file(own, WHERE)
    storage.catch_up(own)
    return where, len(ledger.read_run_epochs(folder, run_id))


def last_epoch(folder: Path, run_id: str) -> float:
    """When a run last told of an epoch, by the storage's clock; 0 where it has not."""
    files = storage.stamped(*storage.open_folder(run_folder(folder, run_id)))
    return max((found.mtime_ns / 1e9 for found in files if found.path == "epochs.parquet"), default=0.0)
