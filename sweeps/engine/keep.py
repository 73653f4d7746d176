"""Which files of a study outlive their use: students by `--keep`, records that are set aside, never deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from timm.models import get_arch_name

from analysis import ledger, storage
from analysis.points import reached
from analysis.schema import FROM
from pat.config import ConfigError
from pat.io import CHECKPOINT, CONFIG, PREVIOUS, STUDENT, UNREADABLE
from pat.starting import RUN
from sweeps.engine.jobs import run_folder
from sweeps.engine.kept import Keep
from sweeps.engine.records import tidy
from sweeps.engine.texts import CHANGED, changed
from sweeps.engine.texts import FILE as TEXTS
from sweeps.planning.view import NOT_STARTED
from sweeps.study import Cell
from sweeps.waves import FOLDER as SEARCHES
from sweeps.waves import wave_names

if TYPE_CHECKING:
    from sweeps.planning.planner import Planner

SUPERSEDED, SET_ASIDE = "superseded", "set_aside"
RETRIED = ("failed", "diverged")
RECORD = "run.parquet"


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
    """Set aside the records of `failed` or `diverged` runs, of those that another text of one's own files has trained
    (`changed`), or of one run by its id, so that they are run again.

    A failed run goes on from its last checkpoint; any other begins anew. Returns the run ids.
    Raises ConfigError where there is no such run.
    """
    if what == CHANGED:
        return set_aside_changed(folder)
    runs = ledger.read_runs(folder, columns=("run_id", "status"))
    wanted = runs[runs["status" if what in RETRIED else "run_id"] == what]["run_id"].tolist()
    if not wanted and what not in RETRIED:
        allowed = f"failed, diverged, {CHANGED}, or the id of a run that has ended in {str(folder)!r}"
        raise ConfigError(f"--retry {what!r}: {allowed}")
    for run_id in wanted:
        set_aside(folder, run_id)
    return wanted


def set_aside(folder: Path, run_id: str, anew: bool = False) -> None:
    """The record goes first: from then on the run has not ended. Without a checkpoint its epochs are of no use; `anew`:
    that goes, too."""
    own, aside = run_folder(folder, run_id), folder / SET_ASIDE
    place = aside / f"{run_id}-{len(list(aside.glob(f'{run_id}-*'))) + 1}"
    checkpoints = [name for name in (CHECKPOINT, PREVIOUS) if storage.exists(own, name)]
    if storage.exists(own, RECORD):
        storage.move_file(own, RECORD, place, RECORD)
    reached("half set aside")
    if anew or not checkpoints:
        for name in (*checkpoints, "epochs.parquet", STUDENT, CONFIG, TEXTS):
            if storage.exists(own, name):
                storage.move_file(own, name, place, name)


def set_aside_changed(folder: Path, only: Collection[str] | None = None) -> list[str]:
    """Set aside what another text has trained, all or `only` these, with what was trained from it, and what searches
    have drawn from its scores. Returns the run ids."""
    rows = ledger.read_runs(folder, columns=("run_id", "teacher", "student", "method", "phase", "config"))
    wanted = [one.run_id for one in changed(folder) if only is None or one.run_id in only]
    texts = dict(zip(rows["run_id"], rows["config"], strict=True))
    for run_id in wanted:  # which grows meanwhile
        wanted += [other for other, text in texts.items() if f'"{RUN}{run_id}"' in text and other not in wanted]
    searched = rows[rows["run_id"].isin(wanted) & (rows["phase"] == "search")]
    for teacher, *rest in set(searched[["teacher", "student", "method"]].itertuples(index=False, name=None)):
        set_aside_waves(folder, Cell(get_arch_name(teacher), *rest))
    for run_id in reversed(wanted):
        set_aside(folder, run_id, anew=True)
    return wanted


def set_aside_waves(folder: Path, cell: Cell) -> None:
    """What the search of a cell has drawn: it draws again."""
    for name in storage.list_files(folder, SEARCHES):
        if name.startswith(wave_names(cell)):
            number = len(list((folder / SET_ASIDE).glob(f"{name}-*"))) + 1
            storage.move_file(folder / SEARCHES, name, folder / SET_ASIDE, f"{name}-{number}")


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
