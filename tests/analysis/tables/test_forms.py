"""A table as files: what a reader of each form sees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.frames import Frames
from analysis.tables import BOOL, INT, REAL, TEXT, Table, register_table
from analysis.tables.forms import READABLE, SPREADSHEET, describe, files, latex, text


def nothing(frames: Frames) -> pd.DataFrame:
    return pd.DataFrame()


COLUMNS = {
    "teacher": (TEXT, "timm name"),
    "n": (INT, "seeds"),
    "gain": (REAL, "points"),
    "low": (REAL, "95 % interval"),
    "high": (REAL, "its upper end"),
    "p_holm": (REAL, "corrected"),
    "new_low": (REAL, "other interval"),
    "new_high": (REAL, "its upper end"),
    "same": (BOOL, "whether | not"),
}
TABLE = Table("made_up", "A & B", "100 % made_up", COLUMNS, tuple(COLUMNS), nothing)
FRAME = pd.DataFrame(
    {
        "teacher": ["swin_tiny_patch4_window7_224", "a|b"],
        "n": [3, None],
        "gain": [1.234, np.nan],
        "low": [-0.5, np.nan],
        "high": [2.0, np.nan],
        "p_holm": [0.01234, np.nan],
        "new_low": [-1.0, np.nan],
        "new_high": [3.0, np.nan],
        "same": [True, None],
    }
)


def test_a_value_and_its_interval_are_one_column() -> None:
    shown = text(TABLE, FRAME)
    assert list(shown.columns) == ["teacher", "n", "gain", "p_holm", "new", "same"]
    assert shown.iloc[0].to_list() == [
        "swin_tiny_patch4_window7_224", "3", "+1.23 (-0.50 to +2.00)", "0.0123", "(-1.00 to +3.00)", "yes",
    ]  # fmt: skip
    assert shown.iloc[1].to_list() == ["a|b", "–", "–", "–", "–", "–"]


def test_types_do_not_depend_on_what_is_missing() -> None:
    empty = FRAME.iloc[:0]
    for frame in (FRAME, FRAME.iloc[1:], empty, empty.astype(object)):
        assert TABLE.arrow(frame).schema.equals(TABLE.schema, check_metadata=True)
    assert TABLE.arrow(FRAME)["n"].to_pylist() == [3, None] and TABLE.arrow(FRAME)["same"].to_pylist() == [True, None]
    assert TABLE.arrow(FRAME)["gain"].null_count == 1


def test_latex_is_escaped_and_ruled() -> None:
    made = latex(TABLE, FRAME)
    assert r"\caption{A \& B. 100 \% made\_up}" in made and r"\label{tab:made_up}" in made
    assert all(rule in made for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"swin\_tiny & 3 & +1.23 (-0.50 to +2.00) & 0.0123" in made and "p holm" in made


def test_markdown_cells_cannot_break_the_table() -> None:
    lines = files(TABLE, FRAME)["made_up.md"].decode().splitlines()
    rows = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


def test_parquet_keeps_meanings() -> None:
    table = pq.read_table(pa.BufferReader(files(TABLE, FRAME)["made_up.parquet"]))
    assert table.schema.field("gain").metadata == {b"about": b"points"} and len(table) == 2


@pytest.mark.parametrize(
    ("rows", "forms"),
    [(READABLE, {"parquet", "csv", "md", "tex"}), (READABLE + 1, {"parquet", "csv"}), (SPREADSHEET + 1, {"parquet"})],
)
def test_long_tables_are_for_programs(rows: int, forms: set[str]) -> None:
    table = Table("t", "T", "N", {"x": (INT, "number")}, ("x",), nothing)
    assert {name.partition(".")[2] for name in files(table, pd.DataFrame({"x": np.arange(rows)}))} == forms


def test_the_description_names_every_column() -> None:
    words = describe([TABLE])
    assert all(f"| {name}" in words for name in COLUMNS) and r"whether \| not" in words


def test_two_tables_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tables are named 'cells'"):
        register_table("cells", 1, title="", note="", columns={})(nothing)
