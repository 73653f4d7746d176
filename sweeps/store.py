"""The folder of a study: `study.json` says which study it holds; pairs, methods, seeds and trials may grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.identity import BY_NAME, difference, union, united_seeds
from analysis.schema import LedgerError
from analysis.storage import read_file, write_file
from pat.config import ConfigError, plain
from sweeps.settings import RECIPE
from sweeps.study import Study

FILE = "study.json"


def study_folder(storage: str | Path, study: Study) -> Path:
    """Where a study lies in a storage folder."""
    return Path(storage).expanduser().absolute() / study.name


def grown_study(folder: Path, asked: Study) -> Study:
    """The study that a folder is to hold: what is there, grown by what is asked for. Writes nothing.

    Raises ConfigError if the folder holds another study under this name, naming the field that differs; and where a
    study that would begin here decides on scores of a warm-up.
    """
    stored = read_study(folder)
    if stored is not None:
        return grow(stored, asked, folder)
    for student in asked.used_students():
        asked.search.check_warmup(student, asked.recipe(student))
    return asked


def open_study(storage: str | Path, study: Study) -> tuple[Path, Study]:
    """The study's folder and the study that it holds from now on, which is written there. Errors as `grown_study`."""
    folder = study_folder(storage, study)
    grown = grown_study(folder, study)
    write_study(folder, grown)
    return folder, grown


def write_study(folder: Path, study: Study) -> None:
    """Make `study` the one that the folder holds. Raises ConfigError where it cannot be written."""
    try:
        write_file(folder, FILE, (json.dumps(study.to_dict(), indent=1) + "\n").encode())
    except LedgerError as error:
        raise ConfigError(str(error)) from error


def read_study(folder: Path) -> Study | None:
    """The study that a folder holds, or None for an empty or absent one. Raises ConfigError for any other folder."""
    try:
        text = read_file(folder, FILE)
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
    """The union of two studies of one identity; raises ConfigError naming the first field in which they differ.

    Where the one that is asked for leaves a method's space to the program, it is the stored one.
    """
    kept = {method: space for method, space in stored.spaces.items() if method != RECIPE}
    asked = replace(asked, spaces={**kept, **asked.spaces})
    old, new = (json.loads(json.dumps(study.to_dict())) for study in (stored, asked))
    if found := difference(old, new):
        raise _refusal(folder, *found)
    by_name: dict[str, Any] = {key: {**getattr(stored, key), **getattr(asked, key)} for key in BY_NAME}
    return replace(
        asked,
        pairs=tuple(union(stored.pairs, asked.pairs)),
        methods=tuple(union(stored.methods, asked.methods)),
        seeds=plain(united_seeds(stored.seeds, asked.seeds)),
        search=replace(asked.search, trials=max(stored.search.trials, asked.search.trials)),
        gpu_share=asked.gpu_share or stored.gpu_share,
        exchange=max(stored.exchange, asked.exchange),
        **by_name,
    )


def _refusal(folder: Path, field: str, old: Any, new: Any) -> ConfigError:
    return ConfigError(
        f"{str(folder)!r} holds another study of this name: its {field} is {old!r}, not {new!r}; "
        "choose another --storage, or remove the folder"
    )
