"""The readable summary: its table, its words, what failed and what it cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.frames import Frames, load
from analysis.ledger import write_run
from analysis.storage import write_file
from analysis.summary import overview, readable
from analysis.words import markdown

Make = Callable[..., Any]
CNN_KD = ("resnet_tiny", "resnet_nano", "kd", "tuned")
CNN_PAT = ("resnet_tiny", "resnet_nano", "pat", "default")
DRIVER = {"host": "h", "pid": 1, "started": "2026-01-01T00:00:00+00:00", "beat": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    study = make_square(states={("vit_mini", "vit_nano", "pat", "tuned"): ("waiting", "search")})
    return load(study.write(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def text(frames: Frames) -> str:
    return overview(frames)


def test_the_readable_table(frames: Frames) -> None:
    cells = frames.cells
    table = readable(cells, frames.metric)
    assert len(table) == 18 and list(table.columns[5:9]) == ["tuned", "tuned gain", "tuned over KD", "tuned n"]
    chosen = "teacher == 'resnet_tiny' and student == 'vit_nano' and method == 'pat'"
    row, cell = table.query(chosen).iloc[0], cells.query(f"{chosen} and setting == 'tuned'").iloc[0]
    half = (cell["gain_over_scratch_high"] - cell["gain_over_scratch_low"]) / 2
    assert row["tuned gain"].startswith(f"{cell['gain_over_scratch']:+.2f} ± {half:.2f}")
    assert row["tuned gain"].endswith("*") == (cell["gain_over_scratch_p_holm"] < 0.05)
    assert row["teacher top-1"] == "95.00" and row["tuned n"] == "3"
    uncorrected = readable(cells.assign(gain_over_scratch_p=0.001, gain_over_scratch_p_holm=0.2), frames.metric)
    assert not uncorrected["tuned gain"].str.contains("*", regex=False).any(), "a star is Holm's"
    lines = markdown(table).split("\n")
    assert len({len(line) for line in lines}) == 1, "aligned"


def test_the_words(text: str) -> None:
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
    search = {"status": "failed", "failure_class": "oom", "message": "m" * 200, "workers": 2, "energy_joules": 7.2e6}
    write_run(folder, make_run("s1", method="pat", **names, **search))
    write_run(folder, make_run("s2", **names, memory_measures="checkpointing", retries=1, preemptions=2))
    write_run(folder, make_run("s3", **names, skipped_images=7))
    write_file(folder, "study.json", b'{"gpu_share": 0.5}')
    write_file(folder, "driver.json", json.dumps({**DRIVER, "price": 2.5}).encode())
    text = overview(load(folder))
    rows = [[part.strip() for part in line.split(" | ")] for line in text.split("\n") if "--retry" in line]
    assert [row[0] for row in rows[1:]] == ["| oom", "| diverged", "| bug"]
    assert [row[1] for row in rows[1:]] == ["1", "3", "3"], "runs"
    assert rows[1][2:4] == ["resnet_tiny → resnet_nano pat", "m" * 99 + "…"] and rows[3][3] == r"a \| b"
    ways = [row[-1].strip(" |") for row in rows[1:]]
    assert ways == ["--retry failed", "--retry diverged", "--retry failed"]
    assert "- checkpointing, 1 of 18 runs: resnet_tiny → resnet_nano kd" in text
    hours = 2 + 0.5 + 0.5 + 15 * 10 / 3600
    assert f"Spent: {hours:.2f} device-hours of training in 18 runs" in text
    assert f"that is {2.5 * hours:.2f} at 2.5 a device-hour. Energy, where known: 2.00 kWh. " in text
    assert "kWh. Processes lost: 1, and 2 more by preemption. Unreadable" in text
    assert text.endswith("Unreadable images left out: up to 7, in 1 of 18 runs.\n")
    cells = load(folder).cells.set_index(["method", "setting"])
    assert cells.loc[("kd", "tuned"), "failure_class"] == "bug" and cells.loc[("kd", "default"), "failure_class"] == ""


def test_a_study_without_failures_has_no_table_of_them(text: str) -> None:
    assert "--retry" not in text and "bit for bit" not in text and "lost" not in text


def test_other_data_sets_bring_no_warning(tmp_path: Path, make_square: Make) -> None:
    folder = make_square(("cnn",), data="cifar100", seeds=(1, 2)).write(tmp_path)
    text = overview(load(folder))
    assert "prove" not in text and "Data set cifar100" in text
