"""The row that ends a run: what it says, and what is left in the run's folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small import small_study

from analysis import ledger
from analysis.schema import RESULT_COLUMNS
from pat.io import CHECKPOINT
from pat.train import Outcome
from sweeps.engine.jobs import Job, run_folder
from sweeps.engine.keep import retry
from sweeps.engine.records import write_end
from sweeps.planning.planner import plan

HISTORY: list[dict[str, Any]] = [{"seconds": 1.0}, {"seconds": 4.0}, {"seconds": 2.0}]


def end(folder: Path, outcome: Outcome) -> tuple[dict[str, Any], bool]:
    """Ends a run of which there is a checkpoint: its row, and whether the checkpoint is still there."""
    config = plan(small_study(), {}).ready[-1].config
    job = Job(str(folder), "small", config.to_json(), 6, "scratch", "cnn", retries=2, preemptions=5)
    checkpoint = run_folder(folder, config.run_id) / CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    write_end(job, outcome, datetime(2026, 1, 1, tzinfo=UTC))
    row = ledger.read_run(folder, config.run_id)
    assert row is not None
    return row, checkpoint.exists()


def test_times_and_losses_add_up_over_the_whole_run(tmp_path: Path) -> None:
    row, _ = end(tmp_path, Outcome("pruned", 3, HISTORY))
    assert (row["epochs"], row["epochs_done"], row["seconds"]) == (6, 3, 7.0)
    assert (row["retries"], row["preemptions"]) == (2, 5)


def test_every_result_stands_in_its_own_column(tmp_path: Path) -> None:
    results = {name: float(place) for place, name in enumerate(RESULT_COLUMNS)}
    row, _ = end(tmp_path, Outcome("finished", 6, HISTORY, results=results))
    assert {name: row[name] for name in RESULT_COLUMNS} == results


def test_task_metric_and_further_scores(tmp_path: Path) -> None:
    """What the run began with is known once it has finished; a task without further scores has none."""
    details = {"last_raw": {"ap50": 41.5}, "best_val_raw": {"ap50": 40.25}}
    row, _ = end(tmp_path / "a", Outcome("finished", 6, HISTORY, details=details, initial_sha256="ab"))
    assert json.loads(row["details"]) == details and row["initial_sha256"] == "ab"
    assert (row["task"], row["metric"], row["teacher_score"]) == ("classification", "top1", None)
    plain, _ = end(tmp_path / "b", Outcome("finished", 6, HISTORY, teacher_score=77.5))
    assert (plain["details"], plain["initial_sha256"], plain["teacher_score"]) == (None, "", 77.5)
    pruned, _ = end(tmp_path / "c", Outcome("pruned", 3, HISTORY))
    assert pruned["initial_sha256"] is None and pruned["metric"] == "top1"


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_retry_goes_on_from_the_checkpoint_or_begins_anew(tmp_path: Path, checkpoint: bool) -> None:
    """Epochs without a checkpoint are of no use."""
    row, _ = end(tmp_path, Outcome("failed" if checkpoint else "diverged", 3, HISTORY))
    epochs = run_folder(tmp_path, row["run_id"]) / "epochs.parquet"
    epochs.touch()
    assert retry(tmp_path, row["status"]) == [row["run_id"]]
    assert ledger.read_run(tmp_path, row["run_id"]) is None and epochs.exists() == checkpoint


@pytest.mark.parametrize(
    ("status", "stays", "kind"),
    [("finished", False, None), ("pruned", False, None), ("diverged", False, "diverged"), ("failed", True, None)],
)
def test_only_a_failed_run_keeps_its_checkpoint(tmp_path: Path, status: str, stays: bool, kind: str | None) -> None:
    """A retry goes on from there."""
    row, there = end(tmp_path, Outcome(status, 3, HISTORY))
    assert (row["status"], row["failure_class"], there) == (status, kind, stays)
