"""The searches of a study as Optuna studies, rebuilt from the ledger in the order in which they were drawn."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis import ledger
from pat.config import ConfigError
from sweeps.planning.planner import Planner
from sweeps.planning.units import Unit
from sweeps.planning.view import RunState, read_view
from sweeps.settings import complete_setting
from sweeps.spaces import distribution, inside
from sweeps.store import read_study
from sweeps.study import Cell, Study
from sweeps.teachers import recorded
from sweeps.waves import read_waves

COLUMNS = ("run_id", "student", "options", "config", "message", "started", "ended")
_JOURNAL = b'{"op_code"'


@dataclass(frozen=True)
class Trial:
    """A run of a search: its setting, what has come of it, and when."""

    run_id: str
    options: dict[str, Any]
    state: RunState
    started: datetime | None
    ended: datetime | None


def export_optuna(folder: Path, target: str) -> int:
    """Write every cell's search into `target`, a journal file or the URL of a database; returns how many.

    Each is an Optuna study named after its cell that maximises the validation score in percent; trials have their
    value, the values at rungs, and the user attribute `run_id`. Of a setting outside the space, as a default may be,
    Optuna has the options that lie in it. Raises ConfigError where there is no study, and where
    `target` cannot be used or is a file of something else.
    """
    study = read_study(folder)
    if study is None:
        raise ConfigError(f"{str(folder)!r}: no study here")
    study = recorded(study, folder)
    trials = trials_of(study, folder)
    if "://" in target:
        _write(study, trials, _database(target))
        return len(trials)
    path = Path(target).expanduser().absolute()
    if path.exists() and not path.read_bytes().startswith(_JOURNAL):
        raise ConfigError(f"{target!r} is not a journal of Optuna: choose another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="_", dir=path.parent) as place:
        journal = os.path.join(place, "journal")
        _write(study, trials, JournalStorage(JournalFileBackend(journal)))
        os.replace(journal, path)
    return len(trials)


def _database(url: str) -> RDBStorage:
    try:
        return RDBStorage(url)
    except Exception as error:  # whatever SQLAlchemy and its drivers raise for a URL
        raise ConfigError(f"{url!r}: {str(error).splitlines()[0]}") from error


def trials_of(study: Study, folder: Path) -> dict[Cell, list[Trial]]:
    """The runs of each search that have begun, in the order (wave, index)."""
    view, options = read_view(folder), _begun(folder)
    rows = {row["run_id"]: row for row in ledger.read_runs(folder, COLUMNS).to_dict("records")}
    configs = [json.loads(row["config"]) for row in rows.values()]
    unsynced = {config["student"] for config in configs if config.get("unsynced_workers", 1) > 1}
    options |= {run_id: row["options"] for run_id, row in rows.items()}
    found = {}
    for key, unit in Planner(study, view, frozenset(unsynced), waves=read_waves(folder)).units.items():
        if not key.awaited and study.space(key.cell.method):
            found[key.cell] = [
                Trial(
                    run_id,
                    complete_setting(key.cell.method, json.loads(options[run_id])),
                    view[run_id],
                    *(_moment(rows.get(run_id, {}).get(name)) for name in ("started", "ended")),
                )
                for run_id in _searched(unit)
                if run_id in options
            ]
    return found


def _begun(folder: Path) -> dict[str, str]:
    """The options of every run that has an epoch."""
    rows = ledger.read_epochs(folder, ("run_id", "options")).drop_duplicates("run_id")
    return dict(zip(rows["run_id"], rows["options"], strict=True))


def _searched(unit: Unit) -> list[str]:
    """The runs of a cell's search: those of the cell that no confirmation asks for."""
    confirmed = {row.run_id for row in unit.rows}
    return [run_id for run_id in unit.runs if run_id not in confirmed]


def _write(study: Study, trials: Mapping[Cell, list[Trial]], storage: BaseStorage) -> None:
    known = {summary.study_name for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}
    for cell, found in trials.items():
        if str(cell) in known:
            optuna.delete_study(study_name=str(cell), storage=storage)
        made = optuna.create_study(study_name=str(cell), storage=storage, direction="maximize")
        made.add_trials([_frozen(study, cell, trial) for trial in found])


def _frozen(study: Study, cell: Cell, trial: Trial) -> FrozenTrial:
    weights, full = study.weights(cell.student), study.epochs(cell)
    rungs = [rung for rung in study.search.epochs(full) if rung <= trial.state.epochs]
    scores = {rung: score for rung in rungs if (score := trial.state.score(weights, rung)) is not None}
    status = trial.state.status
    if status == "finished" and full not in scores:
        status = "failed"
    space = study.space(cell.method)
    drawn = {name: trial.options[name] for name, kind in space.items() if inside(kind, trial.options[name])}
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "": TrialState.RUNNING}
    frozen = create_trial(
        state=states.get(status, TrialState.FAIL),
        value=scores[full] if status == "finished" else None,
        params=drawn,
        distributions={name: distribution(space[name]) for name in drawn},
        intermediate_values=scores,
        user_attrs={"run_id": trial.run_id, **({"message": trial.state.message} if trial.state.message else {})},
    )
    frozen.datetime_start = trial.started or frozen.datetime_start
    frozen.datetime_complete = trial.ended if frozen.state.is_finished() else None
    return frozen


def _moment(value: Any) -> datetime | None:
    """Local time without a zone, as Optuna keeps it."""
    if value is None or value != value:
        return None
    moment: datetime = value.to_pydatetime().astimezone().replace(tzinfo=None)
    return moment
