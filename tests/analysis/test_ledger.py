"""The ledger: what is written is read back, whole or not at all, and nothing foreign is taken for ours."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from analysis import LedgerError, ledger, read_epochs, read_matrix, read_runs, storage
from analysis.schema import EPOCH_SCHEMA, MATRIX_SCHEMA, RUN_SCHEMA, RUN_VOLATILE

MakeRun = Callable[..., dict[str, Any]]
MakeEpochs = Callable[..., list[dict[str, Any]]]


def matrix_row(**values: Any) -> dict[str, Any]:
    row = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "s", "data": "digits", "teacher": "t", "student": "x"}
    row["metric"] = "top1"
    row |= {"method": "kd", "setting": "tuned", "seed": 1, "status": "waiting", "rule": "last", "weights": "raw"}
    return row | values


def test_a_run_comes_back_as_written(tmp_path: Path, make_run: MakeRun) -> None:
    bits = bytes(range(45))
    moment = datetime.datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=datetime.UTC)
    written = make_run("a1", test_last_raw=91.25, test_correct_last_raw=bits, started=moment, message="fine | ok")
    ledger.write_run(tmp_path, written)
    assert ledger.read_run(tmp_path, "a1") == written
    frame = read_runs(tmp_path)
    assert list(frame.columns) == RUN_SCHEMA.names
    assert frame.loc[0, "test_correct_last_raw"] == bits
    assert frame.loc[0, "test_last_raw"] == 91.25 and frame.loc[0, "seed"].dtype == "int64"


def test_nan_is_stored_as_null(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1", val_last_ema=float("nan")))
    found = ledger.read_run(tmp_path, "a1")
    assert found is not None and found["val_last_ema"] is None


def test_epochs_of_one_and_of_all_runs(tmp_path: Path, make_run: MakeRun, make_epochs: MakeEpochs) -> None:
    ledger.write_epochs(tmp_path, "b", make_epochs("b", 90.0, epochs=3))
    ledger.write_epochs(tmp_path, "a", make_epochs("a", 80.0, epochs=2))
    ledger.write_epochs(tmp_path, "a", make_epochs("a", 80.0, epochs=4))
    assert [row["epoch"] for row in ledger.read_run_epochs(tmp_path, "a")] == [1, 2, 3, 4]
    assert ledger.read_run_epochs(tmp_path, "none") == []
    frame = read_epochs(tmp_path)
    assert list(zip(frame["run_id"], frame["epoch"], strict=True)) == [("a", e) for e in (1, 2, 3, 4)] + [
        ("b", e) for e in (1, 2, 3)
    ]
    assert list(frame.columns) == EPOCH_SCHEMA.names
    assert ledger.list_runs(tmp_path) == [], "a run without its summary has not ended"
    with pytest.raises(LedgerError, match="run 'b' among those of run 'a'"):
        ledger.write_epochs(tmp_path, "a", make_epochs("b", 1.0))


def test_the_matrix_keeps_its_order(tmp_path: Path) -> None:
    ledger.write_matrix(tmp_path, [matrix_row(seed=seed) for seed in (3, 1, 2)])
    assert list(read_matrix(tmp_path)["seed"]) == [3, 1, 2]


def test_an_empty_or_absent_folder(tmp_path: Path) -> None:
    assert ledger.list_runs(tmp_path / "none") == []
    assert read_runs(tmp_path).shape == (0, len(RUN_SCHEMA.names))
    assert ledger.read_run(tmp_path, "a") is None
    with pytest.raises(LedgerError, match=r"no matrix\.parquet"):
        read_matrix(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sed": 1}, "unknown column 'sed' in a run row; did you mean seed"),
        ({"seed": "one"}, "column 'seed' of a run row must be int64"),
        ({"test_last_raw": "high"}, "column 'test_last_raw' of a run row must be double"),
        ({"student": None}, "column 'student' of a run row may not be null"),
        ({"failure_class": "OOM"}, "'failure_class' of a run row is 'OOM'; allowed: oom, diverged, lost, data, bug"),
        ({"status": "done"}, "'status' of a run row is 'done'; allowed: finished, pruned, diverged, failed"),
    ],
)
def test_a_row_that_does_not_fit(tmp_path: Path, make_run: MakeRun, change: dict[str, Any], words: str) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.write_run(tmp_path, make_run("a1") | change)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_missing_column_is_named(tmp_path: Path, make_run: MakeRun) -> None:
    row = make_run("a1")
    del row["seconds"]
    with pytest.raises(LedgerError, match="missing column seconds in a run row"):
        ledger.write_run(tmp_path, row)


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.write_run(tmp_path, make_run("a1", message="old"))
    seen: list[list[str]] = []

    def crash(source: str, target: str) -> None:
        seen.append(sorted(os.listdir(tmp_path / "runs" / "a1")))
        shown = ledger.read_run(tmp_path, "a1")
        assert shown is not None and shown["message"] == "old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            ledger.write_run(tmp_path, make_run("a1", message="new"))
    (names,) = seen
    assert len(names) == 2 and names[0].startswith("_") and names[1] == "run.parquet"
    assert os.listdir(tmp_path / "runs" / "a1") == ["run.parquet"]


def test_what_a_killed_writer_left_is_never_read(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    (tmp_path / "runs" / "a1" / "_half.parquet").write_bytes(b"PAR1 half")
    (tmp_path / "runs" / "_tmp").mkdir()
    (tmp_path / "runs" / "_tmp" / "run.parquet").write_bytes(b"PAR1 half")
    (tmp_path / "runs" / "b2").mkdir()
    (tmp_path / "runs" / "b2" / "_run.parquet").write_bytes(b"PAR1 half")
    (tmp_path / "runs" / "stray file").write_text("x")
    assert ledger.list_runs(tmp_path) == ["a1"]
    assert list(read_runs(tmp_path)["run_id"]) == ["a1"]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"schema_version": "5", "table": "run"}, "schema version 5; this program reads 1, 2, 3 and 4"),
        ({"schema_version": "1", "table": "epoch"}, "not a run table of this ledger but a epoch table"),
        ({}, "not a run table of this ledger"),
    ],
)
def test_a_foreign_file_is_refused_by_name(
    tmp_path: Path, make_run: MakeRun, metadata: dict[str, str], words: str
) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    path = tmp_path / "runs" / "a1" / "run.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(LedgerError) as caught:
        read_runs(tmp_path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_other_columns_under_our_version_are_refused(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    path = tmp_path / "runs" / "a1" / "run.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["seed"]), path)
    with pytest.raises(LedgerError, match="columns differ from those of schema version 4"):
        read_runs(tmp_path)


def test_damage_and_copies_are_refused_by_name(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    path = tmp_path / "runs" / "a1" / "run.parquet"
    copy = tmp_path / "runs" / "a1 copy" / "run.parquet"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    with pytest.raises(LedgerError, match="holds run a1, not the run its folder is named after"):
        read_runs(tmp_path)
    copy.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LedgerError, match="a1 copy/run.parquet: not readable as Parquet"):
        read_runs(tmp_path)


def test_storage_that_cannot_be_written(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LedgerError, match="cannot write") as caught:
        ledger.write_run(tmp_path / "file", make_run("a1"))
    assert "\n" not in str(caught.value)
    with pytest.raises(LedgerError, match="not a storage that Arrow can open"):
        ledger.write_run("nothing://bucket/study", make_run("a1"))


def test_named_columns_only(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1", seed=7))
    assert read_runs(tmp_path, ["seed"]).to_dict("records") == [{"seed": 7}]
    assert read_runs(tmp_path / "none", ["seed", "run_id"]).shape == (0, 2)
    with pytest.raises(LedgerError, match="unknown column 'sed'"):
        read_runs(tmp_path, ["sed"])


def test_a_uri_of_the_local_disk(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path.as_uri() + "/study", make_run("a1"))
    assert list(read_runs(tmp_path / "study")["run_id"]) == ["a1"]


def test_an_object_store(
    tmp_path: Path, make_run: MakeRun, make_epochs: MakeEpochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any Arrow filesystem that is not the local one: no rename, one stream a file."""
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    for module in (ledger, storage):
        monkeypatch.setattr(module, "open_folder", lambda folder: (store, folder.removeprefix("store://").rstrip("/")))
    monkeypatch.setattr(os, "replace", None)
    folder = "store://bucket/study/"
    assert ledger.list_runs(folder) == []
    for run_id in ("b", "a"):
        ledger.write_epochs(folder, run_id, make_epochs(run_id, 90.0))
        ledger.write_run(folder, make_run(run_id))
    ledger.write_matrix(folder, [matrix_row()])
    storage.write_file(folder, "study.json", b"{}")
    assert storage.read_file(folder, "study.json") == b"{}" and storage.read_file(folder, "none") is None
    assert ledger.list_runs(folder) == ["a", "b"]
    assert list(read_runs(folder)["run_id"]) == ["a", "b"]
    assert len(read_epochs(folder)) == 8 and len(read_matrix(folder)) == 1
    assert sorted(os.listdir(tmp_path / "bucket" / "study" / "runs" / "a")) == ["epochs.parquet", "run.parquet"]


