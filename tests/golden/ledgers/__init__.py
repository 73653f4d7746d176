"""Ledgers that released programs wrote, and what was decided and reported from them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from analysis.frames import load
from analysis.report import write_tables
from analysis.schema import SCHEMA_VERSION
from pat.config import NUMERICS
from sweeps.planning.planned import rungs_of
from sweeps.planning.view import read_view
from tests.golden.study import first_by_name, golden_study, replay

PLACE = Path(__file__).parent
DECISIONS, TABLES = PLACE / "decisions.json", PLACE / "tables.json"
PRESENT = f"schema{SCHEMA_VERSION}-numerics{NUMERICS}"
RECORDED_TABLES = ("cells", "settings", "methods", "families", "optimism", "trials", "transfer")
"""Those whose numbers say nothing of times, machines and versions."""


def releases() -> list[str]:
    """The names of all golden ledgers."""
    return sorted(path.name.removesuffix(".tar.xz") for path in PLACE.glob("*.tar.xz"))


def numerics_of(release: str) -> str:
    return release.partition("numerics")[2]


def unpack(release: str, place: Path) -> Path:
    """The folder of the study as its program left it, named after the study."""
    folder = place / golden_study().name
    with tarfile.open(PLACE / f"{release}.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder


def decisions(folder: Path) -> list[dict[str, Any]]:
    """What the planner decides, from the empty study to the complete one."""
    study = golden_study()
    steps = replay(study, read_view(folder, rungs_of(study)), first_by_name)
    return [{"after": f"{segment.run_id} to {segment.until}", **said} for segment, said in steps]


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The report's numbers as JSON's: a row a dictionary, without what is null."""
    built = write_tables(folder, load(folder))
    rows = {name: table.arrow(frame).to_pylist() for name, (table, frame) in built.items() if name in RECORDED_TABLES}
    return {
        name: [{key: value for key, value in row.items() if value is not None} for row in found]
        for name, found in rows.items()
    }


def read(path: Path) -> dict[str, Any]:
    """What is recorded: decisions by numerics, tables by release."""
    return json.loads(path.read_text()) if path.exists() else {}
