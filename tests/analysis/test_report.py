"""The report end to end: its files, the same bytes for the same ledger, and one line for what cannot be reported."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import ledger
from analysis.__main__ import main
from analysis.definition import read_definition
from analysis.frames import load
from analysis.ledger import write_matrix
from analysis.metrics import METRICS
from analysis.plots import FORMS
from analysis.report import write_report, write_tables_only
from analysis.schema import LedgerError
from analysis.tables import TABLES_VERSION, list_tables
from tests.analysis.older import as_version

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Path:
    folder: Path = make_square(
        ("cnn", "vit"), trials=4, states={("vit_mini", "vit_nano", "pat", "tuned"): ("waiting", "search")}
    ).write(tmp_path_factory.mktemp("study"))
    assert main(["report", str(folder)]) == 0
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a report by its place in it."""
    report = folder / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file()}


def test_every_file_is_there_and_nothing_else(reported: Path) -> None:
    assert {path.name for path in reported.iterdir()} == {"matrix.parquet", "runs", "study.json", "report"}
    found = files(reported)
    tables = {
        table.name: [f"tables/{table.name}.{form}" for form in ("parquet", "csv")]
        for table in list_tables(METRICS["top1"])
    }
    assert {name for names in tables.values() for name in names} <= set(found)
    assert {"index.html", "summary.md", "tables/README.md", "tables/cells.md", "tables/cells.tex"} <= set(found)
    assert {"arrays/tuned_gain.npz", "arrays/default_score.npz"} <= set(found)
    drawn = {Path(name).stem for name in found if name.startswith("figures/")}
    assert {"gain_heatmap", "gain_heatmap_pat", "gain_bars", "family_matrix", "learning_curves", "cost_gain"} <= drawn
    for name in drawn:
        starts = {form: found[f"figures/{name}.{form}"][:5] for form in FORMS}
        assert starts == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}
    page = found["index.html"].decode()
    assert all(f"figures/{name}.pdf" in page for name in drawn) and "http" not in page.split("</head>")[0]


def test_a_table_is_the_same_in_every_form(reported: Path) -> None:
    """Parquet with meanings and a version, and the same values in the CSV."""
    for table in list_tables(METRICS["top1"]):
        arrow = pq.read_table(reported / "report" / "tables" / f"{table.name}.parquet")
        assert arrow.schema.metadata[b"tables_version"].decode() == TABLES_VERSION
        assert all(field.metadata[b"about"] for field in arrow.schema), table.name
        csv = pd.read_csv(reported / "report" / "tables" / f"{table.name}.csv")
        assert list(csv.columns) == arrow.column_names and len(csv) == len(arrow)
        for field in arrow.schema:
            if pa.types.is_floating(field.type):
                expected = arrow[field.name].to_pandas().astype(float)
                pd.testing.assert_series_equal(csv[field.name].astype(float), expected, check_names=False)


def test_the_same_ledger_gives_the_same_bytes(reported: Path) -> None:
    before = files(reported)
    assert not any(b"CreationDate" in data for data in before.values())
    write_report(reported)
    after = files(reported)
    assert before.keys() == after.keys() and not [name for name in before if before[name] != after[name]]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Path:
    """A study with searches and correctness, and its tables."""
    study = make_square(("cnn", "vit"), seeds=(1, 2, 3), trials=6, correct=True)
    folder: Path = study.write(tmp_path_factory.mktemp("searched"))
    write_tables_only(folder)
    return folder


@pytest.fixture
def tables(tmp_path: Path, searched: Path) -> tuple[Path, dict[str, bytes]]:
    """A copy of it, and the bytes of its tables."""
    folder = shutil.copytree(searched, tmp_path / "study")
    return folder, files(folder)


def again(folder: Path) -> dict[str, bytes]:
    shutil.rmtree(folder / "report")
    write_tables_only(folder)
    return files(folder)


