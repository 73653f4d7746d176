"""A table as files: Parquet and CSV with all columns, Markdown and LaTeX with those that a person reads first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from analysis.labels import shorten
from analysis.tables import Table
from analysis.words import markdown

READABLE, SPREADSHEET = 500, 200_000
"""Longer tables have no Markdown and no LaTeX; still longer ones, as the epochs of a large study, no CSV either."""

_MISSING = "–"
_MODELS = ("teacher", "student")


def files(table: Table, frame: pd.DataFrame) -> dict[str, bytes]:
    """The files of one table by name."""
    arrow = table.arrow(frame)
    made = {f"{table.name}.parquet": parquet(arrow)}
    if len(frame) <= SPREADSHEET:
        made[f"{table.name}.csv"] = csv(arrow)
    if len(frame) <= READABLE:
        made[f"{table.name}.md"] = f"# {table.title}\n\n{table.note}\n\n{markdown(text(table, frame))}\n".encode()
        made[f"{table.name}.tex"] = latex(table, frame).encode()
    return made


def parquet(table: pa.Table) -> bytes:
    """Compressed, with statistics, so that DuckDB and others skip what they do not need."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def csv(table: pa.Table) -> bytes:
    """With a header; missing values are empty."""
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def text(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that are shown, as text: numbers with two decimals, p-values with four, a value and its interval in
    one column, "–" where there is none."""
    columns, intervals = {}, {}
    for name in table.shown:
        if name.endswith("low"):
            high = name.removesuffix("low") + "high"
            intervals[name.removesuffix("low").removesuffix("_")] = _interval(frame[name], frame[high])
        elif not name.endswith("high"):
            columns[name] = _words(frame[name], name, table.columns[name][0])
    for name, interval in intervals.items():
        value = name or "gain"
        if value in columns:
            known = frame[value].notna()
            signed = frame[value].map(_signed, na_action="ignore").astype(object).where(known, _MISSING)
            columns[value] = signed + interval
            continue
        columns[value] = interval.str.strip().replace("", _MISSING)
    return pd.DataFrame({name: columns[name] for name in _places(table.shown) if name in columns})


def latex(table: Table, frame: pd.DataFrame) -> str:
    """A `table` environment with booktabs rules and short names of models; wide ones want \\resizebox around them."""
    models = [name for name in _MODELS if name in frame]
    labels = shorten(pd.unique(pd.concat([frame[name] for name in models])) if models else [])
    short = frame.assign(**{name: frame[name].map(labels) for name in models})
    words = text(table, short)
    words.columns = [str(name).replace("_", " ") for name in words]
    style = words.style.hide(axis="index").format(escape="latex")
    body = style.to_latex(
        hrules=True,
        column_format="".join("l" if _is_words(words[name]) else "r" for name in words),
        caption=escape(f"{table.title}. {table.note}"),
        label=f"tab:{table.name}",
        position_float="centering",
    )
    return f"% needs \\usepackage{{booktabs}}\n{body}"


def describe(tables: list[Table]) -> str:
    """What every column of every table means, as Markdown."""
    parts = ["# The tables of a report", "", "Parquet and CSV have all columns; Markdown and LaTeX those marked *."]
    for table in tables:
        rows = [
            {
                "column": name + (" *" if name in table.shown else ""),
                "type": str(kind),
                "meaning": about,
            }
            for name, (kind, about) in table.columns.items()
        ]
        parts += ["", f"## {table.name}: {table.title}", "", table.note, "", markdown(pd.DataFrame(rows))]
    return "\n".join(parts) + "\n"


def _places(shown: Sequence[str]) -> list[str]:
    """The columns of a readable table in order: an interval without a value of its own stands where its end did."""
    names = [name.removesuffix("low").removesuffix("_") or "gain" if name.endswith("low") else name for name in shown]
    return list(dict.fromkeys(names))


def _interval(low: pd.Series, high: pd.Series) -> pd.Series:
    ends = [
        f" ({_signed(a)} to {_signed(b)})" if pd.notna(a) and pd.notna(b) else ""
        for a, b in zip(low, high, strict=True)
    ]
    return pd.Series(ends, low.index, dtype=object)


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"


def _words(column: pd.Series, name: str, kind: pa.DataType) -> pd.Series:
    if pa.types.is_floating(kind):
        digits = 4 if name.endswith(("_p", "_holm", "_bh")) or name == "p" else 2
        return _each(column, lambda value: f"{round(float(value), digits) + 0.0:.{digits}f}")
    if pa.types.is_boolean(kind):
        return _each(column, lambda value: "yes" if value else "no")
    return _each(column, (lambda value: str(int(value))) if pa.types.is_integer(kind) else str)


def _each(column: pd.Series, words: Callable[[Any], str]) -> pd.Series:
    texts = [words(value) if known else _MISSING for value, known in zip(column, column.notna(), strict=True)]
    return pd.Series(texts, column.index, dtype=object)


def _is_words(column: pd.Series) -> bool:
    return bool(column.str.contains("[A-Za-z]{2}").any() and not column.str.contains(" to ").any())


def escape(words: str) -> str:
    """Text for LaTeX, outside of mathematics."""
    for mark in ("\\", "&", "%", "$", "#", "_", "{", "}", "~", "^"):
        words = words.replace(mark, " " if mark in "\\~^" else f"\\{mark}")
    return words.replace("<", "$<$").replace(">", "$>$")
