"""Everything a figure or a table can be made of: the frames of one study, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cells import cells
from analysis.cost import gpu_share
from analysis.ledger import gather, read_correct, read_matrix
from analysis.live import Driver, read_driver
from analysis.metrics import METRICS, Metric
from analysis.schema import LedgerError
from analysis.storage import read_file


@dataclass(frozen=True)
class Frames:
    """One study as frames: the ledger's `matrix`, `runs` (without the bits of each test image) and `epochs`.

    `correct`: of the matrix' finished runs the packed bits of each test image's correctness, under the rule and
    weights that the matrix shows. `definition`: study.json. `driver`: its last sign of life, None where it left none.
    `gpu_share` of a GPU was given to a run of one worker. `place`: the study's folder, as it was given.
    """

    matrix: pd.DataFrame
    runs: pd.DataFrame
    epochs: pd.DataFrame
    correct: Mapping[str, bytes]
    definition: Mapping[str, Any]
    driver: Driver | None = None
    gpu_share: float = 1.0
    place: str = ""

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per pair, method and setting: `analysis.cells.cells`."""
        return cells(self.matrix, self.runs, self.correct)

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


def load(folder: str | Path) -> Frames:
    """The study in `folder`, running or finished. Raises LedgerError where there is none or a file is not ours."""
    matrix = read_matrix(folder)
    if (matrix["setting"] == "scratch").all():
        raise LedgerError(f"{folder}: the matrix has no cell to report")
    if len(metrics := sorted(set(matrix["metric"]))) > 1:
        raise LedgerError(f"{folder}: the matrix has scores of different kinds, {', '.join(metrics)}: a study has one")
    return Frames(
        matrix,
        *gather(folder),
        read_correct(folder, matrix),
        _definition(folder),
        read_driver(folder),
        gpu_share(folder),
        str(folder),
    )


def _definition(folder: str | Path) -> Mapping[str, Any]:
    """What study.json says; empty where it does not exist."""
    try:
        values = json.loads(read_file(folder, "study.json") or b"{}")
    except ValueError as error:
        raise LedgerError(f"{folder}/study.json: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise LedgerError(f"{folder}/study.json: not the definition of a study")
    return values