def test_rows_in_another_order_give_the_same_tables(tables: tuple[Path, dict[str, bytes]]) -> None:
    folder, before = tables
    rows = ledger.read_matrix_rows(folder)
    scratch = [row for row in rows if row["setting"] == "scratch"]
    others = [row for row in rows if row["setting"] != "scratch"]
    random.Random(0).shuffle(others)
    write_matrix(folder, [*others, *scratch[::-1]])
    assert again(folder) == before


def test_temporary_files_and_runs_in_progress_change_nothing_else(
    tables: tuple[Path, dict[str, bytes]], make_epochs: Make
) -> None:
    folder, before = tables
    run = next((folder / "runs").iterdir())
    (run / "_run.parquet").write_bytes(b"PAR1 half")
    (folder / "_matrix.parquet").write_bytes(b"PAR1 half")
    (folder / "runs" / "_new").mkdir()
    (folder / "runs" / "_new" / "run.parquet").write_bytes((run / "run.parquet").read_bytes())
    ledger.write_epochs(folder, "f" * 16, make_epochs("f" * 16, 50.0)[:2])
    after = again(folder)
    assert {Path(name).stem for name in before if before[name] != after[name]} == {"epochs"}


def test_a_duplicated_run_is_refused_by_name(tables: tuple[Path, dict[str, bytes]]) -> None:
    folder, _ = tables
    run = next((folder / "runs").iterdir())
    shutil.copytree(run, folder / "runs" / f"{run.name} copy")
    with pytest.raises(LedgerError, match=f"{run.name} copy/run.parquet: holds run {run.name}, not the run its folder"):
        write_tables_only(folder)


