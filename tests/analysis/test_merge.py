"""Two clusters' ledgers of one study become one: nothing twice, nothing lost, nothing quietly chosen."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis import ledger, read_matrix, read_runs, storage
from analysis.__main__ import main
from analysis.merge import merge, merged_text
from analysis.report import write_report
from tests.analysis.halves import STUDY, matrix, tree
from tests.analysis.older import all_as_version

Make = Callable[..., Any]


def test_two_halves_become_the_whole(tmp_path: Path, ledgers: Make) -> None:
    later = datetime.datetime(2026, 2, 2, tzinfo=datetime.UTC)
    a = ledgers("a", {"1": {}, "2": {}}, pairs=[["t", "x"]], seeds=3, gpu_share=None)
    b = ledgers(
        "b",
        {"2": {"host": "other", "started": later, "skipped_images": 0}, "3": {}},
        pairs=[["t", "x"], ["t", "y"]],
        methods=["pat"],
    )
    matrix(a, ("scratch", 1, "1", "finished"), ("tuned", 1, "2", "finished"), ("tuned", 2, None, "waiting"))
    matrix(b, ("tuned", 1, "2", "finished"), ("tuned", 2, "3", "finished"), ("scratch", 2, None, "waiting"))
    before = {**tree(a)}
    merged = merge([a, b], tmp_path / "d")
    assert not merged.conflicts and merged.matrix
    assert merged.counts == {str(a): {"new": 2}, str(b): {"new": 1, "here already": 1}}
    assert list(read_runs(tmp_path / "d")["run_id"]) == ["1", "2", "3"]
    text = merged_text(merged, tmp_path / "d")
    assert "b for " in text and "1 here already, 1 new." in text and "once the folder is named s." in text
    rows = read_matrix(tmp_path / "d")[["setting", "seed", "run_id", "status"]].to_dict("records")
    assert [tuple(row.values())[:2] for row in rows] == [("scratch", 1), ("scratch", 2), ("tuned", 1), ("tuned", 2)]
    assert rows[3]["run_id"] == "3" and rows[3]["status"] == "finished"
    united = json.loads((tmp_path / "d" / "study.json").read_text())
    assert united == {**STUDY, "pairs": [["t", "x"], ["t", "y"]], "methods": ["kd", "pat"], "seeds": 3}
    assert tree(a) == before
    assert (tmp_path / "d/runs/3/student.safetensors").read_bytes() == b"weights of 3"
    whole = tree(tmp_path / "d")
    merge([a, b], tmp_path / "d")
    assert tree(tmp_path / "d") == whole, "given again"
    merge([a, b], a)
    assert tree(a) == whole, "into one of them"


def test_a_run_on_its_way_goes_on_from_the_further_checkpoint(tmp_path: Path, ledgers: Make) -> None:
    a = ledgers("a", {"1": {"status": None, "epochs": 1}, "2": {"status": None, "epochs": 3}, "3": {"status": None}})
    b = ledgers("b", {"1": {"status": None, "epochs": 2}, "2": {"status": None, "epochs": 2}, "3": {}})
    (a / "runs" / "2" / "checkpoint.pt").replace(a / "runs" / "2" / "_checkpoint.pt")
    merged = merge([a, b], a)
    assert merged.counts[str(b)] == {"further than here": 3} and not merged.conflicts
    assert (a / "runs/1/checkpoint.pt").read_text() == "checkpoint 2"
    assert (a / "runs/2/checkpoint.pt").read_text() == "checkpoint 2", "epochs without a checkpoint are none"
    assert len(ledger.read_run_epochs(a, "1")) == 2 and len(ledger.read_run_epochs(a, "2")) == 2
    assert storage.list_files(a, "runs/3") == ["epochs.parquet", "run.parquet", "student.safetensors"]
    assert merge([b], a).counts[str(b)] == {"here already": 3}


@pytest.mark.parametrize("old", ["a", "b"])
def test_a_part_of_version_3_and_one_of_this_version(tmp_path: Path, ledgers: Make, old: str) -> None:
    """The same run is no conflict; a run on its way goes on from the further checkpoint; a score that differs is named
    by today's name."""
    now = {"initial_sha256": "", "details": None}
    parts = {
        "a": ledgers("a", {"1": now, "2": {"status": None, "epochs": 1}, "4": {"status": None, "epochs": 2}}),
        "b": ledgers("b", {"1": now, "2": {"status": None, "epochs": 3}, "3": {}, "4": {"final": 80.0}}),
    }
    matrix(parts["a"], ("scratch", 1, "1", "finished"), ("tuned", 1, "2", "running"))
    matrix(parts["b"], ("scratch", 1, "1", "finished"), ("tuned", 1, "3", "finished"))
    all_as_version("3", parts[old])
    merged = merge([parts["a"], parts["b"]], tmp_path / "d")
    assert {conflict.run_id for conflict in merged.conflicts} == {"4"}
    assert {conflict.column.split()[-1] for conflict in merged.conflicts} == {"val_score_raw", "test_score_raw"}
    runs = read_runs(tmp_path / "d")
    assert runs["run_id"].to_list() == ["1", "3", "4"] and set(runs["metric"]) == {"top1"}
    assert len(ledger.read_run_epochs(tmp_path / "d", "2")) == 3
    assert read_matrix(tmp_path / "d")[["run_id", "metric"]].to_numpy().tolist() == [["1", "top1"], ["3", "top1"]]
    assert main(["merge", str(parts["a"]), str(parts["b"]), "--into", str(tmp_path / "d")]) == 1, "given again"


