"""A study from Python: in a script, in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.ledger import read_epochs, read_runs
from analysis.report import place
from pat.config import ConfigError
from pat.methods import method_options
from pat.plugins import announce, load_plugins
from sweeps.commands.flags import parser
from sweeps.commands.grid import begin
from sweeps.looking.chosen import best
from sweeps.spaces import Range, Space
from sweeps.store import study_folder
from sweeps.study import Study


def space(method: str, **options: Range | Sequence[Any]) -> Space:
    """What a search of `method` changes: of each option its range - `Log(low, high)`, `Linear(low, high)` - or the
    values to choose from.

    For `Study(spaces={"kd": space("kd", temperature=Log(1, 8), weight=[0.5, 1, 2])})`. Raises ConfigError for an option
    that the method does not have.
    """
    found = {name: kind if isinstance(kind, Range) else tuple(kind) for name, kind in options.items()}
    for name, kind in found.items():
        for value in (kind.low, kind.high) if isinstance(kind, Range) else kind:
            method_options(method, {name: value})
    return found


class _Whole(pd.DataFrame):
    """A frame that is printed with all of its columns, whatever the terminal's width."""

    def __repr__(self) -> str:
        return self.to_string(index=False)


@dataclass(frozen=True)
class Result:
    """What a study has found so far, in its folder. `complete`: whether all of it could be done."""

    folder: Path
    complete: bool

    @property
    def runs(self) -> pd.DataFrame:
        """A row for each run that has ended."""
        return read_runs(self.folder)

    @property
    def epochs(self) -> pd.DataFrame:
        """A row for each epoch of these runs."""
        return read_epochs(self.folder)

    @property
    def cells(self) -> pd.DataFrame:
        """A row for each cell and setting: scores, gains and their intervals."""
        return pd.read_parquet(self.folder / "report" / "tables" / "cells.parquet")

    @property
    def report(self) -> Path:
        """The page with everything."""
        return Path(place(self.folder))

    def best(self) -> pd.DataFrame:
        """Of each student, teacher and method the finished run with the best score on validation, after the last epoch,
        with its student's file where that was kept. Printed, it shows all of its columns."""
        return _Whole(best(self.folder))


def run(
    study: Study,
    storage: str | Path = "runs",
    address: str | None = None,
    *,
    data_root: str | Path | None = None,
    imports: Sequence[str] = (),
    retry: str = "",
    verbose: bool = False,
) -> Result:
    """Bring a study to its end, or go on with it, and write its report.

    `storage`: the folder in which the study's folder lies; `address`: a Ray cluster, else one is started here;
    `data_root`: where data sets lie. `imports`: modules that register what the study uses, which the processes that
    train import, too. `retry`: which records are set aside and run again, as `--retry` says it ("failed", "changed").
    Nothing is asked: `--plan` says what a study costs before it begins. Raises ConfigError, one line, for what cannot
    be done, and Paused where the study was asked to stop.
    """
    if not isinstance(study, Study):
        raise ConfigError(f"run: a Study is needed, this is a {type(study).__name__}")
    load_plugins()
    for name in imports:
        announce(name, str(Path.cwd()))
    given = ["--storage", str(storage), "--yes", "--study", study.name]
    given += ["--address", address] if address else []
    given += ["--data-root", str(data_root)] if data_root is not None else []
    given += ["--retry", retry] if retry else []
    code = begin(study, parser().parse_args([*given, *(["--verbose"] if verbose else [])]))
    return Result(study_folder(storage, study), complete=code == 0)