def test_older_schema_versions_give_the_same_cells(tables: tuple[Path, dict[str, bytes]]) -> None:
    """A study that version 2 began and this one went on with: the same but for the place of trials."""
    folder, before = tables
    for number, path in enumerate(sorted((folder / "runs").glob("*/run.parquet"))):
        trial = pq.read_table(path)["trial"][0].as_py()
        if trial < 3 if trial is not None else number % 2:
            as_version("2", path)
            as_version("2", path.with_name("epochs.parquet"))
    as_version("2", folder / "matrix.parquet")
    after = again(folder)
    assert {name.partition(".")[0] for name in before if before[name] != after[name]} == {"tables/runs"}


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small studies are kept as large ones are."""
    monkeypatch.setattr("analysis.bulk._WORTH", 1)
    yield


@pytest.mark.usefixtures("small_copies")
def test_what_was_read_is_not_read_again(
    tables: tuple[Path, dict[str, bytes]], make_run: Make, make_epochs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = tables
    assert again(folder) == before and (folder / "gathered" / "run.parquet").exists()
    opened: list[str] = []
    real = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda source: opened.append("file") or real(source))
    write_tables_only(folder)
    matrix, copies, confirmed = 1, 2, len(pd.unique(ledger.read_matrix(folder)["run_id"]))
    assert len(opened) <= matrix + copies + confirmed + 1, "no run but for the correctness of its images"
    monkeypatch.undo()
    monkeypatch.setattr("analysis.bulk._WORTH", 1)
    assert files(folder) == before

    changed = next((folder / "runs").iterdir()).name
    row = ledger.read_run(folder, changed)
    assert row is not None
    ledger.write_run(folder, row | {"seconds": 123456.0})
    ledger.write_run(folder, make_run("0" * 16, phase="search"))
    ledger.write_epochs(folder, "0" * 16, make_epochs("0" * 16, 70.0))
    shutil.rmtree(folder / "runs" / sorted(path.name for path in (folder / "runs").iterdir())[-1])
    kept = again(folder)
    (folder / "gathered" / "run.parquet").write_bytes(b"PAR1 damaged")
    shutil.rmtree(folder / "gathered" / "epochs.parquet", ignore_errors=True)
    (folder / "gathered" / "epochs.parquet").unlink()
    assert again(folder) == kept and kept != before
    assert 123456.0 in set(ledger.read_runs(folder)["seconds"])


def test_a_study_that_has_only_begun(tmp_path: Path, make_square: Make) -> None:
    """Rows without runs: the report is written, its Parquet types are those of a finished study."""
    study = make_square(("cnn",))
    matrix = ledger.read_matrix(study.write(tmp_path / "a")).astype(object)
    rows = matrix.where(matrix.notna(), None).assign(status="waiting", reason="", run_id=None, options=None)
    write_matrix(tmp_path / "b", rows.to_dict("records"))
    text = write_report(tmp_path / "b")
    assert "Cells finished: 0 of 4; 4 waiting." in text and "Spent: 0.00 device-hours of training in 0 runs." in text
    write_tables_only(tmp_path / "a")
    schemas = {place: pq.read_schema(tmp_path / place / "report" / "tables" / "cells.parquet") for place in "ab"}
    assert schemas["a"].equals(schemas["b"], check_metadata=True)


@pytest.mark.parametrize("text", ["{half", "[]", "\xff"])
def test_a_damaged_definition_is_one_line(
    text: str, tmp_path: Path, make_square: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_square(("cnn",), methods=("kd",), seeds=(1,)).write(tmp_path)
    (folder / "study.json").write_bytes(text.encode("latin-1"))
    assert main(["report", str(folder), "--tables"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith(f"error: {folder}/study.json: not ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pairs", [1, 2]), ("methods", "kd"), ("search", [3]), ("search", {"trials": "many"}), ("options", "x"),
        ("search", {"rungs": 0.5}), ("pairs", [["t"]]), ("seeds", "three"),
    ],
)  # fmt: skip
def test_a_definition_of_another_kind_is_one_line(field: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"name": "s", field: value}))
    with pytest.raises(LedgerError, match=rf"study\.json: {field}.* is .*, not ") as caught:
        read_definition(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_named_at_once_and_may_be_left_out(
    tables: tuple[Path, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = tables
    rows = ledger.read_matrix(folder).query("setting == 'tuned' and method == 'pat'")
    first, second = (folder / "runs" / run for run in rows["run_id"].iloc[:2])
    (first / "run.parquet").write_bytes(b"PAR1 half")
    (second / "epochs.parquet").write_bytes(b"")
    (second / "run.parquet").write_bytes(b"PAR1 half")
    assert main(["report", str(folder), "--tables"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "2 files cannot be read" in error and first.name in error and second.name in error
    assert main(["report", str(folder), "--tables", "--skip-damaged"]) == 0
    text = capsys.readouterr().out
    assert text.count("not readable as Parquet") >= 3 and f"{second.name}/epochs.parquet" in text
    cells = pd.read_parquet(folder / "report" / "tables" / "cells.parquet")
    assert "its run is not in this folder" in set(cells["reason"].str.partition(": ")[2])


def test_a_score_without_bounds_is_refused(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    for value in (float("inf"), float("-inf")):
        with pytest.raises(LedgerError, match=f"'test_last_raw' of a run row is {value}; allowed: a score in percent"):
            ledger.write_run(tmp_path, make_run("a" * 16, test_last_raw=value))


def test_a_run_without_a_score_says_so(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",), settings=("default",), seeds=(1, 2)).write(tmp_path)
    row = ledger.read_matrix(folder).query("method == 'kd'").iloc[0]
    names = {"teacher": row["teacher"], "student": row["student"]}
    ledger.write_run(folder, make_run(row["run_id"], **names))
    found = load(folder).cells.iloc[0]
    assert found["reason"] == "no score was recorded for 1 of 2 seeds" and found["n"] == 1


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
    assert not (folder / "report").exists()


def test_help_says_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in ((["--help"], "report"), (["report", "--help"], "index.html")):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0 and word in capsys.readouterr().out


def test_analysis_opens_without_torch_and_ray() -> None:
    """Imported in a fresh interpreter, with all of its modules."""
    code = "import analysis.__main__, sys, json; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "ray", "optuna", "pat", "sweeps"} & set(json.loads(done.stdout))
