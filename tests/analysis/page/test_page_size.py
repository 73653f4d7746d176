"""The page of a large study stays small, and is made soon."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import load
from analysis.page import Report, Shown, page


def test_a_study_of_twenty_thousand_runs(tmp_path: Path, make_square: Callable[..., Any]) -> None:
    """500 cells and 20,000 runs: under 15 MB, and under 10 s on one core."""
    frames = load(make_square().write(tmp_path))
    cells = pd.concat([frames.cells] * 14, ignore_index=True)
    cells["teacher"] = [f"{name}_{i // len(frames.cells)}" for i, name in enumerate(cells["teacher"])]
    runs = pd.concat([frames.runs] * (20_000 // len(frames.runs) + 1), ignore_index=True).head(20_000)
    random = np.random.default_rng(0)
    runs["run_id"] = [hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(len(runs))]
    for column in (
        "test_last_raw",
        "test_best_test_raw",
        "val_last_raw",
        "val_best_val_raw",
        "seconds",
        "teacher_score",
    ):
        runs[column] = random.normal(80, 5, len(runs))
    runs["options"] = [json.dumps({"weight": value, "temperature": 1.0}) for value in random.normal(size=len(runs))]
    runs["config"] = [json.dumps({"options": options, "recipe": "x" * 900}) for options in runs["options"]]
    epochs = pd.DataFrame({"epoch": np.arange(1_000_000)})
    large = dataclasses.replace(frames, runs=runs)
    large.__dict__["cells"] = cells
    tables = [
        Shown("cells", "Cells", "", cells),
        Shown("runs", "Runs", "", runs),
        Shown("epochs", "Epochs", "", epochs),
    ]
    before = time.process_time()
    text = page(Report(large, tables))
    spent, size = time.process_time() - before, len(text.encode())
    print(f"{size / 1e6:.1f} MB in {spent:.1f} s")
    assert size < 15e6 and spent < 10
    assert "1,000,000 rows: too many for this page" in text and "Only in the files: config" in text
