"""A run as the driver's machine sees it, once the storage shows what other machines have written."""

from __future__ import annotations

import time
from pathlib import Path

from analysis import ledger, storage
from sweeps.engine.jobs import WHERE, run_folder
from sweeps.planning.view import RunState, StaleError, read_state

TRIES, SECONDS = 24, 5.0


def seen(folder: Path, run_id: str, until: int = 0) -> RunState:
    """What the ledger has of a run that has come to `until` epochs or to its end; what a storage shows late is waited
    for, two minutes. Raises StaleError where row and epochs still disagree then."""
    for _ in range(TRIES):
        storage.refresh(run_folder(folder, run_id))
        try:
            state = read_state(folder, run_id)
        except StaleError:
            pass
        else:
            if state.status or state.epochs >= until:
                return state
        time.sleep(SECONDS)
    return read_state(folder, run_id)


def given_up(folder: Path, run_id: str) -> tuple[bytes | None, int]:
    """Of a run whose process is gone, where it said to be, None if it had not begun; and the epochs that it had done.
    Whoever may still train it writes no more."""
    own = run_folder(folder, run_id)
    storage.refresh(own)
    where, epochs = storage.read_file(own, WHERE), len(ledger.read_run_epochs(folder, run_id))
    storage.remove_file(own, WHERE)
    return where, epochs


def last_epoch(folder: Path, run_id: str) -> float:
    """When a run last told of an epoch, by the storage's clock; 0 where it has not."""
    files = storage.stamped(*storage.open_folder(run_folder(folder, run_id)))
    return max((found.mtime_ns / 1e9 for found in files if found.path == "epochs.parquet"), default=0.0)
