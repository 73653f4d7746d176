"""The folder of a study: `study.json` says which study it holds; pairs, methods, seeds and trials may grow."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis import ledger
from analysis.schema import LedgerError
from pat.config import ConfigError
from sweeps.study import Study, TeacherFile

FILE, LOCK = "study.json", "_driver.lock"
GROWING = ("pairs", "methods", "seeds", "gpu_share")
BY_NAME = ("teachers", "students", "initial", "options", "choices")


def study_folder(storage: str | Path, study: Study) -> Path:
    """Where a study lies in a storage folder."""
    return Path(storage).expanduser().absolute() / study.name


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for one driver alone; raises ConfigError while another one works in it. Ends with the process."""
    with open(folder / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another process works on the study in {str(folder)!r}; wait for its end") from error
        yield


def open_study(storage: str | Path, study: Study) -> tuple[Path, Study]:
    """The study's folder and the study that it holds from now on: what was there, grown by what is asked for.

    Raises ConfigError if the folder holds another study under this name, naming the field that differs, or cannot
    be written.
    """
    folder = study_folder(storage, study)
    stored = read_study(folder)
    grown = study if stored is None else grow(stored, study, folder)
    try:
        ledger.write_file(folder, FILE, (json.dumps(grown.to_dict(), indent=1) + "\n").encode())
    except LedgerError as error:
        raise ConfigError(str(error)) from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"storage {str(folder)!r} cannot be written")
    return folder, grown


def read_study(folder: Path) -> Study | None:
    """The study that a folder holds, or None for an empty or absent one. Raises ConfigError for any other folder."""
    try:
        text = ledger.read_file(folder, FILE)
    except LedgerError as error:
        raise ConfigError(str(error)) from error
    if text is None:
        if (folder / "runs").exists() or folder.is_file():
            raise ConfigError(f"{str(folder)!r} holds no {FILE}: not the folder of a study; choose another --storage")
        return None
    try:
        values = json.loads(text)
        study = Study.from_dict(values)
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(folder / FILE)!r} cannot be read as a study: {str(error).splitlines()[0]}") from error
    own = study.to_dict()["numerics"]
    if values.get("numerics") != own:
        raise _refusal(folder, "numerics", values.get("numerics"), own)
    return study


def grow(stored: Study, asked: Study, folder: Path) -> Study:
    """The union of two studies of one identity; raises ConfigError naming the first field in which they differ."""
    old, new = _plain(stored), _plain(asked)
    for key in old:
        if key in BY_NAME:
            for name in old[key].keys() & new[key].keys():
                _compare(folder, f"{key}.{name}", old[key][name], new[key][name])
        elif key == "search":
            for name in old[key].keys() - {"trials"}:
                _compare(folder, f"search.{name}", old[key][name], new[key][name])
        elif key not in GROWING:
            _compare(folder, key, old[key], new[key])
    by_name: dict[str, Any] = {key: {**getattr(stored, key), **getattr(asked, key)} for key in BY_NAME}
    return replace(
        asked,
        pairs=_union(stored.pairs, asked.pairs),
        methods=_union(stored.methods, asked.methods),
        seeds=max(stored.seeds, asked.seeds),
        search=replace(asked.search, trials=max(stored.search.trials, asked.search.trials)),
        **by_name,
    )


def _union(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    """The second's order where it holds all of the first, so that growing a study equals making it whole at once."""
    if set(first) <= set(second):
        return second
    return tuple(dict.fromkeys((*first, *second)))


def _plain(study: Study) -> dict[str, Any]:
    """As JSON leaves it; where a teacher's file lies is no part of the identity, timm's tag is."""
    teachers = {
        name: replace(teacher, path="") if isinstance(teacher, TeacherFile) and not teacher.tag else teacher
        for name, teacher in study.teachers.items()
    }
    values: dict[str, Any] = json.loads(json.dumps(replace(study, teachers=teachers).to_dict()))
    return values


def _compare(folder: Path, field: str, old: Any, new: Any) -> None:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        field, old, new = next(
            (f"{field}.{key}", old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)
        )
    raise _refusal(folder, field, old, new)


def _refusal(folder: Path, field: str, old: Any, new: Any) -> ConfigError:
    return ConfigError(
        f"{str(folder)!r} holds another study of this name: its {field} is {old!r}, not {new!r}; "
        "choose another --storage, or remove the folder"
    )
