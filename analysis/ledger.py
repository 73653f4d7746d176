"""The ledger: the single truth about what a study has done, as Parquet files in one folder.

    <storage>/<study>/study.json              what the study is
                      matrix.parquet          every cell, setting and seed with its state
                      searches/               what searches have drawn, a file a wave (`sweeps.waves`)
                      driver.json             the driver's sign of life (`analysis.live`)
                      gathered/               a copy of many runs' files, for reading them at once (`analysis.bulk`)
                      runs/<run_id>/run.parquet      written last: a run has ended when it exists
                                    epochs.parquet   one row an epoch, while the run goes on

A folder is a path or the URI of any Arrow filesystem (`s3://bucket/prefix`, `gs://…`). A file is complete or absent:
locally it is written under a name that begins with "_" and renamed, on an object store it is one PUT. Names that
begin with "_" are never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from analysis.bulk import read_each, read_every, read_table, run_folders
from analysis.definition import below
from analysis.schema import CORRECT_COLUMNS, EPOCH_SCHEMA, MATRIX_SCHEMA, RUN_SCHEMA, LedgerError, to_table
from analysis.storage import Folder, exists, open_folder, stamped, write_file


def write_run(folder: Folder, run: Mapping[str, Any]) -> None:
    """Record that a run has ended: one row of RUN_SCHEMA. Raises LedgerError for a row that does not fit."""
    write_file(folder, f"runs/{run.get('run_id')}/run.parquet", _to_bytes([run], RUN_SCHEMA))


def write_epochs(folder: Folder, run_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the epochs of one run by `rows` of EPOCH_SCHEMA. Raises LedgerError for a row that does not fit."""
    for row in rows:
        if row.get("run_id", run_id) != run_id:
            raise LedgerError(f"an epoch of run {row['run_id']!r} among those of run {run_id!r}")
    write_file(folder, f"runs/{run_id}/epochs.parquet", _to_bytes(rows, EPOCH_SCHEMA))


