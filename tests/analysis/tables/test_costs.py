"""What each cell has cost: by hand, and that the rows add up to what the study has spent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.cost import device_hours, preceding, whole_hours
from analysis.frames import Frames, load
from analysis.live import Driver
from analysis.tables import costs

NAN = float("nan")
KEYS = ["teacher", "student", "method"]


def run(run_id: str, phase: str, teacher: str, student: str, method: str, **values: Any) -> dict[str, Any]:
    row = {"run_id": run_id, "phase": phase, "teacher": teacher, "student": student, "method": method}
    row |= {"status": "finished", "config": "{}", "seconds": 3600.0, "workers": 1, "device": "cuda", "peak_memory": NAN}
    return row | {"energy_joules": NAN, "retries": 0, "preemptions": 0} | values


RUNS = [
    run("t", "teacher", "", "big", "scratch", seconds=7200.0, energy_joules=5.0),
    run("s1", "scratch", "", "small", "scratch"),
    run("s2", "scratch", "", "small", "scratch", seconds=1800.0, workers=2),
    run("a1", "search", "big", "small", "kd", status="pruned", peak_memory=7.0),
    run("a2", "search", "big", "small", "kd", status="failed", seconds=NAN, retries=2),
    run("c1", "confirm", "big", "small", "kd", peak_memory=9.0, energy_joules=2.0, preemptions=1),
    run("c2", "confirm", "big", "small", "kd", seconds=10800.0, energy_joules=3.0),
    run("c3", "confirm", "big", "small", "kd", seconds=36000.0, status="diverged"),
    run("f1", "confirm", "file", "small", "kd"),
]
EPOCHS = [("a1", 1.0), ("c1", 2.0), ("c1", 4.0), ("c2", 8.0), ("s1", 0.5), ("running", 99.0)]


def hand_made(price: float | None = None) -> Frames:
    epochs = pd.DataFrame(EPOCHS, columns=["run_id", "seconds"])
    now = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()
    driver = Driver("here", 1, now, "", "", 1, price, (), {})
    return Frames(pd.DataFrame(), pd.DataFrame(RUNS), epochs, {}, {}, driver, gpu_share=0.5)


def test_costs_by_hand() -> None:
    table = costs.prepare(hand_made(price=10.0))
    assert list(table[KEYS].itertuples(index=False, name=None)) == [
        ("big", "small", "kd"),
        ("file", "small", "kd"),
        ("", "small", "scratch"),
        ("big", "", "teacher"),
    ]
    cell = table.iloc[0]
    assert (cell["search_runs"], cell["search_hours"]) == (2, 0.5)  # half a GPU each; the failed one's time is unknown
    assert (cell["confirm_runs"], cell["confirm_hours"]) == (3, 0.5 + 1.5 + 5.0)
    assert cell["hours_per_run"] == 1.0 and cell["hours"] == 7.5 and cell["money"] == 75.0
    assert cell["seconds_per_epoch"] == 3.0 and cell["peak_memory"] == 9.0 and cell["energy_joules"] == 5.0
    assert (cell["retries"], cell["preemptions"]) == (2, 1) and cell["teacher_hours"] == 1.0
    file, scratch, teacher = (table.iloc[i] for i in (1, 2, 3))
    assert np.isnan(file["teacher_hours"]) and np.isnan(file["energy_joules"]) and np.isnan(file["seconds_per_epoch"])
    assert scratch["confirm_hours"] == 0.5 + 1.0 and scratch["search_runs"] == 0 and scratch["seconds_per_epoch"] == 0.5
    assert teacher["hours"] == teacher["teacher_hours"] == 1.0 and teacher["confirm_runs"] == 1


def test_a_pre_training_counts_in_each_run_that_begins_with_it() -> None:
    """Once in what was spent: where a confirmation begins with it there, else in the search that tried it."""

    def begun(run_id: str, phase: str, before: str) -> dict[str, Any]:
        return run(run_id, phase, "big", "small", "hgkd", config=json.dumps({"initial": f"run:{before}"}))

    kept = run("p1", "pretrain", "big", "small", "hgkd", seconds=7200.0)
    tried = run("p2", "pretrain", "big", "small", "hgkd", seconds=14400.0)
    trials = [begun("a1", "search", "p1"), begun("a2", "search", "p2")]
    runs = pd.DataFrame([*RUNS[:3], kept, tried, *trials, begun("c1", "confirm", "p1"), begun("c2", "confirm", "p1")])
    frames = dataclasses.replace(hand_made(), runs=runs)
    assert dict(zip(runs["run_id"], preceding(runs), strict=True)) == {
        **dict.fromkeys(("t", "s1", "s2", "p1", "p2"), ""), "a1": "p1", "a2": "p2", "c1": "p1", "c2": "p1",
    }  # fmt: skip
    assert whole_hours(runs, 1.0)[runs["run_id"] == "c1"].item() == 1.0 + 2.0
    cell = costs.prepare(frames).iloc[0]
    assert (cell["search_runs"], cell["search_hours"]) == (3, (1 + 1 + 4) / 2)
    assert (cell["confirm_runs"], cell["confirm_hours"], cell["hours_per_run"]) == (3, (1 + 1 + 2) / 2, (1 + 2) / 2)
    assert costs.prepare(frames)["hours"].sum() == device_hours(runs, 0.5).sum()


def test_only_runs_of_one_worker_share_a_gpu() -> None:
    """CPUs are not shared, nor is a device that is not known; several workers take a whole one each."""
    runs = pd.DataFrame(
        {"seconds": 3600.0, "workers": [1, 1, 1, 2, np.nan], "device": ["cuda", "cpu", None, "cuda", "cuda"]}
    )
    assert device_hours(runs, 0.25).to_list() == [0.25, 1.0, 1.0, 2.0, 0.25]


def test_rows_add_up_to_what_was_spent() -> None:
    frames = hand_made()
    table = costs.prepare(frames)
    spent = device_hours(frames.runs, frames.gpu_share).sum()
    assert table["hours"].sum() == pytest.approx(spent)
    assert table["search_runs"].sum() + table["confirm_runs"].sum() == len(RUNS)
    assert table["money"].isna().all()


def test_costs_of_a_ledger(tmp_path: Path, make_square: Callable[..., Any]) -> None:
    frames = load(make_square(("cnn", "vit"), trials=6).write(tmp_path))
    table = costs.prepare(frames).set_index("method")
    assert table["hours"].sum() == pytest.approx(device_hours(frames.runs, frames.gpu_share).sum())
    assert set(table.loc["pat", "search_runs"]) == {6} and set(table.loc["pat", "confirm_runs"]) == {6}
    assert np.allclose(table["hours_per_run"], 10 / 3600) and len(table) == 2 * 4 + 2
