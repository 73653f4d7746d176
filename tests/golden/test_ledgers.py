"""Ledgers of every released schema: every reader opens them, the planner decides as it did, tables are as they were."""

from __future__ import annotations

import io
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import ledger, read_epochs, read_matrix, read_runs
from analysis.frames import load
from analysis.identity import difference
from analysis.merge import merge
from analysis.parts import check_parts
from analysis.schema import CORRECT_COLUMNS, EPOCH_SCHEMA, MATRIX_SCHEMA, RUN_SCHEMA, RUN_VOLATILE, LedgerError
from analysis.summary import overview
from pat.config import NUMERICS, ConfigError, RunConfig
from pat.methods import method_options
from sweeps.costs.expect import expect
from sweeps.engine.driver import Driver
from sweeps.looking.export_optuna import export_optuna
from sweeps.looking.export_tensorboard import export_tensorboard
from sweeps.looking.picture import Reader
from sweeps.looking.status_text import status_text
from sweeps.planning.matrix import matrix_rows
from sweeps.planning.planned import rungs_of
from sweeps.planning.planner import Planner
from sweeps.planning.units import keys
from sweeps.planning.view import read_view
from sweeps.store import open_study, read_study
from sweeps.study import Study
from tests.golden import ledgers
from tests.golden.study import golden_study, replay

RELEASES = ledgers.releases()
TODAYS = [release for release in RELEASES if ledgers.numerics_of(release) == str(NUMERICS)]
FINISHED = {1: 32, 2: 32, 3: 30}
"""By numerics: in version 3 the best setting of all four cells is the default, before of three."""
RUNS = FINISHED[NUMERICS] + 16


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return ledgers.unpack(request.param, tmp_path)


every_release = pytest.mark.parametrize("folder", RELEASES, indirect=True)
every_release_of_today = pytest.mark.parametrize("folder", TODAYS, indirect=True)


def test_the_present_release_has_a_ledger() -> None:
    hint = "python -m tests.golden.ledgers writes one; commit it, and name its commit in tests/golden/ledgers/README.md"
    assert ledgers.PRESENT in RELEASES, hint
    assert all(path.stat().st_size < 300_000 for path in ledgers.PLACE.iterdir() if path.is_file())
    table = (ledgers.PLACE / "README.md").read_text()
    assert all(f"`{release}.tar.xz`" in table for release in RELEASES)


@every_release
def test_every_reader_opens_it(folder: Path, tmp_path: Path) -> None:
    runs, epochs, matrix = read_runs(folder), read_epochs(folder), read_matrix(folder)
    assert [list(frame.columns) for frame in (runs, epochs, matrix)] == [
        schema.names for schema in (RUN_SCHEMA, EPOCH_SCHEMA, MATRIX_SCHEMA)
    ]
    finished = FINISHED[json.loads(runs["config"][0])["numerics"]]
    statuses = {"finished": finished, "pruned": 9, "diverged": 6, "failed": 1}
    assert runs["status"].value_counts().to_dict() == statuses and len(matrix) == 20
    assert epochs.groupby("run_id").size().reindex(runs["run_id"]).fillna(0).to_list() == runs["epochs_done"].to_list()
    assert set(runs["failure_class"].dropna()) == {"diverged", "bug"}
    for run_id, config in zip(runs["run_id"], runs["config"], strict=True):
        row, rows = ledger.read_run(folder, run_id), ledger.read_run_epochs(folder, run_id)
        assert row is not None and row["run_id"] == run_id and len(rows) == row["epochs_done"]
        assert {epoch["run_id"] for epoch in rows} <= {run_id}
        assert RunConfig.from_json(config).student == row["student"]
    assert ledger.list_runs(folder) == runs["run_id"].to_list()
    assert len(ledger.read_correct(folder, matrix)) == matrix["run_id"].nunique()
    gathered, rows = ledger.gather(folder)
    assert len(gathered) == len(runs) and rows.equals(epochs)
    assert "golden" in overview(load(folder))
    assert f"{finished + 16} ended ({finished} finished, 9 pruned, 6 diverged, 1 failed)" in status_text(
        Reader(folder).look(), None
    )
    assert export_tensorboard(folder, tmp_path / "logs") == epochs["run_id"].nunique()


@every_release_of_today
def test_the_study_goes_on_in_it(folder: Path, tmp_path: Path) -> None:
    """The same study, given again, has nothing to do; its matrix is decided as its program did; a longer one grows."""
    found, study = open_study(tmp_path, golden_study())
    assert found == folder and _without_share(study) == golden_study() == _without_share(read_study(folder))
    driver = Driver(folder, golden_study(), golden_study(), tmp_path, stream=io.StringIO())
    assert driver.kind() is None and driver.planner.complete and driver.planner.counts() == (RUNS, RUNS)
    families = {name: "cnn" for name in ("convnext_micro_32", "resnet_nano_32")} | {
        name: "vit" for name in ("vit_micro_patch8_32", "vit_nano_patch8_32")
    }
    decided = matrix_rows(golden_study(), driver.planner.rows(), families)
    assert decided == [_completed(row) for row in ledger.read_matrix_rows(folder)]
    assert expect(golden_study(), folder, data_root=tmp_path).speeds.source(keys(golden_study())[-1]) == "ledger"
    assert export_optuna(folder, str(tmp_path / "optuna.log")) == 4


