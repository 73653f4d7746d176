"""The status of a study, as a person without Ray reads it: from a hand-made folder."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis import ledger, storage
from analysis.schema import MATRIX_SCHEMA
from sweeps.__main__ import main
from sweeps.commands import status
from sweeps.costs.plan_text import _closed
from sweeps.looking.picture import Reader
from sweeps.looking.status_facts import status_facts
from sweeps.looking.status_text import STATES, cell_states, status_text
from tests.analysis.conftest import epoch_rows, run_row

Cell = tuple[str, str, str]
KD, PAT, SCRATCH = ("t", "x", "kd"), ("t", "x", "pat"), ("", "x", "scratch")


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def row(cell: Cell, setting: str, seed: int, status: str, run_id: str | None = None) -> dict[str, Any]:
    found = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "s", "data": "digits", "seed": seed, "status": status}
    found |= dict(zip(("teacher", "student", "method"), cell, strict=True))
    return found | {"setting": setting, "run_id": run_id, "rule": "last", "weights": "raw", "metric": "top1"}


def run(folder: Path, run_id: str, cell: Cell, **values: Any) -> None:
    names = dict(zip(("teacher", "student", "method"), cell, strict=True))
    ledger.write_epochs(folder, run_id, epoch_rows(run_id, 90.0))
    ledger.write_run(folder, run_row(run_id, **names, **{"seconds": 3600.0, **values}))


def drive(folder: Path, age: float = 2.0, **facts: Any) -> None:
    """The driver's last sign of life, `age` seconds ago."""
    beat = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    known = {"host": "node1", "pid": 42, "started": beat, "beat": beat, "command": "sweeps/hetero_grid.py --pairs 1"}
    storage.write_file(folder, "driver.json", json.dumps({**known, "ended": "", "slots": 2, **facts}).encode())


def flight(run_id: str, cell: Cell, **values: Any) -> dict[str, Any]:
    entry = {"run_id": run_id, "cell": list(cell), "phase": "search", "seed": 0, "until": 4, "epochs": 9}
    return {**entry, "since": time.time() - 30, **values}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """One pair, two methods: baselines done, kd half done with a failure, pat searching, one more run paused."""
    folder = tmp_path / "s"
    storage.write_file(folder, "study.json", b'{"name": "s", "workers": {"pat": 2}, "gpu_share": 0.5}')
    rows = [row(SCRATCH, "scratch", 1, "finished", "a"), row(KD, "default", 1, "waiting", "b")]
    rows += [row(KD, "default", 2, "running", "c"), row(PAT, "tuned", 1, "waiting")]
    ledger.write_matrix(folder, rows)
    run(folder, "a", SCRATCH, phase="scratch")
    run(folder, "b", KD, preemptions=2, device="H200")
    run(folder, "c", KD, status="failed", failure_class="oom", message="3 workers would fit")
    for run_id, epochs in (("d", 3), ("e", 1)):
        ledger.write_epochs(folder, run_id, [r | {"seconds": 1800.0} for r in epoch_rows(run_id, 90.0)[:epochs]])
    storage.write_file(folder, "runs/d/_where.json", b'{"host": "node2", "pid": 7, "device": "H200"}')
    drive(folder, running=[flight("d", PAT), flight("a", SCRATCH), flight("f", PAT)], price=3.0)
    return folder


