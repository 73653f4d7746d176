"""A finished study in a few small files, to be kept and published: its record without weights and checkpoints.

<pack>/study.json, matrix.parquet, searches/, predictors.json, data.json    as in the study's folder
       runs.parquet, epochs.parquet    all of runs/*/run.parquet and epochs.parquet
       driver.json                     the share of a GPU that its runs had, where known
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from analysis import storage
from analysis.account import FILE as ACCOUNT
from analysis.bulk import read_every, read_table
from analysis.definition import below
from analysis.live import FILE as DRIVER
from analysis.live import read_driver
from analysis.predictors import FILE as PREDICTORS
from analysis.schema import EPOCH_SCHEMA, RUN_SCHEMA, LedgerError
from analysis.storage import Folder

STUDY, MATRIX, SEARCHES = "study.json", "matrix.parquet", "searches"
_GATHERED = {"run.parquet": ("runs.parquet", RUN_SCHEMA), "epochs.parquet": ("epochs.parquet", EPOCH_SCHEMA)}


def pack(folder: Folder, into: Folder) -> None:
    """Write the record of the study in `folder` as a pack; the same record gives the same bytes.

    Raises LedgerError where `folder` holds no study or one of its files cannot be read.
    """
    _copy(folder, into)
    if (driver := read_driver(folder)) and driver.facts.get("gpu_share") is not None:
        storage.write_file(into, DRIVER, json.dumps({"gpu_share": driver.facts["gpu_share"]}).encode())
    for name, (whole, schema) in _GATHERED.items():
        table = read_every(*storage.open_folder(folder), name, schema, schema, keep=False)
        _write(table, into, whole, compression="zstd")


def unpack(packed: Folder, folder: Folder) -> None:
    """The folder of the study again, as reports and merges read it. Raises LedgerError for what is no pack."""
    filesystem, root = storage.open_folder(packed)
    if (driver := storage.read_file(packed, DRIVER)) is not None:
        storage.write_file(folder, DRIVER, driver)
    for name, (whole, schema) in _GATHERED.items():
        table = read_table(filesystem, f"{root}/{whole}", schema, schema)
        if table is None:
            raise LedgerError(f"{packed}: no {whole} here, so this is no packed study")
        for run_id, rows in _by_run(table):
            _write(rows, folder, f"runs/{run_id}/{name}", compression="none")
    _copy(packed, folder)


def _copy(source: Folder, into: Folder) -> None:
    """What is the same in both; the matrix last, which makes a folder that of a study."""
    names = [
        STUDY,
        PREDICTORS,
        ACCOUNT,
        *(f"{SEARCHES}/{name}" for name in sorted(storage.list_files(source, SEARCHES))),
    ]
    for name in (*names, MATRIX):
        data = storage.read_file(source, name)
        if data is not None:
            storage.write_file(into, name, data)
        elif name in (STUDY, MATRIX):
            raise LedgerError(f"{source}: no {name} here, so this is not the folder of a study{below(source)}")


def _by_run(table: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    """The rows of each run, which stand together."""
    runs = table["run_id"].to_pylist()
    starts = [at for at, run_id in enumerate(runs) if not at or runs[at - 1] != run_id]
    for start, end in zip(starts, [*starts[1:], len(runs)], strict=True):
        yield runs[start], table.slice(start, end - start)


def _write(table: pa.Table, into: Folder, name: str, compression: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=compression, write_statistics=False)
    storage.write_file(into, name, sink.getvalue().to_pybytes())
