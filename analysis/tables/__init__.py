"""Tables, one a file: `prepare(frames) -> frame` makes the numbers, `@register_table` says what the columns are.

Their words have places for those of the study's metric (`analysis.metrics.Metric.say`). Every module of
this package is imported, so there is no list to edit. All tables of a report have the schema version TABLES_VERSION and
are written by `analysis.tables.forms`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from analysis.frames import Frames
from analysis.metrics import Metric

TABLES_VERSION = "3"
"""Raised whenever a column of a report's table is added, removed, or changes its meaning or type."""

TEXT, REAL, INT, BOOL = pa.string(), pa.float64(), pa.int64(), pa.bool_()
TIME = pa.timestamp("us", tz="UTC")

Prepare = Callable[[Frames], pd.DataFrame]
Columns = Mapping[str, tuple[pa.DataType, str]]
ColumnsOf = Callable[[Metric], Columns]


@dataclass(frozen=True)
class Table:
    """One table of the report: `name` of its files, `title`, `note` (what a reader must know), its `columns` with type
    and a line of meaning and unit each, `shown` those that a person wants to see first, `prepare` its numbers."""

    name: str
    title: str
    note: str
    columns: Columns
    shown: Sequence[str]
    prepare: Prepare

    def worded(self, metric: Metric) -> Table:
        """The same with the words of a metric."""
        columns = {name: (kind, metric.say(about)) for name, (kind, about) in self.columns.items()}
        return replace(self, title=metric.say(self.title), note=metric.say(self.note), columns=columns)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with each column's meaning as field metadata `about`."""
        fields = [pa.field(name, kind, metadata={"about": about}) for name, (kind, about) in self.columns.items()]
        return pa.schema(fields, metadata={"tables_version": TABLES_VERSION, "table": self.name, "note": self.note})

    def arrow(self, frame: pd.DataFrame) -> pa.Table:
        """`frame` as an Arrow table of exactly `schema`; types do not depend on what happens to be missing."""
        arrays = [_array(frame[field.name], field.type) for field in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)


_tables: dict[str, tuple[int, Callable[[Metric], Table]]] = {}


def register_table(
    name: str, order: int, *, title: str, note: str, columns: Columns | ColumnsOf, shown: Sequence[str] = ()
) -> Callable[[Prepare], Prepare]:
    """Make the decorated function the table `name`; the report shows tables by `order`, and of them the columns
    `shown` first (all where none is named). Where `columns` depend on the metric, one without any has no such table."""

    def decorate(prepare: Prepare) -> Prepare:
        if name in _tables:
            raise ValueError(f"two tables are named {name!r}")

        def make(metric: Metric) -> Table:
            found = columns(metric) if callable(columns) else columns
            first = tuple(column for column in shown or found if column in found)
            return Table(name, title, note, found, first, prepare).worded(metric)

        _tables[name] = order, make
        return prepare

    return decorate


def list_tables(metric: Metric) -> list[Table]:
    """All tables of a study with this metric, in the order of the report."""
    ordered = sorted(_tables.items(), key=lambda item: (item[1][0], item[0]))
    return [table for _, (_, make) in ordered if (table := make(metric)).columns]


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values: Any = column.astype("Int64" if pa.types.is_integer(kind) else "boolean")
        return pa.array(values, type=kind, from_pandas=True)
    if pa.types.is_floating(kind):
        return pa.array(column.astype(float).to_numpy(), type=kind, from_pandas=True)
    return pa.array(column, type=kind, from_pandas=True)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
