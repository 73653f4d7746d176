"""Files of older schema versions are read by today's names and words, beside files of today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import LedgerError, ledger, read_epochs, read_matrix, read_runs
from analysis.schema import MATRIX_SCHEMA, RUN_SCHEMA
from tests.analysis.older import all_as_version, as_version

MakeRun = Callable[..., dict[str, Any]]
MakeEpochs = Callable[..., list[dict[str, Any]]]
NEW = ("memory_measures", "peak_memory", "preemptions", "skipped_images", "trial")
SCORES = ["val_score_raw", "val_score_ema", "test_score_raw", "test_score_ema"]
CELL = {"study": "s", "data": "coco", "teacher": "t", "student": "x", "method": "kd", "setting": "tuned", "seed": 1}


def test_version_1_is_read_beside_this_one(tmp_path: Path, make_run: MakeRun, make_epochs: MakeEpochs) -> None:
    """Columns that it does not have are null, its failure classes are those of today."""
    words = {"a": None, "b": "Diverged", "c": "Lost", "d": "ConfigError"}
    for run_id, word in words.items():
        ledger.write_run(tmp_path, make_run(run_id, memory_measures="checkpointing"))
        ledger.write_epochs(tmp_path, run_id, make_epochs(run_id, 90.0))
        for name in ("run.parquet", "epochs.parquet"):
            as_version("1", tmp_path / "runs" / run_id / name, word if name == "run.parquet" else None)
    new = make_run("e", memory_measures="checkpointing", peak_memory=2**40, preemptions=2, skipped_images=3, trial=7)
    ledger.write_run(tmp_path, new | {"failure_class": "oom"})
    frame = read_runs(tmp_path)
    assert list(frame.columns) == RUN_SCHEMA.names and len(frame) == 5
    assert frame.loc[:3, list(NEW)].isna().all(axis=None)
    assert frame.loc[4, list(NEW)].to_list() == ["checkpointing", 2**40, 2, 3, 7]
    classes = [None if pd.isna(value) else value for value in frame["failure_class"]]
    assert classes == [None, "diverged", "lost", "bug", "oom"]
    assert read_runs(tmp_path, ["preemptions", "seed"])["preemptions"].dropna().to_list() == [2]
    old = ledger.read_run(tmp_path, "b")
    assert old is not None and old["failure_class"] == "diverged" and old["peak_memory"] is None
    ledger.write_run(tmp_path, old)
    assert ledger.read_run(tmp_path, "b") == old
    assert len(ledger.read_run_epochs(tmp_path, "a")) == 4 and len(read_epochs(tmp_path)) == 16


def test_version_2_is_read_and_keeps_its_failures(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a", failure_class="oom", peak_memory=5, trial=3))
    as_version("2", tmp_path / "runs" / "a" / "run.parquet")
    row = ledger.read_run(tmp_path, "a")
    assert row is not None and (row["failure_class"], row["peak_memory"], row["trial"]) == ("oom", 5, None)


def test_version_3_is_read_by_today_s_names(tmp_path: Path, make_run: MakeRun, make_epochs: MakeEpochs) -> None:
    """Its scores are top-1 accuracies of classification; what it did not know is null."""
    task = {"task": "detection", "metric": "map", "details": "{}", "initial_sha256": "ab"}
    ledger.write_run(tmp_path, make_run("a", teacher_score=77.0, trial=3, **task))
    ledger.write_epochs(tmp_path, "a", make_epochs("a", 90.0))
    row = dict.fromkeys(MATRIX_SCHEMA.names) | CELL | {"status": "waiting", "rule": "last", "weights": "raw"}
    ledger.write_matrix(tmp_path, [row | {"metric": "miou"}])
    today = read_epochs(tmp_path)
    all_as_version("3", tmp_path)
    ledger.write_run(tmp_path, make_run("b", **task))
    ledger.write_epochs(tmp_path, "b", make_epochs("b", 90.0))
    runs = read_runs(tmp_path).set_index("run_id")
    old = {"task": "classification", "metric": "top1", "teacher_score": 77.0, "trial": 3}
    assert runs.loc["a", list(old)].to_dict() == old and runs.loc["a", ["details", "initial_sha256"]].isna().all()
    assert runs.loc["b", list(task)].to_dict() == task
    assert read_runs(tmp_path, ["metric", "teacher_score"]).to_numpy().tolist() == [["top1", 77.0], ["map", 95.0]]
    assert ledger.read_run(tmp_path, "a") == runs.loc["a"].to_dict() | {"run_id": "a"} | {
        name: None for name in runs if pd.isna(runs.loc["a", name])
    }
    epochs = read_epochs(tmp_path)
    pd.testing.assert_frame_equal(epochs[epochs["run_id"] == "a"], today)
    assert read_epochs(tmp_path, SCORES).notna().any().to_list() == [True, False, True, False]
    assert ledger.read_run_epochs(tmp_path, "a")[0]["val_score_raw"] == today["val_score_raw"][0]
    assert read_matrix(tmp_path)["metric"].to_list() == ["top1"] == [ledger.read_matrix_rows(tmp_path)[0]["metric"]]


def test_version_3_with_names_of_version_4_is_refused(tmp_path: Path, make_epochs: MakeEpochs) -> None:
    ledger.write_epochs(tmp_path, "a", make_epochs("a", 90.0))
    path = tmp_path / "runs" / "a" / "epochs.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"table": "epoch", "schema_version": "3"}), path)
    with pytest.raises(LedgerError, match="columns differ from those of schema version 3"):
        read_epochs(tmp_path)


def test_version_1_with_columns_of_version_2_is_refused(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    path = tmp_path / "runs" / "a1" / "run.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"table": "run", "schema_version": "1"}), path)
    with pytest.raises(LedgerError, match="columns differ from those of schema version 1"):
        read_runs(tmp_path)
