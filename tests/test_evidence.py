"""What is committed as evidence: each table is what its ledger gives, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import evidence
from tests.analysis.conftest import square

STUDIES = sorted(path for path in evidence.EVIDENCE.glob("*") if path.is_dir())


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_committed_tables_are_those_of_their_ledgers(study: Path, tmp_path: Path) -> None:
    assert evidence.rebuild(study, tmp_path / "built", figures=False) == []
    assert sum(path.stat().st_size for path in study.rglob("*") if path.is_file()) < 2 * evidence.MOST_BYTES


def test_a_table_that_was_touched_is_named(tmp_path: Path) -> None:
    made = square(("cnn", "vit"), trials=4).write(tmp_path / "made")
    study = evidence.add(made, tmp_path / "evidence")
    assert evidence.rebuild(study, tmp_path / "built", figures=False) == []
    table = study / "cells.md"
    table.write_text(table.read_text().replace("8", "7", 1))
    assert evidence.rebuild(study, tmp_path / "built", figures=False) == ["made/cells.md"]
