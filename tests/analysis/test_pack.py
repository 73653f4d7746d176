"""A packed study: a few small files, the same bytes each time, and the same tables when it is unpacked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import ledger
from analysis.__main__ import main
from analysis.account import write_account
from analysis.pack import pack, unpack
from analysis.report import write_tables_only
from analysis.storage import write_file
from tests.analysis.halves import tree

Make = Callable[..., Any]


def test_the_tables_of_an_unpacked_study_are_the_same(tmp_path: Path, make_square: Make) -> None:
    """Bits of the test images, epochs, what searches drew and the share of a GPU included."""
    study = make_square(("cnn", "vit"), trials=4, correct=True).write(tmp_path / "study")
    write_file(study, "searches/wave.json", b'{"settings": []}')
    write_account(study, "360 test images", ("a", "b"), 50.0, 360)
    driver = {"host": "elsewhere", "pid": 1, "beat": "2026-01-01T00:00:00+00:00", "gpu_share": 0.25, "token": "secret"}
    write_file(study, "driver.json", json.dumps(driver).encode())
    write_file(study, f"runs/{ledger.list_runs(study)[0]}/student.safetensors", b"weights")
    assert main(["pack", str(study), "--into", str(tmp_path / "packed")]) == 0
    names = {"study.json", "matrix.parquet", "runs.parquet", "epochs.parquet", "searches/wave.json", "driver.json"}
    names |= {"data.json"}
    assert set(tree(tmp_path / "packed")) == names
    assert json.loads((tmp_path / "packed/driver.json").read_text()) == {"gpu_share": 0.25}
    assert main(["unpack", str(tmp_path / "packed"), "--into", str(tmp_path / "again")]) == 0
    assert write_tables_only(tmp_path / "again") == write_tables_only(study)
    for run_id in ledger.list_runs(study):
        assert ledger.read_run(tmp_path / "again", run_id) == ledger.read_run(study, run_id)
        assert ledger.read_run_epochs(tmp_path / "again", run_id) == ledger.read_run_epochs(study, run_id)
    tables = {path.name: path.read_bytes() for path in (study / "report" / "tables").iterdir()}
    assert tables == {path.name: path.read_bytes() for path in (tmp_path / "again" / "report" / "tables").iterdir()}
    pack(tmp_path / "again", tmp_path / "twice")
    packed = {path.name: path.read_bytes() for path in (tmp_path / "packed").glob("*.parquet")}
    assert packed == {path.name: path.read_bytes() for path in (tmp_path / "twice").glob("*.parquet")}


def test_what_is_no_study_or_no_pack_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(tmp_path), "--into", str(tmp_path / "packed")]) == 2
    assert "no study.json here, so this is not the folder of a study" in capsys.readouterr().err
    (tmp_path / "a").mkdir()
    assert main(["unpack", str(tmp_path / "a"), "--into", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.endswith("no runs.parquet here, so this is no packed study\n")


def test_a_running_study_is_packed_as_far_as_it_is(tmp_path: Path, make_square: Make) -> None:
    """A run on its way has epochs and no end."""
    study = make_square(("cnn",)).write(tmp_path / "study")
    begun = ledger.list_runs(study)[0]
    (study / "runs" / begun / "run.parquet").unlink()
    pack(study, tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "again")
    assert begun not in ledger.list_runs(tmp_path / "again")
    assert begun in ledger.list_run_folders(tmp_path / "again")