def test_results_that_differ_are_reported_and_both_kept(
    tmp_path: Path, ledgers: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    a = ledgers("a", {"1": {}, "2": {}, "3": {"test_correct_last_raw": b"\x01"}})
    b = ledgers("b", {"1": {"final": 91.0}, "2": {}, "3": {"test_correct_last_raw": b"\x02"}})
    for _ in range(2):
        assert main(["merge", str(a), str(b), "--into", str(a)]) == 1
    text = capsys.readouterr().out
    assert "CONFLICTS in 2 runs" in text and "t → x kd seed 0 | test_last_raw" in text
    assert "epoch 2 val_score_raw" in text and "and 4 values more" in text and " 01 |" in text and str(b) in text
    first, kept = ledger.read_run(a, "1"), sorted(os.listdir(a / "conflicts"))
    assert first is not None and first["test_last_raw"] == 90.0 and kept == ["1-1", "3-1"]
    assert tree(a / "conflicts" / "1-1") == tree(b / "runs" / "1")
    c = ledgers("c", {"1": {"final": 92.0}})
    merge([c], a)
    assert sorted(os.listdir(a / "conflicts")) == ["1-1", "1-2", "3-1"]


def test_epochs_that_differ_are_a_conflict_also_before_the_end(tmp_path: Path, ledgers: Make) -> None:
    a, b = ledgers("a", {"1": {"status": None, "epochs": 2, "final": 80.0}}), ledgers("b", {"1": {}})
    merged = merge([a, b], a)
    assert {conflict.column for conflict in merged.conflicts} == {
        f"epoch {epoch} {name}" for epoch in (1, 2) for name in ("val_score_raw", "test_score_raw")
    }
    assert ledger.list_runs(a) == ["1"], "a result stands before a run on its way"
    assert (a / "conflicts/1-1/checkpoint.pt").read_text() == "checkpoint 2"
    assert not (a / "runs/1/checkpoint.pt").exists()


def test_a_failure_gives_way_to_a_result(tmp_path: Path, ledgers: Make) -> None:
    failed = {"status": "failed", "failure_class": "lost", "message": "its process was lost", "epochs": 2}
    a = ledgers("a", {"1": failed, "2": {}, "3": failed})
    b = ledgers("b", {"1": {}, "2": failed, "3": {**failed, "message": "another time"}})
    for _ in range(2):
        assert not merge([a, b], tmp_path / "d").conflicts
    assert list(read_runs(tmp_path / "d")["status"]) == ["finished", "finished", "failed"]
    assert sorted(os.listdir(tmp_path / "d" / "set_aside")) == ["1-1", "2-1", "3-1"]


def test_teachers_of_timm_come_along(tmp_path: Path, ledgers: Make) -> None:
    a, b = ledgers("a", {}), ledgers("b", {})
    for folder, name in ((a, "aa"), (b, "bb")):
        storage.write_file(folder, "teachers/tags.json", json.dumps({f"{name}.in1k 32px": name}).encode())
        storage.write_file(folder, f"teachers/{name}.safetensors", name.encode())
    merge([a, b], a)
    assert sorted(os.listdir(a / "teachers")) == ["aa.safetensors", "bb.safetensors", "tags.json"]
    assert json.loads((a / "teachers/tags.json").read_text()) == {"aa.in1k 32px": "aa", "bb.in1k 32px": "bb"}


def test_searches_of_different_lengths_leave_the_matrix_to_the_study(
    tmp_path: Path, ledgers: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = ledgers("a", {"1": {}}), ledgers("b", {"2": {}}, search={"trials": 8, "wave": 4})
    matrix(a, ("tuned", 1, "1", "finished"))
    assert main(["merge", str(a), str(b), "--into", str(tmp_path / "d")]) == 0
    assert "start the study once more" in capsys.readouterr().out
    assert not (tmp_path / "d" / "matrix.parquet").exists()


@pytest.mark.parametrize("stop", range(1, 14))
def test_interrupted_anywhere_it_goes_on(
    tmp_path: Path, ledgers: Make, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """The merge dies at its n-th write; given again, it ends as one that was never disturbed."""
    failed = {"status": "failed", "failure_class": "bug", "message": "m", "epochs": 2}
    a = ledgers("a", {"1": {}, "2": {"status": None, "epochs": 1}, "4": failed, "5": {"status": None, "epochs": 2}})
    b = ledgers("b", {"1": {"final": 91.0}, "2": {"status": None, "epochs": 2}, "3": {}, "4": {}, "5": {}})
    merge([a, b], tmp_path / "whole")
    monkeypatch.setattr("analysis.merge._THREADS", 1)
    write, left = storage.put, iter(range(stop))

    def dying(*arguments: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            merge([b], a)
    merge([b], a)
    assert {**tree(a), "study.json": b""} == {**tree(tmp_path / "whole"), "study.json": b""}


def test_on_an_object_store(tmp_path: Path, ledgers: Make, make_square: Make) -> None:
    pytest.importorskip("fsspec")
    a = ledgers("a", {"1": {}})
    matrix(a, ("scratch", 1, None, "waiting"), ("tuned", 1, "1", "finished"))
    bucket = "fsspec+memory://merge-test/study"
    merge([a], bucket)
    assert list(read_runs(bucket)["run_id"]) == ["1"]
    assert storage.read_file(bucket, "runs/1/student.safetensors") == b"weights of 1"
    merged = merge([bucket], tmp_path / "back")
    assert merged.counts[bucket] == {"new": 1}
    assert "Cells finished: 1 of 1" in write_report(tmp_path / "back")


@pytest.fixture(autouse=True)
def empty_memory_store() -> Iterator[None]:
    yield
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").store.clear()
