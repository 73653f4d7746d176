"""Runs of two workers inside a grid: one pruned at a rung, one that loses a worker in mid-epoch, groups that stay."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small import MLP_STUDENT, RECIPE, VIT_TEACHER, small_study
from test_driver import drive

from analysis import read_epochs, read_runs
from pat.config import ConfigError
from pat.models import create_model, sha256
from sweeps.engine.driver import Driver
from sweeps.engine.group import ANSWER, answer
from sweeps.engine.launch import launch
from sweeps.store import open_study
from sweeps.study import Search, Study, TeacherFile

EPOCHS = 4


def pair_of_workers(folder: Path, workers: int) -> Study:
    """One pair, dist with a search of two settings and a rung in the middle; long enough to be killed in an epoch."""
    torch.manual_seed(0)
    file = folder / "teacher.safetensors"
    save_file(create_model(VIT_TEACHER, 10, 32).state_dict(), file)
    return small_study(
        teachers={VIT_TEACHER: TeacherFile(str(file), sha256(file))},
        students={MLP_STUDENT: replace(RECIPE, epochs=EPOCHS, batch_size=64, lr=0.01)},
        pairs=((VIT_TEACHER, MLP_STUDENT),),
        methods=("dist",),
        search=Search(trials=2, wave=2, rungs=(0.5, 1.0)),
        seeds=1,
        options={},
        workers={"dist": workers},
    )


def kill_a_worker(folder: Path, killed: list[str]) -> None:
    """Once a two-worker run has done its first epoch: SIGKILL its first worker."""
    deadline = time.monotonic() + 300
    while not killed and time.monotonic() < deadline:
        for epochs in folder.glob("runs/*/epochs.parquet"):
            where = epochs.with_name("_where.json")
            try:
                pid = json.loads(where.read_text())["pid"]
            except (OSError, ValueError):
                continue
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if title.startswith(b"ray::RayTrainWorker"):
                os.kill(pid, signal.SIGKILL)
                killed.append(epochs.parent.name)
                return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("local_ray")
def test_two_workers_a_rung_and_a_killed_worker(tmp_path: Path) -> None:
    import ray

    study = pair_of_workers(tmp_path, workers=2)
    folder, grown = open_study(tmp_path, study)
    driver = Driver(folder, grown, study, tmp_path, stream=io.StringIO(), verbose=True)
    killed: list[str] = []
    killer = threading.Thread(target=kill_a_worker, args=(folder, killed))
    killer.start()
    launch(driver)
    killer.join()
    rows = read_runs(folder).set_index("run_id")
    assert killed and rows.loc[killed[0], "status"] in ("finished", "pruned")
    assert driver.planner.complete, driver.planner.problems
    search = rows[(rows["method"] == "dist") & (rows["phase"] == "search")]
    assert sorted(search["status"]) == ["finished", "pruned"] and set(rows[rows["method"] == "dist"]["workers"]) <= {
        2,
        1,
    }
    table = ray.util.placement_group_table()
    assert {group["state"] for group in table.values()} <= {"REMOVED"}
    deadline = time.monotonic() + 30  # Ray's count of what is free lags behind
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]
    assert not list(folder.rglob(f"{ANSWER}*")) and not (folder / "_ray").exists()

    other, _, _ = drive(tmp_path / "alone", replace(study, workers=1))  # one worker's training, without Ray
    shared = {"epochs": read_epochs(folder), "alone": read_epochs(other)}
    both = shared["epochs"].merge(shared["alone"], on=["run_id", "epoch"], suffixes=("", "_alone"))
    assert len(both) == len(shared["alone"])
    first = both[both["epoch"] == 1]
    assert (first["train_loss"] - first["train_loss_alone"]).abs().max() < 1e-4


def test_an_answer_is_whole(tmp_path: Path) -> None:
    (tmp_path / "runs" / "r").mkdir(parents=True)
    for until in (3, 0):
        answer(tmp_path, "r", until)
        assert (tmp_path / "runs" / "r" / ANSWER).read_text() == str(until)
    assert len(list((tmp_path / "runs" / "r").iterdir())) == 1


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_more_workers_than_there_are_is_said_at_once(tmp_path: Path) -> None:
    study = replace(pair_of_workers(tmp_path, workers=2), workers={"dist": 32})
    study = replace(study, students={MLP_STUDENT: replace(RECIPE, epochs=2, batch_size=64)})
    folder, grown = open_study(tmp_path, study)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"needs 32 worker\(s\) of 1 CPU\(s\) each, the cluster has 2 CPU"):
        launch(Driver(folder, grown, study, tmp_path, stream=io.StringIO()))
    assert time.monotonic() - start < 60
