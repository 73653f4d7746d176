"""A study on 1,000 bad disks in virtual time: how many end with the tables of a good one. The others are named."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "sweeps"))

from disks import Cluster  # noqa: E402

from tests.bench.compare import EXACT  # noqa: E402

SEEDS = 1_000
TOLERANCE = EXACT


def report() -> dict[str, float]:
    """Prints what happened to the disks and the processes, and the seeds that ended otherwise."""
    wrong, happened, lines = list[int](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as place:
        calm = Cluster(Path(place, "calm"), 0, faults=False).run()
        for seed in range(1, SEEDS + 1):
            cluster = Cluster(Path(place, str(seed)), seed)
            try:
                for found, expected in zip(cluster.run(), calm, strict=True):
                    pd.testing.assert_frame_equal(found, expected)
            except AssertionError as error:
                wrong.append(seed)
                print(f"seed {seed}: {str(error).splitlines()[0]}", flush=True)
            happened.update(cluster.server.happened)
            happened.update(cluster.counts)
            lines += len(cluster.lines)
    print(
        f"{SEEDS - len(wrong)} of {SEEDS} seeds as on a good disk; {lines} times the command ended with a line; ",
        end="",
    )
    print(", ".join(f"{count} x {what}" for what, count in happened.most_common()))
    return {"seeds that end as on a good disk": 1 - len(wrong) / SEEDS}