def write_matrix(folder: Folder, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the study's matrix by `rows` of MATRIX_SCHEMA. Raises LedgerError for a row that does not fit."""
    write_file(folder, "matrix.parquet", _to_bytes(rows, MATRIX_SCHEMA))


def read_runs(folder: Folder, columns: Sequence[str] | None = None, keep: bool = False) -> pd.DataFrame:
    """Every ended run, one row each, in order of run_id; all columns of RUN_SCHEMA unless `columns` names some.

    Raises LedgerError for files that are damaged, foreign, of another schema version, or of another run. With `keep`
    the rows of a large study are also kept for the next reading (`analysis.bulk`).
    """
    return _read_all(folder, "run.parquet", RUN_SCHEMA, columns, keep)


def read_correct(folder: Folder, matrix: pd.DataFrame, damaged: list[str] | None = None) -> dict[str, bytes]:
    """Of the finished runs of `matrix` the packed bits of each test image's correctness, under the row's rule and
    weights. A run that has none, as under the rule best_test, is not in it. Errors and `damaged` as `gather`."""
    rows = matrix[matrix["run_id"].notna() & (matrix["status"] == "finished")]
    shown = "test_correct_" + rows["rule"] + "_" + rows["weights"]
    wanted = {run: name for run, name in zip(rows["run_id"], shown, strict=True) if name in CORRECT_COLUMNS}
    filesystem, root = open_folder(folder)

    def one(run_id: str) -> pa.Table | None:
        columns = pa.schema([RUN_SCHEMA.field(name) for name in ("run_id", wanted[run_id])], RUN_SCHEMA.metadata)
        table = read_table(filesystem, f"{root}/runs/{run_id}/run.parquet", RUN_SCHEMA, columns)
        return None if table is None else table.rename_columns(["run_id", "correct"])

    pairs = (
        zip(table[0].to_pylist(), table[1].to_pylist(), strict=True)
        for table in read_each(filesystem, one, list(wanted), damaged)
    )
    return {run: bits for pair in pairs for run, bits in pair if bits is not None}


def read_epochs(folder: Folder, columns: Sequence[str] | None = None, keep: bool = False) -> pd.DataFrame:
    """Every epoch of every run, ended or not, in order of run_id and epoch. Errors and `keep` as `read_runs`."""
    return _read_all(folder, "epochs.parquet", EPOCH_SCHEMA, columns, keep)


def gather(folder: Folder, damaged: list[str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs (without the bits of each test image) and all epochs, as a report needs them; those of a large study are
    gathered for the next reading. Errors as `read_runs`, but where `damaged` is given: there each bad file is left out
    and its error added."""
    columns = [name for name in RUN_SCHEMA.names if name not in CORRECT_COLUMNS]
    runs = _read_all(folder, "run.parquet", RUN_SCHEMA, columns, True, damaged)
    return runs, _read_all(folder, "epochs.parquet", EPOCH_SCHEMA, None, True, damaged)


def read_matrix(folder: Folder) -> pd.DataFrame:
    """The study's matrix, in the order it was written. Raises LedgerError where there is none."""
    table = _matrix(folder)
    if table is None:
        raise LedgerError(f"{folder}: no matrix.parquet here, so this is not the folder of a study{below(folder)}")
    return table.to_pandas()


def read_matrix_rows(folder: Folder) -> list[dict[str, Any]]:
    """The same as rows, with None for nulls; empty where there is none."""
    table = _matrix(folder)
    return [] if table is None else table.to_pylist()


def read_run(folder: Folder, run_id: str) -> dict[str, Any] | None:
    """The row of one run with None for nulls, or None where the run has not ended."""
    rows = _read_one(folder, run_id, "run.parquet", RUN_SCHEMA)
    return rows[0] if rows else None


def read_run_epochs(folder: Folder, run_id: str) -> list[dict[str, Any]]:
    """The epochs of one run, empty where there are none yet."""
    return _read_one(folder, run_id, "epochs.parquet", EPOCH_SCHEMA)


def list_run_folders(folder: Folder) -> list[str]:
    """The ids of all runs of which there is anything, ended or not, sorted."""
    filesystem, root = open_folder(folder)
    return run_folders(filesystem, root)


def list_runs(folder: Folder) -> list[str]:
    """The ids of the runs that have ended, sorted. An absent folder has none."""
    filesystem, root = open_folder(folder)
    if isinstance(filesystem, fs.LocalFileSystem):
        folders = run_folders(filesystem, root)
        return [run_id for run_id in folders if exists(f"{root}/runs/{run_id}", "run.parquet")]
    files = (found.path.split("/") for found in stamped(filesystem, f"{root}/runs"))
    return [parts[0] for parts in files if parts[1:] == ["run.parquet"]]


def _to_bytes(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """Plain but for texts that repeat: a codec and a dictionary for each column make small files four times as slow to
    read, and a study has thousands of them."""
    sink = pa.BufferOutputStream()
    texts = [field.name for field in schema if field.type == pa.string()] if len(rows) > 1 else False
    pq.write_table(to_table(rows, schema), sink, compression="none", use_dictionary=texts, write_statistics=False)
    return sink.getvalue().to_pybytes()


def _matrix(folder: Folder) -> pa.Table | None:
    filesystem, root = open_folder(folder)
    return read_table(filesystem, f"{root}/matrix.parquet", MATRIX_SCHEMA, MATRIX_SCHEMA)


def _read_one(folder: Folder, run_id: str, name: str, schema: pa.Schema) -> list[dict[str, Any]]:
    filesystem, root = open_folder(folder)
    table = read_table(filesystem, f"{root}/runs/{run_id}/{name}", schema, schema)
    return [] if table is None else table.to_pylist()


def _read_all(
    folder: Folder,
    name: str,
    schema: pa.Schema,
    columns: Sequence[str] | None,
    keep: bool,
    damaged: list[str] | None = None,
) -> pd.DataFrame:
    """That file of every run, in one frame."""
    for column in columns or ():
        if column not in schema.names:
            raise LedgerError(f"unknown column {column!r}; columns of {name}: {', '.join(schema.names)}")
    names = schema.names if columns is None else ["run_id", *(column for column in columns if column != "run_id")]
    wanted = pa.schema([schema.field(column) for column in names], schema.metadata)
    table = read_every(*open_folder(folder), name, schema, wanted, keep, damaged)
    shown = table if columns is None else table.select(list(columns))
    return shown.to_pandas(self_destruct=True, split_blocks=True)
