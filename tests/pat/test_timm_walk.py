"""Every model of timm as a student and as a PAT teacher: forward, backward into the prompts, strength-0 equality."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from tests.pat import walk

PROCESSES = 2
RESTARTS = 5
"""A process that a model killed (memory) goes on with the next name."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nearly_all_of_timm_can_be_tapped(tmp_path: Path) -> None:
    """At least 98 % as students, 95 % as PAT teachers. The rows stay in the folder PAT_WALK, where it is set."""
    folder = Path(os.environ.get("PAT_WALK", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    names = timm.list_models()
    files = [folder / f"walk-{shard}.jsonl" for shard in range(PROCESSES)]
    for _ in range(RESTARTS):
        running = [
            subprocess.Popen([sys.executable, "-m", "tests.pat.walk", str(file), *names[shard::PROCESSES]])
            for shard, file in enumerate(files)
        ]
        if not any([process.wait() for process in running]):
            break
    rows = [row for file in files for row in walk.read(file)]
    print(walk.summary(rows))
    (folder / "summary.json").write_text(json.dumps(walk.figures(rows), indent=1))
    assert {row["name"] for row in rows} == set(names), "not all names were walked"
    for role, target in (("student", 98), ("teacher", 95)):
        assert 100 * sum(not row[role] for row in rows) / len(rows) >= target, walk.summary(rows)
