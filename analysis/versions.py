"""Tables that older programs wrote, read as today's: what they called otherwise, and what they did not know."""

from __future__ import annotations

import pyarrow as pa

from analysis.schema import SCHEMA_VERSION, LedgerError

OLDER = ("1", "2", "3")
_RENAMED = {
    "val_score_raw": "val_top1_raw",
    "val_score_ema": "val_top1_ema",
    "test_score_raw": "test_top1_raw",
    "test_score_ema": "test_top1_ema",
    "teacher_score": "teacher_top1",
}
"""Names that columns had before version 4, when all runs were of classification."""

_CAME = {
    "memory_measures": "2",
    "peak_memory": "2",
    "preemptions": "2",
    "skipped_images": "2",
    "trial": "3",
    "task": "4",
    "metric": "4",
    "details": "4",
    "initial_sha256": "4",
}
"""The version that brought a column. In version 1 `failure_class` is any word and `seconds` of an epoch leaves out its
scoring."""

_FILLED = {"task": "classification", "metric": "top1"}
"""What a column says of a run that was recorded before it came; the others are null."""

_FAILURES_OF_1 = {"Diverged": "diverged", "Lost": "lost"}
JOINED_COLUMNS = frozenset(_CAME.keys() - _FILLED.keys())
"""Columns that are null in what some older program wrote: it did not know them."""


def check_schema(found: pa.Schema, schema: pa.Schema, where: str) -> None:
    """Raises LedgerError, naming the file `where`, unless the columns found there are those that `schema` has in the
    version that the file says."""
    metadata = found.metadata or {}
    name = schema.metadata[b"table"].decode()
    kind, version = (metadata.get(key, b"").decode(errors="replace") for key in (b"table", b"schema_version"))
    if kind != name:
        raise LedgerError(f"{where}: not a {name} table of this ledger" + (f" but a {kind} table" if kind else ""))
    if version not in (*OLDER, SCHEMA_VERSION):
        reads = f"{', '.join(OLDER)} and {SCHEMA_VERSION}"
        raise LedgerError(f"{where}: schema version {version or 'missing'}; this program reads {reads}")
    if not found.equals(schema if version == SCHEMA_VERSION else _as_it_was(schema, version)):
        raise LedgerError(f"{where}: columns differ from those of schema version {version}")


def stored_names(found: pa.Schema, wanted: pa.Schema) -> list[str]:
    """The columns of a checked file that today's columns `wanted` are read from."""
    version = found.metadata[b"schema_version"].decode()
    return wanted.names if version == SCHEMA_VERSION else _as_it_was(wanted, version).names


def as_current(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A checked table, all columns or some, as one of `schema`."""
    version = table.schema.metadata[b"schema_version"].decode()
    if version == SCHEMA_VERSION:
        return table if table.schema.names == schema.names else table.select(schema.names)
    arrays = []
    for field in schema:
        if _CAME.get(field.name, "1") > version:
            column = pa.array([_FILLED.get(field.name)] * len(table), field.type)
        else:
            column = table[_RENAMED.get(field.name, field.name)]
        if field.name == "failure_class" and version == "1":
            column = pa.array([value and _FAILURES_OF_1.get(value, "bug") for value in column.to_pylist()], field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_it_was(schema: pa.Schema, version: str) -> pa.Schema:
    """The columns of an older version."""
    known = [field for field in schema if _CAME.get(field.name, "1") <= version]
    return pa.schema([field.with_name(_RENAMED.get(field.name, field.name)) for field in known])