@pytest.mark.parametrize("folder", [name for name in RELEASES if name not in TODAYS], indirect=True)
def test_other_numerics_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"its numerics is \d+, not {NUMERICS}") as refusal:
        open_study(tmp_path, golden_study())
    assert "\n" not in str(refusal.value)
    newest = ledgers.unpack(TODAYS[-1], tmp_path / "newest")
    with pytest.raises(LedgerError, match="not the study of"):
        merge([folder, newest], tmp_path / "merged")


@every_release_of_today
def test_the_planner_decides_as_recorded(folder: Path) -> None:
    """After every segment, from the empty study to the complete one."""
    recorded = ledgers.read(ledgers.DECISIONS)[str(NUMERICS)]
    found = ledgers.decisions(folder)
    meant = "the planner decides otherwise than when this ledger was written; if that is meant: CHANGELOG, and "
    for before, now in zip(recorded, found, strict=False):
        assert before == now, f"{meant}python -m tests.golden.ledgers --decisions"
    assert len(found) == len(recorded) and found[-1]["complete"]


def test_what_is_decided_does_not_depend_on_the_order(tmp_path: Path) -> None:
    folder, study = ledgers.unpack(TODAYS[-1], tmp_path), golden_study()
    rng = random.Random(1)
    steps = list(replay(study, read_view(folder, rungs_of(study)), lambda ready: rng.choice(sorted(ready, key=str))))
    made = {f"{segment.run_id} to {segment.until}" for segment, _ in steps}
    assert made == {step["after"] for step in ledgers.read(ledgers.DECISIONS)[str(NUMERICS)]}
    assert steps[-1][1] == {"ready": [], "pruned": [], "complete": True}


def test_the_planner_after_any_number_of_runs_in_order_of_their_ends(tmp_path: Path) -> None:
    """Whatever a driver finds at its start, it asks for recorded runs alone, and never for one that has ended."""
    folder, study = ledgers.unpack(TODAYS[-1], tmp_path), golden_study()
    ended = read_runs(folder, ["run_id", "ended"]).sort_values("ended")["run_id"].to_list()
    view = read_view(folder, rungs_of(study))
    for count in range(0, len(ended) + 1, 3):
        planner = Planner(study, {run_id: view[run_id] for run_id in ended[:count]})
        asked = {segment.run_id for segment in planner.ready()}
        assert asked <= set(ended[count:]), count
        assert bool(asked) == (count < len(ended))


@every_release
def test_tables_have_the_recorded_numbers(folder: Path, request: pytest.FixtureRequest) -> None:
    release = request.node.callspec.params["folder"]
    recorded, found = ledgers.read(ledgers.TABLES)[release], ledgers.tables(folder)
    assert recorded.keys() == found.keys()
    for name, rows in recorded.items():
        moved = [
            f"{name} row {place} {key}: {before.get(key)!r} -> {now.get(key)!r}"
            for place, (before, now) in enumerate(zip(rows, found[name], strict=True))
            for key in {**before, **now}
            if not _same(before.get(key), now.get(key))
        ]
        meant = "if that is meant: CHANGELOG, and python -m tests.golden.ledgers --tables"
        assert not moved, "\n".join([f"{len(moved)} numbers of the report have moved; {meant}", *moved[:20]])


def _same(before: Any, now: Any) -> bool:
    """Equal but for the last digits of floating point."""
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=1e-9, abs_tol=1e-9)
    return bool(before == now)


def test_the_ledgers_of_one_numerics_hold_the_same_runs(tmp_path: Path) -> None:
    """Bit for bit, but for times, machines and versions, and what an old schema did not know."""
    folders = [ledgers.unpack(release, tmp_path / release) for release in TODAYS]
    left_out = {*RUN_VOLATILE, "trial", "skipped_images", "message", "initial_sha256"}
    known = [name for name in RUN_SCHEMA.names if name not in left_out]
    first, *others = (read_runs(folder)[known] for folder in folders)
    assert {"student_sha256", *CORRECT_COLUMNS} < set(known)
    for other in others:
        pd.testing.assert_frame_equal(first, other)


def test_parts_that_releases_wrote_are_one_study(tmp_path: Path) -> None:
    """A part of an old program and one of a new one are merged, in either order."""
    folders = [ledgers.unpack(release, tmp_path / release) for release in (TODAYS[0], TODAYS[-1])]
    for parts in (folders, folders[::-1]):
        studies = check_parts(parts)
        assert all(difference(first, second) is None for first in studies for second in studies)
        into = tmp_path / f"merged {parts[0].parent.name}"
        merged = merge(parts, into / "golden")
        assert not merged.conflicts and merged.matrix and len(read_runs(into / "golden")) == RUNS
        assert _without_share(read_study(into / "golden")) == golden_study()


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the matrix with the options that its method has by now."""
    options = json.loads(row["options"])
    return {
        **row,
        "options": json.dumps(method_options(row["method"], options), sort_keys=True) if options else row["options"],
    }


def _without_share(study: Study | None) -> Study:
    """How much of a GPU runs share is no part of a study's identity; schema 1 wrote another default."""
    assert study is not None
    return replace(study, gpu_share=None)
