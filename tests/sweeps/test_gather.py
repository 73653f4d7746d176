"""The driver gathers a ledger's many small files, so that a report need not open each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from small import small_study
from test_driver import drive

from analysis import ledger
from analysis.bulk import KEPT


def test_the_ledger_is_gathered_now_and_then(tmp_path: Path, replayed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a report reads of a large study is one file of each kind, and says the same as the many."""
    monkeypatch.setattr("sweeps.engine.driver.GATHER_EVERY", 7)
    monkeypatch.setattr("analysis.bulk._WORTH", 1)
    folder, _, _ = drive(tmp_path, small_study())
    assert {path.name for path in (folder / KEPT).iterdir()} == {"run.parquet", "epochs.parquet"}
    gathered = ledger.gather(folder)
    shutil.rmtree(folder / KEPT)
    for with_copy, without in zip(gathered, ledger.gather(folder), strict=True):
        pd.testing.assert_frame_equal(with_copy, without)
