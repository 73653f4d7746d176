"""The report end to end: its files, its numbers, its words, and one line for what cannot be reported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.__main__ import main
from analysis.frames import Frames, load
from analysis.ledger import write_file, write_matrix, write_run
from analysis.report import summary_bytes, write_report
from analysis.tables import optimism, readable
from analysis.words import markdown

Make = Callable[..., Any]
FILES = (
    "summary.parquet",
    "summary.md",
    "gain_heatmap.png",
    "gain_heatmap.pdf",
    "learning_curves.png",
    "learning_curves.pdf",
)
CNN_KD = ("resnet_tiny", "resnet_nano", "kd", "tuned")
CNN_PAT = ("resnet_tiny", "resnet_nano", "pat", "default")
DRIVER = {"host": "h", "pid": 1, "started": "2026-01-01T00:00:00+00:00", "beat": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Path:
    folder: Path = make_square(states={("vit_mini", "vit_nano", "pat", "tuned"): ("waiting", "search")}).write(
        tmp_path_factory.mktemp("study")
    )
    assert main(["report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def frames(reported: Path) -> Frames:
    return load(reported)


def test_every_file_is_there_and_nothing_else(reported: Path) -> None:
    found = {path.name for path in reported.iterdir()}
    assert found == {*FILES, "matrix.parquet", "runs"}
    assert (reported / "gain_heatmap.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_is_the_cells(reported: Path, frames: Frames) -> None:
    frame = pd.read_parquet(reported / "summary.parquet")
    cells = frames.cells
    assert len(frame) == 36 and list(frame.columns) == list(cells.columns)
    pd.testing.assert_frame_equal(frame, cells, check_dtype=False)
    assert {"n", "scratch_mean", "gain_over_scratch_p_holm", "gain_over_kd_high", "teacher_top1"} <= set(frame)
    assert pq.read_schema(reported / "summary.parquet").metadata[b"schema_version"] == b"2"


def test_the_same_ledger_gives_the_same_bytes(tmp_path: Path, make_square: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",), seeds=(1, 2)).write(tmp_path)
    write_report(folder)
    before = {name: (folder / name).read_bytes() for name in FILES}
    assert not any(b"CreationDate" in data for data in before.values())
    write_report(folder)
    assert before == {name: (folder / name).read_bytes() for name in FILES}


def test_the_readable_table(frames: Frames) -> None:
    cells = frames.cells
    table = readable(cells)
    assert len(table) == 18 and list(table.columns[5:9]) == ["tuned", "tuned gain", "tuned over KD", "tuned n"]
    chosen = "teacher == 'resnet_tiny' and student == 'vit_nano' and method == 'pat'"
    row, cell = table.query(chosen).iloc[0], cells.query(f"{chosen} and setting == 'tuned'").iloc[0]
    half = (cell["gain_over_scratch_high"] - cell["gain_over_scratch_low"]) / 2
    assert row["tuned gain"].startswith(f"{cell['gain_over_scratch']:+.2f} ± {half:.2f}")
    assert row["tuned gain"].endswith("*") == (cell["gain_over_scratch_p_holm"] < 0.05)
    assert row["teacher top-1"] == "95.00" and row["tuned n"] == "3"
    lines = markdown(table).split("\n")
    assert len({len(line) for line in lines}) == 1, "aligned"


def test_the_words(reported: Path) -> None:
    text = (reported / "summary.md").read_text()
    assert "Cells finished: 35 of 36; 1 waiting." in text
    assert "too small to prove anything about PAT" in text
    assert "Selection rule: last epoch, raw weights" in text
    assert "| teacher     | teacher top-1 |" in text and "Teacher top-1: the teacher's own test accuracy" in text
    assert "- waiting: search: vit_mini → vit_nano pat tuned" in text
    assert "Spent: 0.32 device-hours of training in 114 runs (scratch 0.03, confirm 0.29)." in text


def test_what_failed_and_what_it_cost(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    """One row for each kind of failure with the way to run it again; measures, losses and money are said."""
    folder = make_square(("cnn",), states={CNN_KD: ("failed", "a | b"), CNN_PAT: ("diverged", "NaN")}).write(tmp_path)
    names = {"teacher": "resnet_tiny", "student": "resnet_nano", "phase": "search", "seconds": 3600.0, "device": "H200"}
    search = {"status": "failed", "failure_class": "oom", "message": "m" * 200, "workers": 2}
    write_run(folder, make_run("s1", method="pat", **names, **search))
    write_run(folder, make_run("s2", **names, memory_measures="checkpointing", retries=1, preemptions=2))
    write_run(folder, make_run("s3", **names, skipped_images=7))
    write_file(folder, "study.json", b'{"gpu_share": 0.5}')
    write_file(folder, "driver.json", json.dumps({**DRIVER, "price": 2.5}).encode())
    text = write_report(folder)
    rows = [[part.strip() for part in line.split(" | ")] for line in text.split("\n") if "--retry" in line]
    assert [row[0] for row in rows[1:]] == ["| oom", "| diverged", "| bug"]
    assert [row[1] for row in rows[1:]] == ["1", "3", "3"], "runs"
    assert rows[1][2:4] == ["resnet_tiny → resnet_nano pat", "m" * 99 + "…"] and rows[3][3] == r"a \| b"
    ways = [row[-1].strip(" |") for row in rows[1:]]
    assert ways == ["--retry failed", "--retry diverged", "--retry failed"]
    assert "- checkpointing, 1 of 18 runs: resnet_tiny → resnet_nano kd" in text
    hours = 2 + 0.5 + 0.5 + 15 * 10 / 3600
    assert f"Spent: {hours:.2f} device-hours of training in 18 runs" in text
    assert f"that is {2.5 * hours:.2f} at 2.5 a device-hour. Processes lost: 1, and 2 more by preemption." in text
    assert text.endswith("Unreadable images left out: up to 7, in 1 of 18 runs.\n")
    cells = load(folder).cells.set_index(["method", "setting"])
    assert cells.loc[("kd", "tuned"), "failure_class"] == "bug" and cells.loc[("kd", "default"), "failure_class"] == ""


def test_a_study_without_failures_has_no_table_of_them(reported: Path) -> None:
    text = (reported / "summary.md").read_text()
    assert "--retry" not in text and "bit for bit" not in text and "lost" not in text


def test_optimism_is_best_on_test_minus_last(frames: Frames) -> None:
    table = optimism(frames).set_index("method")
    assert dict(table["runs"]) == {"kd": 54, "pat": 51, "scratch": 9}
    assert table["optimism"].to_list() == pytest.approx([0.5] * 3)


def test_other_data_sets_bring_no_warning(tmp_path: Path, make_square: Make) -> None:
    folder = make_square(("cnn",), data="cifar100", seeds=(1, 2)).write(tmp_path)
    text = write_report(folder)
    assert "prove" not in text and "Data set cifar100" in text


def test_a_study_that_has_only_begun(tmp_path: Path, make_square: Make) -> None:
    """Rows without runs: the report is written, its Parquet types are those of a finished study."""
    study = make_square(("cnn",))
    finished = load(study.write(tmp_path / "a"))
    matrix = finished.matrix.astype(object)
    rows = matrix.where(matrix.notna(), None).assign(status="waiting", reason="", run_id=None, options=None)
    write_matrix(tmp_path / "b", rows.to_dict("records"))
    text = write_report(tmp_path / "b")
    assert "Cells finished: 0 of 4; 4 waiting." in text and "Spent: 0.00 device-hours of training in 0 runs." in text
    (tmp_path / "a.parquet").write_bytes(summary_bytes(finished.cells))
    assert pq.read_schema(tmp_path / "b" / "summary.parquet") == pq.read_schema(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", ["absent", "empty", "foreign", "newer"])
def test_folders_that_cannot_be_reported(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    if content != "absent":
        folder.mkdir()
    if content == "foreign":
        (folder / "matrix.parquet").write_text("not parquet")
    if content == "newer":
        metadata = {"table": "matrix", "schema_version": "9"}
        pq.write_table(pa.table({"teacher": ["t"]}, metadata=metadata), folder / "matrix.parquet")
    assert main(["report", str(folder)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.startswith("error: ") and str(folder) in error
    assert not (folder / "summary.md").exists()


def test_help_says_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in ((["--help"], "report"), (["report", "--help"], "summary.parquet")):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0 and word in capsys.readouterr().out


def test_analysis_opens_without_torch_and_ray() -> None:
    """Imported in a fresh interpreter, with all of its modules."""
    code = "import analysis.__main__, sys, json; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "ray", "optuna", "pat", "sweeps"} & set(json.loads(done.stdout))