def test_everything_is_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive(study, running=[flight("d", PAT), flight("a", SCRATCH)], price=3.0, counts=[3, 10], seconds_left=7200.0)
    assert main(["status", str(study)]) == 0
    text = capsys.readouterr().out
    assert "driver  pid 42 on node1, alive; up to 2 runs at a time" in text
    runs = "3 of 10 done; 3 ended (2 finished, 0 pruned, 0 diverged, 1 failed), 1 in flight, 1 paused"
    assert f"{runs}; about 2 h 00 min left" in text
    assert "cells   3: 1 finished, 1 running, 0 waiting, 1 failed, 0 blocked" in text
    assert 1 + 0.5 + 1 + 3 * 0.5 * 2 + 0.5 == 6, "a, b on half a GPU, c, d on two workers, e"
    assert "6.00 device-hours, that is 18.00 at 3 a device-hour" in text
    assert "processes lost: 0, and 2 more by preemption" in text
    lines = text.split("\n")
    assert [line.split() for line in lines if line.startswith("t ")] == [
        ["t", "x", "1/1", "1/2", "FAILED", "0/1", "running"]
    ]
    (line,) = (line.split() for line in lines if line.startswith("d "))
    assert line == ["d", "3", "of", "4", "30", "s", "node2", "H200", "search", "0", "pat", "t", "->", "x"]
    assert "| oom " in text and "3 workers would fit" in text
    assert "python sweeps/hetero_grid.py --pairs 1 --retry failed" in text


def test_another_price_and_a_run_that_is_about_to_begin(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["status", str(study), "--price", "10"])
    text = capsys.readouterr().out
    assert "at 10 a device-hour" in text and "2 in flight, 1 paused" in text
    assert ["f", "0", "of", "4"] in [line.split()[:4] for line in text.split("\n")]


