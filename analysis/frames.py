"""Everything a figure or a table can be made of: the frames of one study, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.account import read_account
from analysis.cells import cells, seed_gains
from analysis.cost import gpu_share
from analysis.definition import read_definition
from analysis.ledger import gather, read_correct, read_matrix
from analysis.live import Driver, read_driver
from analysis.metrics import METRICS, Metric
from analysis.predictors import read_predictors
from analysis.schema import FROM, MATRIX_SCHEMA, RESULT_COLUMNS, LedgerError


@dataclass(frozen=True)
class Frames:
    """One study as frames: the ledger's `matrix`, `runs` (without the bits of each test image) and `epochs`.

    `correct`: of the matrix' finished runs the packed bits of each test image's correctness, under the rule and
    weights that the matrix shows. `definition`: study.json. `driver`: its last sign of life, None where it left none.
    `gpu_share` of a GPU was given to a run of one worker. `place`: the study's folder, as it was given.
    `damaged`: files that could not be read and were left out, each with its reason. `predictors`: what was measured of
    the teachers (`analysis.predictors`). `account`: what the data set holds (`analysis.account`). `exchange`: the rows
    of the ledger's matrix that are no cell's own, settings of other cells that were tried in one (`analysis.travel`);
    `matrix` is without them.
    """

    matrix: pd.DataFrame
    runs: pd.DataFrame
    epochs: pd.DataFrame
    correct: Mapping[str, bytes]
    definition: Mapping[str, Any]
    driver: Driver | None = None
    gpu_share: float = 1.0
    place: str = ""
    damaged: Sequence[str] = ()
    predictors: Mapping[str, Any] = field(default_factory=lambda: {"teachers": {}, "pairs": []})
    account: Mapping[str, Any] = field(default_factory=dict)
    exchange: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=MATRIX_SCHEMA.names, dtype=object))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per pair, method and setting: `analysis.cells.cells`."""
        return cells(self.matrix, self.runs, self.correct)

    @cached_property
    def seed_gains(self) -> pd.DataFrame:
        """One row per cell and seed of which a gain is known: `analysis.cells.seed_gains`."""
        return seed_gains(self.matrix, self.runs)

    def table(self, name: str) -> pd.DataFrame:
        """The table `name` of the report, prepared once: not to be changed."""
        from analysis.tables import list_tables  # tables are made of frames

        kept: dict[str, pd.DataFrame] = self.__dict__.setdefault("_tables", {})
        if name not in kept:
            kept[name] = next(table for table in list_tables(self.metric) if table.name == name).prepare(self)
        return kept[name]

    @property
    def study(self) -> str:
        return str(self.matrix["study"].iloc[0])

    @property
    def data(self) -> str:
        return str(self.matrix["data"].iloc[0])

    @property
    def metric(self) -> Metric:
        """What a score of this study is, and the words for it."""
        return METRICS[str(self.matrix["metric"].iloc[0])]

    @property
    def price(self) -> float | None:
        """Money for a device-hour, None where the driver was not told one."""
        return self.driver.price if self.driver else None


def load(folder: str | Path, skip_damaged: bool = False) -> Frames:
    """The study in `folder`, running or finished. Raises LedgerError where there is none or a file is not ours; with
    `skip_damaged` runs whose files cannot be read are as good as not there."""
    whole = read_matrix(folder)
    tried = whole["setting"].str.startswith(FROM)
    matrix = whole[~tried].reset_index(drop=True)
    if (matrix["setting"] == "scratch").all():
        raise LedgerError(f"{folder}: the matrix has no cell to report")
    if len(metrics := sorted(set(matrix["metric"]))) > 1:
        raise LedgerError(f"{folder}: the matrix has scores of different kinds, {', '.join(metrics)}: a study has one")
    damaged: list[str] | None = [] if skip_damaged else None
    runs, epochs = gather(folder, damaged)
    _check_scores(folder, runs)
    return Frames(
        matrix,
        runs,
        epochs,
        read_correct(folder, matrix, damaged),
        read_definition(folder),
        read_driver(folder),
        gpu_share(folder),
        str(folder),
        sorted(set(damaged or ())),
        read_predictors(folder),
        read_account(folder),
        whole[tried].reset_index(drop=True),
    )


def _check_scores(folder: str | Path, runs: pd.DataFrame) -> None:
    """Refuses what no score can be; such a file is older than the check of what is written."""
    scores = runs[list(RESULT_COLUMNS)].to_numpy(dtype=float, na_value=np.nan)
    for row, column in np.argwhere(np.isinf(scores))[:1]:
        name = RESULT_COLUMNS[column]
        raise LedgerError(f"{folder}/runs/{runs['run_id'].iloc[row]}/run.parquet: {name} is {scores[row, column]}")
