"""What other studies under the same storage hold of a study's runs: teachers that are taken over, initial weights.

A run's address says all that changes its result, so that whoever trained it, it is the same run. Only runs that have
finished and whose student is there count. What is read is never written, and needs no lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from timm.models import get_arch_name

from analysis import ledger, storage
from analysis.schema import LedgerError
from pat.config import ConfigError
from pat.io import CHECKPOINT, CONFIG, PREVIOUS, STUDENT
from pat.starting import FILE, RUN, checked_sha256
from pat.tasks import create_task
from sweeps.engine.jobs import run_folder, student_path
from sweeps.engine.keep import SET_ASIDE
from sweeps.engine.texts import FILE as TEXTS
from sweeps.engine.texts import changed_run
from sweeps.planning.planner import Planner
from sweeps.planning.units import Key, trained_on
from sweeps.planning.view import NOT_STARTED
from sweeps.study import TIMM, TeacherFile
from sweeps.teacher_seeds import model_of
from sweeps.teachers import fetch, initial_file, initial_sha256, keep_initial, local_file


class Found(NamedTuple):
    """A finished run, its student's file beside it: the folder of the study that has it, and its row there."""

    folder: Path
    row: dict[str, Any]

    @property
    def run_id(self) -> str:
        return str(self.row["run_id"])

    def student(self) -> bytes:
        """Its student's file. Raises LedgerError where that is not what the run has exported."""
        data = storage.read_file(run_folder(self.folder, self.run_id), STUDENT) or b""
        if hashlib.sha256(data).hexdigest() != self.row["student_sha256"]:
            path = run_folder(self.folder, self.run_id) / STUDENT
            raise LedgerError(f"{str(path)!r} has another SHA-256 than its run recorded, {self.row['student_sha256']}")
        return data


def adoptable(folder: Path, planner: Planner) -> Iterator[tuple[Key, Found]]:
    """The units of a study in `folder` whose run others wait for, has not ended here, and has finished elsewhere.

    Not one whose record was set aside here: that is to be made anew.
    """
    for key in planner.units:
        if not key.awaited:
            continue
        run_id = planner.runs.awaited(key).run_id
        if planner.view.get(run_id, NOT_STARTED).status or any((folder / SET_ASIDE).glob(f"{run_id}-*")):
            continue
        looked = (_look(sibling, run_id) for sibling in _siblings(folder, run_id))
        found = next((one for one, _ in looked if one is not None and one.row["phase"] == key.kind), None)
        if found is not None:
            yield key, found


def adopt(folder: Path, study: str, found: Found) -> str:
    """Make a run of another study one of the study in `folder`; its row, which ends it, comes last.

    Returns why it was not: something of it cannot be read. Raises LedgerError where the own storage refuses.
    """
    own = run_folder(folder, found.run_id)
    try:
        student, epochs = found.student(), ledger.read_run_epochs(found.folder, found.run_id)
    except LedgerError as error:
        return str(error)
    storage.write_file(own, STUDENT, student)
    for name in (CONFIG, TEXTS):
        if (about := storage.read_file(run_folder(found.folder, found.run_id), name)) is not None:
            storage.write_file(own, name, about)
    ledger.write_epochs(folder, found.run_id, epochs)
    ledger.write_run(folder, {**found.row, "study": study})
    for name in (CHECKPOINT, PREVIOUS):
        storage.remove_file(own, name)
    return ""


def provide_initial_runs(folder: Path, planner: Planner) -> None:
    """The students of other runs from which training starts, as files of this study's folder, and files of weights.

    A teacher of this study needs none: it is waited for. Raises ConfigError, one line, for a run that is not here or
    beside this study, has not finished, kept no student, or is of another architecture, and for a file that does not
    fit; LedgerError where a student is damaged, DataError where a file has other bytes than the study says.
    """
    for key in {key.initial: key for key, unit in planner.units.items() if unit.left}.values():
        given = planner.scope.initial.get(key.initial)
        if isinstance(given, TeacherFile):
            what = f"initial weights of {key.cell.student!r}"
            _try(planner, key, f"{FILE}{given.sha256}", path := fetch(what, given, folder))
            checked_sha256(path, given.sha256)
        elif (weights := planner.scope.starts_from(key.initial)).startswith(RUN):
            _provide(folder, planner, key, weights)


def initial_name(weights: str) -> str:
    """How `initial_file` calls the weights `timm:<name.tag>` or `run:<run_id>`."""
    return weights.removeprefix(TIMM).replace(":", "-")


def initial_weights(folder: Path, planner: Planner, weights: str) -> tuple[str, str]:
    """The file of the weights that a run starts from, and its SHA-256; empty where there are none."""
    if not weights:
        return "", ""
    if planner.runs.trained_here(weights):
        run_id = weights.removeprefix(RUN)
        return str(student_path(folder, run_id)), planner.view[run_id].student_sha256
    if weights.startswith(FILE):
        files = (given for given in planner.study.initial.values() if isinstance(given, TeacherFile))
        digest = weights.removeprefix(FILE)
        return str(local_file(next(one for one in files if one.sha256 == digest), folder)), digest
    name = initial_name(weights)
    return str(initial_file(name, folder)), initial_sha256(name, folder)


def _provide(folder: Path, planner: Planner, key: Key, weights: str) -> None:
    what, run_id = f"initial weights {weights} of {key.cell.student!r}", weights.removeprefix(RUN)
    if (trained := planner.runs.trained_here(weights)) is not None:
        return _check_architecture(what, key, trained.cell.student)
    file = initial_file(initial_name(weights), folder)
    if not file.exists():
        looked = [_look(place, run_id) for place in (folder, *_siblings(folder, run_id))]
        found = next((one for one, _ in looked if one is not None), None)
        if found is None:
            reasons = "; ".join(reason for _, reason in looked if reason)
            raise ConfigError(f"{what}: {reasons or f'no study in {str(folder.parent)!r} has that run'}")
        _check_architecture(what, key, found.row["student"])
        keep_initial(initial_name(weights), folder, found.student(), what)
    _try(planner, key, weights, file)


def _try(planner: Planner, key: Key, weights: str, file: Path) -> None:
    """Raises ConfigError for a file that does not fit a unit's student; a head for other classes is left out."""
    task = create_task(*trained_on(planner.scope, key), num_classes=1)
    task.build(model_of(key.cell.student), 1, weights, file)


def _check_architecture(what: str, key: Key, student: str) -> None:
    if get_arch_name(model_of(student)) != get_arch_name(model_of(key.cell.student)):
        raise ConfigError(f"{what}: that run trained {student!r}")


def _siblings(folder: Path, run_id: str) -> list[Path]:
    """The folders beside a study's that have anything of a run."""
    places = (place.parents[1] for place in folder.parent.glob(f"*/runs/{run_id}"))
    return sorted(place for place in places if place != folder)


def _look(folder: Path, run_id: str) -> tuple[Found | None, str]:
    """A finished run in a folder, or in words what it lacks; neither where there is nothing of it."""
    where, own = f"study {folder.name!r} has", run_folder(folder, run_id)
    try:
        row = ledger.read_run(folder, run_id)
    except LedgerError as error:
        return None, str(error)
    if row is None:
        return None, f"{where} not finished it" if own.exists() else ""
    if row["status"] != "finished":
        return None, f"{where} it as {row['status']}"
    if not (own / STUDENT).exists():
        return None, f"{where} not kept its student's file"
    if other := changed_run(folder, run_id):
        return None, f"{where} trained it by another text of {', '.join(other.files)}"
    return Found(folder, row), ""
