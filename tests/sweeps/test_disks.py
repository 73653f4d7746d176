"""Whatever a disk does to a study - it loses names, delays, refuses, fills up - its tables are those of a good disk."""

from __future__ import annotations

import random
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
from bad_disk import Client, Server
from disks import Cluster

from analysis import storage
from sweeps.engine.hold import Hold, Superseded
from sweeps.engine.jobs import run_folder
from sweeps.engine.seen import given_up

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


@pytest.mark.parametrize("seed", range(10))
def test_who_is_cut_off_sees_it_before_its_run_is_handed_on(seed: int, tmp_path: Path) -> None:
    """A store shows a removal late, too: seed 118 of the bench lost the epochs that a successor had written."""
    server = Server({}, random.Random(seed), late=90.0)
    worker, driver = Client(server, "worker"), Client(server, "driver")
    with mock.patch("time.sleep", server.sleep), mock.patch.object(storage, "disk", worker):
        hold = Hold(run_folder(tmp_path, "run"))
        storage.refresh(hold.folder)
        hold.take("cpu")
        hold.check()
        storage.disk = driver
        where, epochs = given_up(tmp_path, "run")
        assert where is not None and epochs == 0
        storage.disk = worker
        with pytest.raises(Superseded):
            hold.check()
