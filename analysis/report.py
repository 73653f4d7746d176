"""The report of one study: a table for programs, a table for people, and every registered figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.frames import load
from analysis.ledger import write_file
from analysis.plots import compose_plot, list_plots, render
from analysis.schema import SCHEMA_VERSION
from analysis.tables import overview

_INTEGERS = ("seeds_planned", "seeds_finished", "n", "gain_over_kd_n")
_TEXTS = (
    "study", "data", "teacher", "teacher_family", "student", "student_family", "method", "setting", "options", "rule",
    "weights", "status", "reason", "failure_class", "memory_measures",
)  # fmt: skip


def write_report(folder: str | Path) -> str:
    """Write summary.parquet, summary.md and every figure (PNG and PDF) into `folder`; returns the text of summary.md.

    The same ledger gives the same bytes. Raises LedgerError where `folder` holds no study or cannot be written.
    """
    frames = load(folder)
    text = overview(frames)
    write_file(folder, "summary.parquet", summary_bytes(frames.cells))
    write_file(folder, "summary.md", text.encode())
    for name in list_plots():
        figure = compose_plot(name, frames)
        for form in ("png", "pdf"):
            write_file(folder, f"{name}.{form}", render(figure, form))
    return text


def summary_bytes(cells: pd.DataFrame) -> bytes:
    """The `cells` as a Parquet file whose types do not depend on what happens to be missing."""
    fields = [pa.field(name, _kind(name)) for name in cells.columns]
    schema = pa.schema(fields, metadata={"schema_version": SCHEMA_VERSION, "table": "summary"})
    arrays = [pa.array(cells[field.name].astype(object), type=field.type, from_pandas=True) for field in fields]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _kind(column: str) -> pa.DataType:
    return pa.string() if column in _TEXTS else pa.int64() if column in _INTEGERS else pa.float64()
