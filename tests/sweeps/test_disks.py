"""Whatever a disk does to a study - it loses names, delays, refuses, fills up - its tables are those of a good disk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from disks import Cluster

SEEDS = 25


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, ...]:
    return Cluster(tmp_path_factory.mktemp("calm"), 0, faults=False).run()


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_the_tables_are_those_of_a_good_disk(seed: int, tmp_path: Path, calm: tuple[pd.DataFrame, ...]) -> None:
    """Or the command ends with one line, and given again it goes on."""
    cluster = Cluster(tmp_path, seed)
    found = cluster.run()
    for left, right in zip(found, calm, strict=True):
        pd.testing.assert_frame_equal(left, right)
    assert not [line for line in cluster.lines if "\n" in line or not line]
