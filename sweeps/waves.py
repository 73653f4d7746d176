"""The waves that searches have drawn, as the ledger keeps them: one file each in the study's folder `searches/`.

A wave is written before any run of it is handed out, and read from here ever after: neither another Optuna nor a
changed range changes what a study has tried.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna

from analysis import storage
from analysis.points import reached
from analysis.schema import LedgerError
from pat.config import ConfigError
from sweeps.planning.search import Wave, Waves
from sweeps.settings import complete_setting
from sweeps.spaces import digest
from sweeps.study import Cell, Study

FOLDER = "searches"


def write_wave(folder: Path, study: Study, wave: Wave) -> None:
    """Record a wave, with what it was drawn from and by. Raises LedgerError where the storage refuses."""
    record = {
        "cell": wave.cell._asdict(),
        "wave": wave.number,
        "settings": list(wave.settings),
        "space": digest(study.space(wave.cell.method)),
        "sampler": study.search.sampler,
        "optuna": optuna.__version__,
    }
    reached("wave drawn")
    storage.write_file(folder, f"{FOLDER}/{_name(wave)}", (json.dumps(record, indent=1) + "\n").encode())


def _name(wave: Wave) -> str:
    return f"{wave_names(wave.cell)}{wave.number}.json"


def wave_names(cell: Cell) -> str:
    """What the names of a cell's waves begin with."""
    return f"{'--'.join(filter(None, cell))}--"


def read_waves(folder: Path) -> Waves:
    """The settings of every recorded wave. Raises LedgerError, naming the file, for one that is damaged."""
    found: dict[tuple[Cell, int], list[dict[str, Any]]] = {}
    for name in storage.list_files(folder, FOLDER):
        try:
            record = json.loads(storage.read_file(folder, f"{FOLDER}/{name}") or b"")
            cell = Cell(**record["cell"])
            settings = [complete_setting(cell.method, options) for options in record["settings"]]
            found[cell, int(record["wave"])] = settings
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise LedgerError(f"{folder}/{FOLDER}/{name}: cannot be read as a wave of a search: {error}") from error
    return found
