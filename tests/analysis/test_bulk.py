"""The copy of many small files: what is read through it is what the files say now, in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import read_epochs, read_runs
from analysis.ledger import gather, write_epochs, write_run

Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, make_run: Make, make_epochs: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs b and d that have ended, c that goes on, and their copy."""
    monkeypatch.setattr("analysis.bulk._WORTH", 1)
    for run_id in "bcd":
        write_epochs(tmp_path, run_id, make_epochs(run_id, 60.0, 12))
    for run_id in "bd":
        write_run(tmp_path, make_run(run_id))
    gather(tmp_path)
    return tmp_path


def kept(folder: Path, name: str) -> set[str]:
    return set(pq.read_table(folder / "gathered" / name)["run_id"].to_pylist())


def test_only_runs_that_have_ended_are_kept(folder: Path, make_run: Make) -> None:
    assert kept(folder, "run.parquet") == kept(folder, "epochs.parquet") == {"b", "d"}
    write_run(folder, make_run("c"))
    gather(folder)
    assert kept(folder, "run.parquet") == kept(folder, "epochs.parquet") == {"b", "c", "d"}


def test_a_file_of_the_same_size_that_has_changed_is_read_again(folder: Path, make_run: Make) -> None:
    path = folder / "runs" / "b" / "run.parquet"
    before = path.stat().st_size
    write_run(folder, make_run("b", seconds=11.0))
    found = read_runs(folder, ["run_id", "seconds"])  # of all columns there is no copy
    assert path.stat().st_size == before and found["seconds"].to_list() == [11.0, 10.0]


def test_what_is_new_stands_in_its_place(folder: Path, make_run: Make, make_epochs: Make) -> None:
    for run_id in "ac":
        write_epochs(folder, run_id, make_epochs(run_id, 70.0, 12))
        write_run(folder, make_run(run_id))
    assert read_runs(folder, ["run_id"])["run_id"].to_list() == ["a", "b", "c", "d"]
    rows = read_epochs(folder)[["run_id", "epoch"]]
    expected = [(run_id, epoch) for run_id in "abcd" for epoch in range(1, 13)]
    pd.testing.assert_frame_equal(rows, pd.DataFrame(expected, columns=["run_id", "epoch"]), check_dtype=False)
