"""The same small file of every run as one table: thousands of them, checked one by one, each opened once if possible.

What a report, or now and then the driver of a study, has read is kept in `gathered/` of the study's folder, beside the
size and the time of change of every file that it came from, so that the next reading opens only what is new. It is a
copy, never a truth: a file that differs in either is read again, and a copy that is damaged or of another version is as
good as none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from analysis.points import reached
from analysis.schema import LedgerError
from analysis.storage import get, names, put, stamped
from analysis.versions import as_current, check_schema, stored_names

KEPT = "gathered"
_READERS = {True: 2, False: 8}
"""Threads on a local disk, where more of them only wait for each other, and on an object store."""

_CHUNK = 250
_WORTH = 500
"""So many files must be new before a copy is written: a small study is read at once."""

Stamps = Mapping[str, tuple[int, int]]


def read_table(filesystem: fs.FileSystem, path: str, schema: pa.Schema, wanted: pa.Schema) -> pa.Table | None:
    """The `wanted` columns of one file, checked against `schema`; None where it does not exist. Raises LedgerError."""
    data = get(filesystem, path)
    if data is None:
        return None
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.schema_arrow  # converted anew at each access
        check_schema(found, schema, path)
        table = file.read(columns=stored_names(found, wanted), use_threads=False)
        return as_current(table, wanted)
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: not readable as Parquet: {str(error).splitlines()[0]}") from error


def run_folders(filesystem: fs.FileSystem, root: str) -> list[str]:
    """The sorted names under runs/ that are not temporary."""
    return names(filesystem, f"{root}/runs")


def read_every(
    filesystem: fs.FileSystem,
    root: str,
    name: str,
    schema: pa.Schema,
    wanted: pa.Schema,
    keep: bool,
    damaged: list[str] | None = None,
) -> pa.Table:
    """The `wanted` columns of the file `name` of every run, in order of run_id. Raises LedgerError for bad files, all
    at once; where `damaged` is given they are left out and their errors added to it.

    With `keep` what was read is kept for the next time, as far as its run has ended.
    """

    def one(run_id: str) -> pa.Table | None:
        path = f"{root}/runs/{run_id}/{name}"
        table = read_table(filesystem, path, schema, wanted)
        if table is not None and pc.any(pc.not_equal(table["run_id"], run_id)).as_py():
            raise LedgerError(f"{path}: holds run {table['run_id'][0]}, not the run its folder is named after")
        return table

    path = f"{root}/{KEPT}/{name}"
    kept, stamps = _kept(filesystem, path, schema, wanted)
    if kept is None and not keep:
        return _joined(read_each(filesystem, one, run_folders(filesystem, root), damaged), wanted)
    now, ended = _stamps(filesystem, root, name)
    same = {run_id for run_id, stamp in now.items() if stamps.get(run_id) == stamp}
    fresh = [run_id for run_id in now if run_id not in same]
    known = [] if kept is None else [kept.filter(pc.is_in(kept["run_id"], pa.array(sorted(same), pa.string())))]
    found = read_each(filesystem, one, fresh, damaged)
    table = _joined([*known, *found], wanted)
    if known and fresh:
        order = [("run_id", "ascending")] + ([("epoch", "ascending")] if "epoch" in wanted.names else [])
        table = table.sort_by(order)
    if keep and len(ended.intersection(fresh)) >= _WORTH:
        mine = table.filter(pc.is_in(table["run_id"], pa.array(sorted(ended), pa.string())))
        if not damaged:
            _keep(filesystem, path, mine, {run_id: now[run_id] for run_id in ended})
    return table


def read_each(
    filesystem: fs.FileSystem,
    one: Callable[[str], pa.Table | None],
    run_ids: Sequence[str],
    damaged: list[str] | None = None,
) -> list[pa.Table]:
    """What `one` gives for each of `run_ids`, in order, joined by the hundreds: thousands of small tables take several
    times the memory of their rows. Threads hide the latency of an object store.

    A LedgerError of `one` is raised when all have been tried, with those of all others; where `damaged` is given, it is
    added there instead."""
    bad: list[LedgerError] = []

    def tried(name: str) -> pa.Table | None:
        try:
            return one(name)
        except LedgerError as error:
            bad.append(error)
            return None

    def some(chunk: Sequence[str]) -> pa.Table | None:
        tables = [table for table in map(tried, chunk) if table is not None and len(table)]
        return pa.concat_tables(tables).combine_chunks() if tables else None

    chunks = [run_ids[start : start + _CHUNK] for start in range(0, len(run_ids), _CHUNK)]
    with ThreadPoolExecutor(_READERS[isinstance(filesystem, fs.LocalFileSystem)]) as pool:
        found = [table for table in pool.map(some, chunks) if table is not None]
    if damaged is not None:
        damaged += map(str, bad)
    elif len(bad) == 1:
        raise bad[0]
    elif bad:
        raise LedgerError(f"{len(bad)} files cannot be read: {'; '.join(sorted(map(str, bad)))}")
    return found


def _joined(tables: Sequence[pa.Table], wanted: pa.Schema) -> pa.Table:
    return pa.concat_tables([table.cast(wanted) for table in tables]) if tables else wanted.empty_table()


def _stamps(filesystem: fs.FileSystem, root: str, name: str) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Size and time of change of that file of each run that has it, in order; and the runs that have ended."""
    files = {found.path: found for found in stamped(filesystem, f"{root}/runs")}
    shown = sorted(
        path.removesuffix(f"/{name}") for path in files if path.count("/") == 1 and path.endswith(f"/{name}")
    )
    stamps = {run_id: (files[f"{run_id}/{name}"].size, files[f"{run_id}/{name}"].mtime_ns) for run_id in shown}
    return stamps, {run_id for run_id in shown if f"{run_id}/run.parquet" in files}


def _kept(filesystem: fs.FileSystem, path: str, schema: pa.Schema, wanted: pa.Schema) -> tuple[pa.Table | None, Stamps]:
    """The copy at `path`, if it has all `wanted` columns, with the stamps of what it was made of."""
    try:
        data = get(filesystem, path)
        file = pq.ParquetFile(pa.BufferReader(data)) if data is not None else None
        if file is None or not set(wanted.names) <= set(file.schema_arrow.names):
            return None, {}
        facts = file.schema_arrow.metadata
        if facts[b"schema_version"] != schema.metadata[b"schema_version"]:
            return None, {}
        stamps = {run_id: tuple(stamp) for run_id, stamp in json.loads(facts[b"stamps"]).items()}
        return file.read(columns=wanted.names).select(wanted.names), stamps
    except (pa.ArrowException, OSError, LedgerError, KeyError, TypeError, ValueError):
        return None, {}


def _keep(filesystem: fs.FileSystem, path: str, table: pa.Table, stamps: Stamps) -> None:
    sink = pa.BufferOutputStream()
    facts = {**table.schema.metadata, b"stamps": json.dumps(stamps).encode()}
    pq.write_table(table.replace_schema_metadata(facts), sink, compression="lz4", write_statistics=False)
    reached("gather")
    put(filesystem, path, sink.getvalue().to_pybytes())
