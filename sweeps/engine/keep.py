"""Which files of a study outlive their use: students by `--keep`, records that are set aside, never deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis import ledger, storage
from analysis.points import reached
from analysis.schema import FROM
from pat.config import ConfigError
from pat.io import CHECKPOINT, CONFIG, PREVIOUS, STUDENT, UNREADABLE
from sweeps.engine.jobs import run_folder
from sweeps.engine.kept import Keep
from sweeps.engine.records import tidy
from sweeps.planning.view import NOT_STARTED

if TYPE_CHECKING:
    from sweeps.planning.planner import Planner

SUPERSEDED, SET_ASIDE = "superseded", "set_aside"
RETRIED = ("failed", "diverged")


def set_aside_superseded(folder: Path, run_ids: Iterable[str]) -> None:
    """Confirmations of settings that a longer search replaced go to `superseded/`."""
    for run_id in run_ids:
        storage.move_file(folder / "runs", run_id, folder / SUPERSEDED, run_id)


def set_aside_unreadable(folder: Path, run_id: str) -> list[str]:
    """The checkpoints of a run that could not be read go to `set_aside/`; a line for each."""
    own, lines = run_folder(folder, run_id), []
    for name in storage.list_temporary(own):
        if name.startswith(UNREADABLE):
            storage.move_file(own, name, folder / SET_ASIDE, f"{run_id}{name}")
            fate = "the run went on from the one before it, or anew"
            lines.append(f"run {run_id}: a checkpoint could not be read, {fate}; it is {SET_ASIDE}/{run_id}{name}")
    return lines


def tidy_up(folder: Path, planner: Planner) -> None:
    """What killed processes left beside the rows of runs that have ended."""
    for run_id, state in planner.view.items():
        if state.status not in ("", "failed"):
            tidy(run_folder(folder, run_id))


def retry(folder: Path, what: str) -> list[str]:
    """Set aside the records of `failed` or `diverged` runs, or of one run by its id, so that they are run again.

    A failed run goes on from its last checkpoint; any other begins anew. Returns the run ids.
    Raises ConfigError where there is no such run.
    """
    runs = ledger.read_runs(folder, columns=("run_id", "status"))
    wanted = runs[runs["status" if what in RETRIED else "run_id"] == what]["run_id"].tolist()
    if not wanted and what not in RETRIED:
        raise ConfigError(f"--retry {what!r}: failed, diverged, or the id of a run that has ended in {str(folder)!r}")
    for run_id in wanted:
        set_aside(folder, run_id)
    return wanted


def set_aside(folder: Path, run_id: str) -> None:
    """The record goes first: from then on the run has not ended. Without a checkpoint its epochs are of no use."""
    own, aside = run_folder(folder, run_id), folder / SET_ASIDE
    number = len(list(aside.glob(f"{run_id}-*"))) + 1
    place = aside / f"{run_id}-{number}"
    storage.move_file(own, "run.parquet", place, "run.parquet")
    reached("half set aside")
    if not any(storage.exists(own, name) for name in (CHECKPOINT, PREVIOUS)):
        for name in ("epochs.parquet", STUDENT, CONFIG):
            if storage.exists(own, name):
                storage.move_file(own, name, place, name)


def drop_students(folder: Path, planner: Planner, keep: Keep) -> None:
    """Remove the students' files that `keep` does not keep; teachers' weights always stay.

    `best` keeps, of each student's baselines and of each cell and setting, the one run with the best validation score
    after its last epoch (the first seed of equals, and where nothing is held out).
    """
    if keep == "all":
        return
    groups: dict[tuple[object, str], list[str]] = defaultdict(list)
    for row in planner.rows():
        if row.run_id is not None:
            groups[row.cell, row.setting].append(row.run_id)
    own = [runs for (_, setting), runs in groups.items() if not setting.startswith(FROM)]
    best = {max(runs, key=lambda run_id: _score(planner, run_id)) for runs in own}
    dropped = {run_id for runs in groups.values() for run_id in runs} - (best if keep == "best" else set())
    for run_id in dropped:
        storage.remove_file(run_folder(folder, run_id), STUDENT)


def _score(planner: Planner, run_id: str) -> float:
    state = planner.view.get(run_id, NOT_STARTED)
    scores = [state.score(weights, state.epochs) for weights in ("ema", "raw")]
    return next((score for score in scores if score is not None and not pd.isna(score)), float("-inf"))
