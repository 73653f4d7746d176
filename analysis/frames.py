"""Everything a figure or a table can be made of: the frames of one study, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.cells import cells
from analysis.cost import gpu_share
from analysis.ledger import read_epochs, read_matrix, read_runs
from analysis.live import read_driver
from analysis.schema import CORRECT_COLUMNS, RUN_SCHEMA, LedgerError


@dataclass(frozen=True)
class Frames:
    """One study as frames: the ledger's `matrix`, `runs` (without the bits of each test image) and `epochs`, and the
    `cells` computed from them (`analysis.cells.cells`). `gpu_share` of a GPU was given to a run of one worker; `price`
    is money for a device-hour, None where the driver was not told one."""

    matrix: pd.DataFrame
    runs: pd.DataFrame
    epochs: pd.DataFrame
    cells: pd.DataFrame
    gpu_share: float = 1.0
    price: float | None = None

    @property
    def study(self) -> str:
        return str(self.matrix["study"].iloc[0])

    @property
    def data(self) -> str:
        return str(self.matrix["data"].iloc[0])


def load(folder: str | Path) -> Frames:
    """The study in `folder`, running or finished. Raises LedgerError where there is none or a file is not ours."""
    matrix = read_matrix(folder)
    if (matrix["setting"] == "scratch").all():
        raise LedgerError(f"{folder}: the matrix has no cell to report")
    runs = read_runs(folder, [name for name in RUN_SCHEMA.names if name not in CORRECT_COLUMNS])
    epochs = read_epochs(folder)
    driver = read_driver(folder)
    return Frames(matrix, runs, epochs, cells(matrix, runs), gpu_share(folder), driver.price if driver else None)
