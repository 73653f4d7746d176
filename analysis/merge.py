"""Joining the ledgers of one study from several clusters: nothing is computed twice, nothing is silently dropped."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import pandas as pd

from analysis import ledger, storage
from analysis.account import FILE as ACCOUNT
from analysis.identity import unite
from analysis.parts import STUDY, TAGS, TEACHERS, check_parts, locked, read_tags
from analysis.points import reached
from analysis.predictors import FILE, as_text, read_predictors, united
from analysis.schema import CELL_STATUSES, EPOCH_SCHEMA, EPOCH_VOLATILE, RUN_SCHEMA, RUN_VOLATILE, LedgerError
from analysis.storage import Folder
from analysis.versions import JOINED_COLUMNS
from analysis.words import counted, markdown

CHECKPOINT, PREVIOUS = "checkpoint.pt", "_previous.pt"
CONFLICTS, SET_ASIDE, SEARCHES = "conflicts", "set_aside", "searches"
_COLUMNS = [name for name in RUN_SCHEMA.names if name not in RUN_VOLATILE]
_EPOCH_COLUMNS = [name for name in EPOCH_SCHEMA.names if name not in EPOCH_VOLATILE]
_THREADS, _LISTED, _WIDTH = 4, 5, 24


@dataclass(frozen=True)
class Conflict:
    """One value in which two ledgers differ about a run; `source` is the folder that `second` comes from."""

    run_id: str
    cell: str
    column: str
    first: Any
    second: Any
    source: str


@dataclass
class Merged:
    """What a merge did: `study` is the study's name, `counts` each source's runs by what became of them, `redrawn` the
    waves of each source for which `into` has other settings, `matrix` whether the matrix of `into` is now that of all
    parts."""

    study: str
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    redrawn: dict[str, list[str]] = field(default_factory=dict)
    matrix: bool = True


@dataclass(frozen=True)
class _Run:
    """All that one ledger has of a run; `row` is None while it has not ended."""

    folder: Folder
    run_id: str
    row: Mapping[str, Any] | None
    epochs: Sequence[Mapping[str, Any]]
    files: Sequence[str]

    @property
    def place(self) -> str:
        return f"runs/{self.run_id}"

    @property
    def failed(self) -> bool:
        return self.row is not None and self.row["status"] == "failed"

    def beats(self, other: _Run) -> bool:
        """Whether this one is to stand in the place of `other`: a result before a failure before a run on its way, and
        of two on their way the one whose checkpoint is further."""
        return self._rank() > other._rank()

    def _rank(self) -> tuple[int, int]:
        if self.row is not None:
            return (1 if self.failed else 2), 0
        return 0, len(self.epochs) if CHECKPOINT in self.files else 0


def merge(folders: Sequence[Folder], into: Folder) -> Merged:
    """Join the ledgers of one study into the folder `into`, which may be one of them, be new, or hold a part already.

    Of a run that several have, that in `into` or in the first of `folders` stays, unless another one is further. A run
    that ended in several with differing results is a conflict: the other one goes to `conflicts/`. A failure beside a
    result goes to `set_aside/`. After an interruption the same call goes on.
    Raises LedgerError, before anything is written, for folders that do not hold one and the same study, where a driver
    is at work, and where one teacher has different weights.
    """
    sources = [folder for folder in folders if not _same(folder, into)]
    there = len(sources) < len(folders) or storage.read_file(into, STUDY) is not None
    parts = [into, *sources] if there else sources
    studies = check_parts(parts)
    merged = Merged(str(studies[0]["name"]))
    with locked(into):
        storage.write_file(into, STUDY, (json.dumps(reduce(unite, studies), indent=1) + "\n").encode())
        for source in sources:
            _copy_teachers(source, into)
            merged.redrawn[str(source)] = _copy_waves(source, into)
            _unite_predictors(source, into)
            if storage.read_file(into, ACCOUNT) is None:
                _copy_file(source, ACCOUNT, into, ACCOUNT)
            found = _merge_runs(source, into)
            merged.counts[str(source)] = Counter(what for what, _ in found if what)
            merged.conflicts += [conflict for _, conflicts in found for conflict in conflicts]
        same = len({study["search"]["trials"] for study in studies}) == 1
        merged.matrix = same and not any(merged.redrawn.values())
        if merged.matrix:
            _merge_matrix(parts, into)
    return merged


def merged_text(merged: Merged, into: Folder) -> str:
    """What a person reads after a merge."""
    lines = []
    for source, counts in merged.counts.items():
        runs = ", ".join(f"{counts[what]} {what}" for what in sorted(counts)) or "none"
        lines.append(f"Runs of {source} for {into}: {runs}.")
    by_run: dict[tuple[str, str], list[Conflict]] = {}
    for conflict in merged.conflicts:
        by_run.setdefault((conflict.run_id, conflict.source), []).append(conflict)
    if by_run:
        head = (
            f"CONFLICTS in {counted(len(by_run), 'run')}. One of each stays, the other one is in {into}/{CONFLICTS}/."
        )
        rows = [row for found in by_run.values() for row in _shown(found)]
        lines += ["", head, "", markdown(pd.DataFrame(rows)), ""]
    for source, waves in merged.redrawn.items():
        if waves:
            lines.append(f"{source} has drawn other settings than {into}, whose settings stay, in {', '.join(waves)}.")
    if merged.matrix:
        lines.append(f"Now: python -m analysis report {into}")
    else:
        lines.append("Their searches are not the same: start the study once more, which writes its matrix.")
    if str(into).rstrip("/").rpartition("/")[2] != merged.study:
        lines.append(f"The study can be continued there once the folder is named {merged.study}.")
    return "\n".join(lines) + "\n"


def _shown(conflicts: Sequence[Conflict]) -> Iterator[dict[str, str]]:
    """The first few conflicts of one run as rows of text."""

    def short(value: Any) -> str:
        text = value.hex() if isinstance(value, bytes) else str(value)
        return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"

    for conflict in conflicts[:_LISTED]:
        names = {"run": conflict.run_id, "cell": conflict.cell, "column": conflict.column}
        yield names | {"first": short(conflict.first), "second": short(conflict.second), "from": conflict.source}
    if len(conflicts) > _LISTED:
        more = f"and {len(conflicts) - _LISTED} values more"
        yield dict.fromkeys(("run", "cell", "column", "first", "second", "from"), "") | {"column": more}


def _merge_runs(source: Folder, into: Folder) -> list[tuple[str, list[Conflict]]]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda run_id: _merge_run(source, into, run_id), ledger.list_run_folders(source)))


def _merge_run(source: Folder, into: Folder, run_id: str) -> tuple[str, list[Conflict]]:
    """What became of a run of `source`, and in what it contradicts `into`."""
    reached("merge")
    mine, theirs = _read(into, run_id), _read(source, run_id)
    if not theirs.files:
        return "", []
    if not mine.files:
        _replace(mine, theirs)
        return "new", []
    conflicts = _conflicts(mine, theirs)
    kept, other = (theirs, mine) if theirs.beats(mine) else (mine, theirs)
    if conflicts:
        _put_beside(other, into, CONFLICTS)
    elif other.failed and kept.row != other.row:
        _put_beside(other, into, SET_ASIDE)
    if kept is theirs:
        _replace(mine, theirs)
        return ("in conflict" if conflicts else "further than here"), conflicts
    if mine.row is not None and not conflicts and not other.failed:
        _copy([name for name in theirs.files if name not in (*mine.files, CHECKPOINT)], theirs, into, mine.place)
    return ("in conflict" if conflicts else "here already"), conflicts


def _read(folder: Folder, run_id: str) -> _Run:
    row, epochs = ledger.read_run(folder, run_id), ledger.read_run_epochs(folder, run_id)
    return _Run(folder, run_id, row, epochs, storage.list_files(folder, f"runs/{run_id}"))


def _conflicts(mine: _Run, theirs: _Run) -> list[Conflict]:
    """The epochs that both have must be equal, and the rows too; of a failure, when and why it came is an accident."""
    found: list[tuple[str, Any, Any]] = []
    if mine.row is not None and theirs.row is not None and not (mine.failed or theirs.failed):
        found = [(column, mine.row[column], theirs.row[column]) for column in _COLUMNS]
    for first, second in zip(mine.epochs, theirs.epochs, strict=False):
        found += [(f"epoch {first['epoch']} {column}", first[column], second[column]) for column in _EPOCH_COLUMNS]
    row = mine.row or theirs.row
    cell = f"{row['teacher']} → {row['student']} {row['method']} seed {row['seed']}" if row else ""
    return [
        Conflict(mine.run_id, cell, column, first, second, str(theirs.folder))
        for column, first, second in found
        if first != second and not (column in JOINED_COLUMNS and None in (first, second))
    ]


def _replace(mine: _Run, theirs: _Run) -> None:
    """Put `theirs` in the place of `mine`; stopped half way, the run is still behind `theirs`."""
    for name in ("run.parquet", CHECKPOINT):
        if name in mine.files and (name == "run.parquet" or name not in theirs.files):
            storage.remove_file(mine.folder, f"{mine.place}/{name}")
    storage.remove_file(mine.folder, f"{mine.place}/{PREVIOUS}")
    _copy(theirs.files, theirs, mine.folder, mine.place)


def _put_beside(run: _Run, into: Folder, shelf: str) -> None:
    """Keep a run in a folder of its own under `shelf`, once however often the merge is given."""
    for number in itertools.count(1):
        place = f"{shelf}/{run.run_id}-{number}"
        there = storage.list_files(into, place)
        if all(
            storage.read_file(into, f"{place}/{name}") == storage.read_file(run.folder, f"{run.place}/{name}")
            for name in there
        ):
            _copy([name for name in run.files if name not in there], run, into, place)
            return


def _copy(names: Iterable[str], run: _Run, into: Folder, place: str) -> None:
    """Copy files of a run, its epochs and its row as the last ones."""
    last = ("epochs.parquet", "run.parquet")
    for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
        if name == "run.parquet":
            reached("merge without the row")
        _copy_file(run.folder, f"{run.place}/{name}", into, f"{place}/{name}")


def _copy_file(source: Folder, name: str, into: Folder, new_name: str) -> None:
    data = storage.read_file(source, name)
    if data is not None:
        storage.write_file(into, new_name, data)


def _copy_teachers(source: Folder, into: Folder) -> None:
    """The weights of teachers that were not trained in the study; their names are their hashes."""
    for name in sorted(set(storage.list_files(source, TEACHERS)) - {TAGS, *storage.list_files(into, TEACHERS)}):
        _copy_file(source, f"{TEACHERS}/{name}", into, f"{TEACHERS}/{name}")
    if tags := {**read_tags(source), **read_tags(into)}:
        storage.write_file(into, f"{TEACHERS}/{TAGS}", (json.dumps(tags, indent=1, sort_keys=True) + "\n").encode())


def _copy_waves(source: Folder, into: Folder) -> list[str]:
    """What searches have drawn. Of a wave that two drew differently the one that is here stays, for with it go the runs
    that the study asks for; gives the names of these."""
    here, redrawn = set(storage.list_files(into, SEARCHES)), list[str]()
    for name in sorted(storage.list_files(source, SEARCHES)):
        if name not in here:
            _copy_file(source, f"{SEARCHES}/{name}", into, f"{SEARCHES}/{name}")
        elif _settings(source, name) != _settings(into, name):
            redrawn.append(name)
    return redrawn


def _settings(folder: Folder, name: str) -> Any:
    try:
        return json.loads(storage.read_file(folder, f"{SEARCHES}/{name}") or b"")["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{folder}/{SEARCHES}/{name}: cannot be read as a wave of a search: {error}") from error


def _unite_predictors(source: Folder, into: Folder) -> None:
    """What was measured of teachers, of two measurements that which is here."""
    if storage.read_file(source, FILE) is not None:
        storage.write_file(into, FILE, as_text(united(read_predictors(into), read_predictors(source))))


def _merge_matrix(parts: Sequence[Folder], into: Folder) -> None:
    """Every row of every part, once; of two the one that is further."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in parts:
        for row in ledger.read_matrix_rows(part):
            key = tuple(row[name] for name in ("teacher", "student", "method", "setting", "seed"))
            known = rows.setdefault(key, row)
            if CELL_STATUSES.index(row["status"]) < CELL_STATUSES.index(known["status"]):
                rows[key] = row
    if rows:
        ledger.write_matrix(into, sorted(rows.values(), key=lambda row: row["setting"] != "scratch"))


def _same(first: Folder, second: Folder) -> bool:
    return _absolute(first) == _absolute(second)


def _absolute(folder: Folder) -> str:
    return str(folder).rstrip("/") if "://" in str(folder) else os.path.realpath(folder)