def test_a_store_in_memory(make_run: MakeRun) -> None:
    pytest.importorskip("fsspec")
    folder = "fsspec+memory://ledger-test/study"
    ledger.write_run(folder, make_run("a1"))
    ledger.write_run(folder, make_run("a1", message="again"))
    assert list(read_runs(folder)["message"]) == ["again"] and ledger.list_runs(folder) == ["a1"]


def test_two_thousand_runs(tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    template = ledger._to_bytes([make_run("0" * 16)], RUN_SCHEMA)
    for number in range(2000):
        run_id = f"{number:016x}"
        path = tmp_path / "runs" / run_id / "run.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(template.replace(b"0" * 16, run_id.encode()))
    start = time.perf_counter()
    frame = read_runs(tmp_path)
    assert len(frame) == 2000 and frame["run_id"].is_monotonic_increasing
    assert time.perf_counter() - start < 30, "about 2 s where nothing else runs"


def test_volatile_columns_exist() -> None:
    assert set(RUN_VOLATILE) < set(RUN_SCHEMA.names)
    assert {"peak_memory", "preemptions"} < set(RUN_VOLATILE)
    assert not {"memory_measures", "skipped_images"} & set(RUN_VOLATILE)


def test_frames_keep_the_types_of_the_schema(tmp_path: Path, make_run: MakeRun) -> None:
    ledger.write_run(tmp_path, make_run("a1"))
    frame = read_runs(tmp_path)
    assert pa.Schema.from_pandas(frame).field("seed").type == pa.int64()
    assert frame["started"].dt.tz is not None
    assert isinstance(frame, pd.DataFrame)