def test_a_status_for_programs_says_the_same(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive(study, running=[flight("d", PAT)], counts=(3, 9), seconds_left=100.0)
    main(["status", str(study)])
    text = capsys.readouterr().out
    assert main(["status", str(study), "--json", "--price", "10"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["study"] == "s" and facts["driver"]["alive"] and (facts["runs_done"], facts["runs"]) == (3, 9)
    assert facts["money"] == pytest.approx(10 * facts["device_hours"])
    assert f"spent   {facts['device_hours']:,.2f} device-hours" in text and facts["seconds_left"] == 100.0
    assert [run["run_id"] for run in facts["running"]] == ["d"]
    states = Counter(cell["state"] for cell in facts["cells"])
    assert all(f"{states[state]} {state}" in text for state in STATES)
    assert {run["run_id"] for run in facts["failed"]} <= set(ledger.list_runs(study))


def test_a_share_that_only_the_driver_knows(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage.write_file(study, "study.json", b'{"name": "s", "gpu_share": null}')
    for share, hours in ((0.5, "4.50"), (None, "5.00")):
        drive(study, gpu_share=share)
        main(["status", str(study)])
        assert f"spent   {hours} device-hours" in capsys.readouterr().out


def test_a_device_that_gets_no_work(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sick = {"place": "node3 GPU 2", "seconds": 3010.0, "failures": 3, "last": "CUDA error"}
    for ended, said in (("", True), ("done", False)):
        drive(study, closed=[sick, sick | {"place": "node4", "seconds": 1.0}], ended=ended, age=2)
        main(["status", str(study)])
        text = capsys.readouterr().out
        line = "node3 GPU 2 gets no work for 50 min, after 3 failures in a row, the last: CUDA error"
        assert (f"closed  {line}" in text) == said and "node4" not in text
        assert _closed(study) == [line] * said, "what a plan says"


def test_a_driver_that_is_gone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive(study, age=90, running=[flight("d", PAT)], seconds_left=100.0)
    main(["status", str(study)])
    text = capsys.readouterr().out
    assert "pid 42 on node1: no sign of life since" in text and "UTC, 2 min ago" in text
    assert "0 in flight, 2 paused" in text and "left" not in text and "running," in text
    assert cell_states(Reader(study).look())[PAT] == "waiting"


def test_a_study_that_is_complete_or_stopped(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.write_matrix(study, [row(SCRATCH, "scratch", 1, "finished", "a"), row(KD, "default", 1, "waiting", "b")])
    (study / "runs" / "c" / "run.parquet").unlink()
    drive(study, ended="done")
    main(["status", str(study)])
    text = capsys.readouterr().out
    assert "driver  ended 2 s ago: done (pid 42 on node1)" in text
    assert f"next    python -m analysis report {study}" in text and "--retry" not in text
    ledger.write_matrix(study, [row(KD, "default", 1, "blocked"), row(PAT, "tuned", 1, "finished", "gone")])
    drive(study, ended="stopped", command="/x/sweeps/__main__.py train --seed 1")
    main(["status", str(study)])
    text = capsys.readouterr().out
    assert "1 waiting, 0 failed, 1 blocked" in text and "0/1 blocked" in text
    assert "next    python -m sweeps train --seed 1" in text


@pytest.mark.parametrize("name", ["classification", "detection", "segmentation"])
def test_the_head_says_which_task(study: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    head = f"study   s in {study}"
    main(["status", str(study)])
    assert capsys.readouterr().out.split("\n")[0] == head
    storage.write_file(study, "study.json", json.dumps({"name": "s", "task": {"name": name, "options": {}}}).encode())
    main(["status", str(study)])
    said = head if name == "classification" else f"study   s: {name}, in {study}"
    assert capsys.readouterr().out.split("\n")[0] == said


def test_a_study_that_has_only_begun_and_what_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive(tmp_path)
    assert main(["status", str(tmp_path)]) == 0
    assert "cells   0:" in capsys.readouterr().out
    for folder in ("none", "s3x://bucket/study"):
        assert main(["status", str(tmp_path / folder) if folder == "none" else folder]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    (tmp_path / "driver.json").write_text("[]")
    assert main(["status", str(tmp_path)]) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticks(study: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The second look finds the study ended, and with one run more."""

    def sleep(seconds: float) -> None:
        run(study, "d", PAT)
        (study / "runs" / "c" / "run.parquet").unlink()
        drive(study, ended="done")

    monkeypatch.setattr(status.time, "sleep", sleep)
    return sleep


def test_watching_on_a_terminal_redraws_in_place(study: Path, ticks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "9")
    stream = Terminal()
    status.watch(Reader(study), 5, None, stream)
    first, second = stream.getvalue().split("\033[H")[1:]
    for screen in (first, second):
        lines = screen.partition("\033[J")[0].split("\033[K\n")
        assert len(lines) <= 9 and all(len(line) < 60 for line in lines)
    assert "alive" in first and "1 failed" in first and "ended 2 s ago" in second and "0 failed" in second
    assert stream.getvalue().endswith("\033[?25h")


def test_watching_into_a_file_is_a_line_each_time(study: Path, ticks: Any) -> None:
    stream = io.StringIO()
    status.watch(Reader(study), 5, None, stream)
    first, second = stream.getvalue().splitlines()
    assert "3 ended" in first and "2 in flight" in first and "3 ended (3 finished" in second and "\033" not in first


def test_a_second_look_reads_only_what_is_new(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, read = Reader(study), ledger.read_run
    reader.look()
    run(study, "z", KD)
    seen: list[str] = []
    monkeypatch.setattr(ledger, "read_run", lambda folder, run_id: seen.append(run_id) or read(folder, run_id))
    monkeypatch.setattr(ledger, "read_runs", None)
    assert len(reader.look().ended) == 4 and seen == ["z"]


def test_an_object_store() -> None:
    pytest.importorskip("fsspec")
    folder: Any = "fsspec+memory://status-test/study"
    ledger.write_matrix(folder, [row(KD, "default", 1, "waiting", "b")])
    run(folder, "b", KD)
    assert "cells   1: 1 finished" in status_text(Reader(folder).look(), None)


def test_looking_needs_neither_torch_nor_ray() -> None:
    code = "import sweeps.__main__, sweeps.commands.status, sys; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "ray", "optuna", "pat", "timm"} & set(done.stdout.split())


@pytest.mark.parametrize("text", ['{"name": "s"', "[]", '{"workers": "two"}', '{"task": 3}', '{"pairs": 5}'])
def test_a_damaged_definition_is_said_and_hides_nothing(tmp_path: Path, text: str) -> None:
    run(tmp_path, "a" * 16, KD)
    storage.write_file(tmp_path, "study.json", text.encode())
    picture = Reader(tmp_path).look()
    told = status_text(picture, None)
    assert f"damaged {tmp_path}/study.json: " in told and "1 ended" in told and picture.hours == 1.0
    assert status_facts(picture, None)["damaged"]
