"""Studies on a real Ray: Tune trials that are segments, lost processes, a killed driver, Ray Train."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, replay, small_study
from test_driver import drive, same

import sweeps.engine.runs
from analysis import read_epochs, read_runs
from pat.config import ConfigError, Data
from pat.models import create_model, sha256
from sweeps.costs.devices import cluster_devices
from sweeps.costs.probe_file import read_probes
from sweeps.engine.cluster import Node, preempted, slots, why_lost
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import here
from sweeps.engine.launch import _share, launch
from sweeps.engine.lock import locked
from sweeps.planning.units import Key
from sweeps.started import address
from sweeps.store import open_study
from sweeps.study import Cell, Search, Study, TeacherFile

pytestmark = pytest.mark.timeout(600)
on_ray = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def prepare(storage: Path, study: Study) -> tuple[Path, Driver]:
    folder, grown = open_study(storage, study)
    return folder, Driver(folder, grown, study, storage, stream=io.StringIO())


@pytest.fixture
def undisturbed(tmp_path: Path, replayed: None) -> Path:
    """The ledger of the small study, completed in this process."""
    return drive(tmp_path / "undisturbed", small_study())[0]


class TestOnRay:
    pytestmark = on_ray

    def test_tune_gives_the_ledger_of_one_process(
        self, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With two Tuners one after the other, and a process that is lost on the way."""
        folder, driver = prepare(tmp_path, small_study())
        unlucky = driver.planner.ready()[0].run_id
        (tmp_path / "doom").write_text(unlucky)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        launch(driver, work=replay(doom=str(tmp_path / "doom")), limit=40)
        assert driver.planner.complete and not list(tmp_path.glob("sweeps-tune-*"))
        assert read_runs(folder).set_index("run_id")["retries"].to_dict()[unlucky] == 1
        same(folder, undisturbed)

    def test_a_full_storage_ends_the_study(self, tmp_path: Path) -> None:
        def refused(values: dict[str, object]) -> None:
            from ray import tune

            failure = ["cannot write x: No space left on device", "stop", True]
            tune.report({"epochs": 0, "failure": failure, "place": ["here", ""]})

        _, driver = prepare(tmp_path, small_study())
        with pytest.raises(Fatal, match="No space left"):
            launch(driver, work=refused)

    def test_a_sick_device_ends_its_process_and_the_run_goes_on_in_another(
        self, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At first the only place gives every segment back."""
        folder, driver = prepare(tmp_path, small_study())
        unlucky, note = driver.planner.ready()[0].run_id, tmp_path / "pids"
        until = time.time() + 5
        monkeypatch.setattr(driver.health, "closed", lambda now: {here(): until - now} if now < until else {})
        declined: list[str] = []
        decline = driver.declined
        monkeypatch.setattr(driver, "declined", lambda run, place: (declined.append(run), decline(run, place)))

        def work(values: dict[str, Any]) -> None:
            import os

            import sweeps.engine.runs
            import sweeps.engine.segments

            def train(config: Any, world: Any, **rest: Any) -> Any:
                if config.run_id == unlucky:
                    with note.open("a") as file:
                        file.write(f"{os.getpid()}\n")
                    if len(note.read_text().split()) == 1:
                        raise OSError(5, "Input/output error")
                return fake_train(config, world, **rest)

            sweeps.engine.runs.train = train
            sweeps.engine.segments.run_one(values)

        launch(driver, work=work)
        first, second = map(int, note.read_text().split())
        assert declined and not driver.planner.aside
        assert first != second and not Path("/proc", str(first)).exists()
        row = read_runs(folder).set_index("run_id").loc[unlucky]
        assert driver.planner.complete and (row["status"], row["retries"]) == ("finished", 1)
        same(folder, undisturbed)

    def test_more_is_asked_for_than_there_is(self, tmp_path: Path, undisturbed: Path) -> None:
        """A cluster that may grow, and does not: what waits for a machine takes its turn on those that are there."""
        folder, driver = prepare(tmp_path, small_study())
        launch(driver, most=6, work=replay())
        assert driver.planner.complete and driver.progress.slots == 2
        same(folder, undisturbed)

    def test_a_run_that_fits_nowhere_is_refused(self, tmp_path: Path) -> None:
        _, driver = prepare(tmp_path, small_study(threads=64))
        with pytest.raises(ConfigError, match="needs 1 worker.* of 64 CPU"):
            launch(driver, work=replay())

    def test_probes_are_made_where_the_runs_will_be(self, tmp_path: Path) -> None:
        study, said = small_study(pairs=((CNN_TEACHER, MLP_STUDENT),), methods=()), list[str]()
        devices = cluster_devices(study, tmp_path, tmp_path, said.append)
        assert (devices.slots, devices.share, devices.gpus) == (2, 1.0, False) and len(said) == 1
        probe = read_probes(tmp_path, devices.device)[Key("scratch", Cell("", MLP_STUDENT, "scratch"))]
        assert probe.epoch_seconds > 0 and probe.fits
        assert cluster_devices(study, tmp_path, tmp_path, said.append) == devices and len(said) == 1

    def test_training_on_tune_gives_the_bytes_of_this_process(self, tmp_path: Path) -> None:
        study = small_study(
            students={MLP_STUDENT: replace(RECIPE, epochs=1)}, pairs=((CNN_TEACHER, MLP_STUDENT),), methods=(), seeds=1
        )
        folder, driver = prepare(tmp_path / "tune", study)
        launch(driver, most=6, devices=1)
        assert driver.progress.slots == 1
        torch.set_num_threads(2)
        other, _, _ = drive(tmp_path / "here", study)
        same(folder, other)
        assert read_runs(folder)["student_sha256"].notna().all()

    def test_both_kinds_of_segments_in_one_study(self, tmp_path: Path) -> None:
        """27 replayed one-worker segments, then one PAT cell on two gloo workers, equal to one worker's training."""
        study = two_kinds(tmp_path)
        folder, driver = prepare(tmp_path, study)
        launch(driver, work=replay())
        assert driver.planner.complete, driver.planner.problems
        rows = read_runs(folder)
        pat = rows[rows["method"] == "pat"]
        assert set(pat["workers"]) == {2} and len(pat) == 1 and len(rows) == 1 + 16 + 2 + 1
        row = pat.iloc[0]
        job = sweeps.engine.runs.Job(
            folder=str(tmp_path / "alone"),
            study="alone",
            config=row["config"],
            until=1,
            phase="confirm",
            student_family="mlp",
            data_root=str(tmp_path),
            teacher_file=str(tmp_path / "teacher.safetensors"),
        )
        assert sweeps.engine.runs.execute(job) == "finished"
        alone = read_epochs(tmp_path / "alone").iloc[0]
        epochs = read_epochs(folder).set_index("run_id")
        for column in ("train_loss", "val_loss_raw"):
            assert epochs.loc[row["run_id"], column] == pytest.approx(alone[column], rel=1e-5)


def two_kinds(folder: Path) -> Study:
    """kd is searched on one worker, pat (without a search: every option is fixed) runs on two."""
    torch.manual_seed(0)
    file = folder / "teacher.safetensors"
    save_file(create_model(VIT_TEACHER, 10, 32).state_dict(), file)
    names = ("kd_weight", "feature_weight", "regularisation_weight", "temperature")
    return small_study(
        data=Data("digits", 32),
        teachers={VIT_TEACHER: TeacherFile(str(file), sha256(file))},
        students={MLP_STUDENT: replace(RECIPE, epochs=1, lr=0.01)},
        pairs=((VIT_TEACHER, MLP_STUDENT),),
        search=Search(trials=16, wave=8),
        seeds=1,
        options={"pat": {"prompt_depth": 1, "regions": 4, "region_dim": 16, "heads": 2, **dict.fromkeys(names, 1.0)}},
        workers={"pat": 2},
    )


@pytest.mark.ray
def test_a_killed_driver_loses_nothing(tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "killed" / "small"
    script = Path(__file__).with_name("kill_me.py")
    driver = subprocess.Popen(
        [sys.executable, str(script), str(folder.parent)],
        start_new_session=True,
        env={**os.environ, "RAY_TMPDIR": tempfile.gettempdir(), "TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 300
    while len(list(folder.glob("runs/*/run.parquet"))) < 15 and time.monotonic() < deadline:
        assert driver.poll() is None
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/run.parquet")}
    assert 15 <= len(finished) < len(read_runs(undisturbed))
    with locked(folder):  # the lock went with the process
        pass
    monkeypatch.setattr(sweeps.engine.runs, "train", fake_train)
    other, _, _ = drive(folder.parent, small_study())
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    same(other, undisturbed)


def test_where_a_study_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert address(None) == "local" and address("ray://head:1") == "ray://head:1"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert address(None) == "auto"


def test_a_run_of_several_workers_takes_whole_gpus() -> None:
    assert (_share(0.25, 1), _share(0.25, 2), _share(1.0, 4)) == (0.25, 1.0, 1.0)


def test_slots() -> None:
    assert slots([Node(8, 0), Node(3, 0)], threads=2, gpu_share=1) == 5
    assert slots([Node(8, 0), Node(8, 2)], threads=1, gpu_share=0.5) == 4
    assert slots([Node(2, 4)], threads=1, gpu_share=1) == 2


@pytest.mark.parametrize(
    ("error", "words", "machine"),
    [
        ("The actor died because its node has died. Node Id: ab", "its machine is gone", True),
        (
            "Worker exit detail: Worker unexpectedly exits with a connection error. There are some",
            "Worker unexpect",
            False,
        ),
        ("Task was killed due to the node running low on memory", "ran out of memory", False),
        ("Traceback (most recent call last):\n  File\nKeyError: 'x'\n", "KeyError: 'x'", False),
        ("", "its process is gone", False),
    ],
)
def test_why_a_process_was_lost(error: str, words: str, machine: bool) -> None:
    assert words in why_lost(error) and preempted(error) == machine
