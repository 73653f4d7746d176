"""The ledger: the single truth about what a study has done, as Parquet files in one folder.

    <storage>/<study>/study.json              what the study is
                      matrix.parquet          every cell, setting and seed with its state
                      driver.json             the driver's sign of life (`analysis.live`)
                      runs/<run_id>/run.parquet      written last: a run has ended when it exists
                                    epochs.parquet   one row an epoch, while the run goes on

A folder is a path or the URI of any Arrow filesystem (`s3://bucket/prefix`, `gs://…`). A file is complete or absent:
locally it is written under a name that begins with "_" and renamed, on an object store it is one PUT. Names that
begin with "_" are never read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from analysis.schema import EPOCH_SCHEMA, MATRIX_SCHEMA, RUN_SCHEMA, LedgerError, as_current, check_schema, to_table

Folder = str | Path
_READERS = 8


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


def read_runs(folder: Folder, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Every ended run, one row each, in order of run_id; all columns of RUN_SCHEMA unless `columns` names some.

    Raises LedgerError for a file that is damaged, foreign, of another schema version, or of another run.
    """
    return _read_all(folder, "run.parquet", RUN_SCHEMA, columns)


def read_epochs(folder: Folder, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Every epoch of every run, ended or not, in order of run_id and epoch. Errors as `read_runs`."""
    return _read_all(folder, "epochs.parquet", EPOCH_SCHEMA, columns)


def read_matrix(folder: Folder) -> pd.DataFrame:
    """The study's matrix, in the order it was written. Raises LedgerError where there is none."""
    table = _matrix(folder)
    if table is None:
        raise LedgerError(f"{folder}: no matrix.parquet here, so this is not the folder of a study")
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
    filesystem, root = _open(folder)
    return _run_folders(filesystem, root)


def list_runs(folder: Folder) -> list[str]:
    """The ids of the runs that have ended, sorted. An absent folder has none."""
    filesystem, root = _open(folder)
    if isinstance(filesystem, fs.LocalFileSystem):
        folders = _run_folders(filesystem, root)
        return [run_id for run_id in folders if os.path.exists(f"{root}/runs/{run_id}/run.parquet")]
    selector = fs.FileSelector(f"{root}/runs", allow_not_found=True, recursive=True)
    ended = [info.path.split("/") for info in filesystem.get_file_info(selector) if info.base_name == "run.parquet"]
    return sorted(parts[-2] for parts in ended if not parts[-2].startswith("_"))


def write_file(folder: Folder, name: str, data: bytes) -> None:
    """Write `folder`/`name` as a whole or not at all. Raises LedgerError, in one line, where the storage refuses."""
    filesystem, root = _open(folder)
    path = f"{root}/{name}"
    try:
        if isinstance(filesystem, fs.LocalFileSystem):
            _write_local(Path(path), data)
        else:
            _put(filesystem, path, data)
    except OSError as error:
        raise LedgerError(f"cannot write {folder}/{name}: {error.strerror or error}") from error


def read_file(folder: Folder, name: str) -> bytes | None:
    """The bytes of `folder`/`name`, or None where it does not exist."""
    filesystem, root = _open(folder)
    data = _get(filesystem, f"{root}/{name}")
    return None if data is None else data.to_pybytes()


def list_files(folder: Folder, place: str) -> list[str]:
    """The names of the files in `folder`/`place`, sorted, without temporary ones; empty where that does not exist."""
    filesystem, root = _open(folder)
    found = filesystem.get_file_info(fs.FileSelector(f"{root}/{place}", allow_not_found=True))
    return sorted(info.base_name for info in found if info.is_file and not info.base_name.startswith("_"))


def remove_file(folder: Folder, name: str) -> None:
    """Remove `folder`/`name`, which exists."""
    filesystem, root = _open(folder)
    filesystem.delete_file(f"{root}/{name}")


def _open(folder: Folder) -> tuple[fs.FileSystem, str]:
    """The filesystem of a path or URI, and the folder's path inside it, without a slash at its end."""
    text = str(folder)
    if "://" not in text:
        return fs.LocalFileSystem(), os.path.abspath(text)
    try:
        filesystem, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise LedgerError(f"{text}: not a storage that Arrow can open: {str(error).splitlines()[0]}") from error
    return filesystem, path.rstrip("/")


def _write_local(path: Path, data: bytes) -> None:
    """Temporary name, fsync, rename, fsync of the folder: after a power cut the file is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix="_", suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _put(filesystem: fs.FileSystem, path: str, data: bytes) -> None:
    """One PUT. Object stores know no folders; mounted filesystems want theirs made first."""
    try:
        stream = filesystem.open_output_stream(path)
    except FileNotFoundError:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = filesystem.open_output_stream(path)
    with stream:
        stream.write(data)


def _get(filesystem: fs.FileSystem, path: str) -> pa.Buffer | None:
    try:
        with filesystem.open_input_stream(path) as stream:
            return stream.read_buffer()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror or str(error).splitlines()[0]}") from error


def _to_bytes(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """A single row is stored plain: a codec and a dictionary per column treble the time to read thousands of them."""
    sink = pa.BufferOutputStream()
    several = len(rows) > 1
    codec = "zstd" if several else "none"
    pq.write_table(to_table(rows, schema), sink, compression=codec, use_dictionary=several, write_statistics=False)
    return sink.getvalue().to_pybytes()


def _read(filesystem: fs.FileSystem, path: str, schema: pa.Schema, wanted: pa.Schema) -> pa.Table | None:
    """The `wanted` columns of one checked file, or None where it does not exist. Fetched in one request."""
    data = _get(filesystem, path)
    if data is None:
        return None
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.schema_arrow  # converted anew at each access
        check_schema(found, schema, path)
        there = set(found.names)
        table = file.read(columns=[name for name in wanted.names if name in there], use_threads=False)
        return as_current(table, wanted)
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: not readable as Parquet: {str(error).splitlines()[0]}") from error


def _matrix(folder: Folder) -> pa.Table | None:
    filesystem, root = _open(folder)
    return _read(filesystem, f"{root}/matrix.parquet", MATRIX_SCHEMA, MATRIX_SCHEMA)


def _read_one(folder: Folder, run_id: str, name: str, schema: pa.Schema) -> list[dict[str, Any]]:
    filesystem, root = _open(folder)
    table = _read(filesystem, f"{root}/runs/{run_id}/{name}", schema, schema)
    return [] if table is None else table.to_pylist()


def _run_folders(filesystem: fs.FileSystem, root: str) -> list[str]:
    """The sorted names under runs/ that are not temporary."""
    if isinstance(filesystem, fs.LocalFileSystem):
        names = os.listdir(f"{root}/runs") if os.path.isdir(f"{root}/runs") else []
    else:
        selector = fs.FileSelector(f"{root}/runs", allow_not_found=True)
        names = [info.base_name for info in filesystem.get_file_info(selector)]
    return sorted(name for name in names if not name.startswith("_"))


def _read_all(folder: Folder, name: str, schema: pa.Schema, columns: Sequence[str] | None) -> pd.DataFrame:
    """That file of every run, in one frame. Threads hide the latency of an object store."""
    for column in columns or ():
        if column not in schema.names:
            raise LedgerError(f"unknown column {column!r}; columns of {name}: {', '.join(schema.names)}")
    names = schema.names if columns is None else ["run_id", *(column for column in columns if column != "run_id")]
    wanted = pa.schema([schema.field(column) for column in names], schema.metadata)
    filesystem, root = _open(folder)

    def one(run_id: str) -> pa.Table | None:
        path = f"{root}/runs/{run_id}/{name}"
        table = _read(filesystem, path, schema, wanted)
        if table is not None and any(found != run_id for found in table["run_id"].unique().to_pylist()):
            raise LedgerError(f"{path}: holds run {table['run_id'][0]}, not the run its folder is named after")
        return table

    tables = [table for table in _parallel(one, _run_folders(filesystem, root)) if table is not None]
    table = pa.concat_tables(tables) if tables else wanted.empty_table()
    return table.to_pandas() if columns is None else table.select(list(columns)).to_pandas()


def _parallel(one: Callable[[str], pa.Table | None], names: Sequence[str]) -> list[pa.Table | None]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(one, names))
