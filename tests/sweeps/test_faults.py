"""What goes wrong in a long study, made to happen once each: nothing finished is lost, and one line says what to do."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study
from test_driver import drive, same

import sweeps.engine.runs
from analysis import read_epochs, read_runs
from pat.config import RunConfig
from pat.data import folder_data
from pat.io import IO
from pat.memory import Measures, OutOfMemory
from pat.models import create_model, sha256
from pat.train import Outcome
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.jobs import STOP
from sweeps.store import open_study
from sweeps.study import Search, Study, TeacherFile

SHORT = {"students": {MLP_STUDENT: replace(RECIPE, epochs=2)}, "pairs": ((VIT_TEACHER, MLP_STUDENT),), "seeds": 1}


def start(storage: Path, study: Study) -> Driver:
    folder, grown = open_study(storage, study)
    return Driver(folder, grown, study, storage, stream=io.StringIO())


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """Real training at an absurd rate: recorded, told to Optuna as failed, and the other settings go on."""
    wild = replace(RECIPE, epochs=2, lr=1e12, optimizer="sgd", warmup_epochs=0, ema_decay=0.0)
    study = small_study(students={MLP_STUDENT: wild}, pairs=((CNN_TEACHER, MLP_STUDENT),), methods=(), seeds=2)
    folder, driver, said = drive(tmp_path, study)
    rows = read_runs(folder)
    assert set(rows["status"]) == {"diverged"} and set(rows["failure_class"]) == {"diverged"} and len(rows) == 2
    assert rows["message"].str.startswith("loss became nan in epoch").all() and "diverged" in said
    assert not driver.planner.complete and "diverged" in driver.planner.problems[0]


def test_memory_that_does_not_suffice_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is tried again with milder and stronger measures; the run's next segment begins with them."""
    seen: list[str] = []

    def hungry(config: RunConfig, world: IO, *, measures: Measures, **rest: Any) -> Outcome:
        seen.append(str(measures))
        if config.teacher and measures.accumulation < 2:
            following = Measures(True, 2) if measures.checkpointing else Measures(True)
            raise OutOfMemory("CUDA out of memory", following)
        return replace(fake_train(config, world, **rest), measures=str(measures))

    monkeypatch.setattr(sweeps.engine.runs, "train", hungry)
    folder, driver, _ = drive(tmp_path, small_study(**SHORT, methods=("kd",)))
    rows = read_runs(folder)
    assert driver.planner.complete and not rows["failure_class"].notna().any()
    taught = rows[(rows["method"] == "kd") & (rows["status"] == "finished")]
    assert set(taught["memory_measures"]) == {"checkpointing, accumulation 2"}
    assert rows[rows["method"] == "scratch"]["memory_measures"].isna().all()
    runs = int((rows["method"] == "kd").sum())
    assert seen.count("checkpointing") == runs and not list(folder.glob("runs/*/_measures"))


def test_memory_that_nothing_saves_fails_with_the_workers_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        if config.method.name == "kd":
            raise OutOfMemory("batch of 32 on 1 worker(s): CUDA out of memory; a share of 4 workers would fit")
        return fake_train(config, world, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", hungry)
    folder, driver, _ = drive(tmp_path, small_study(**SHORT))
    failed = read_runs(folder).query("status == 'failed'")
    assert set(failed["failure_class"]) == {"oom"} and set(failed["method"]) == {"kd"}
    assert failed["message"].str.contains("4 workers would fit").all()
    assert not driver.planner.complete
    finished = {row.cell.method for row in driver.planner.rows() if row.status == "finished"}
    assert finished == {"scratch", "pat"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True)
    if mount.returncode:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing_and_goes_on_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    """Real training until no checkpoint fits any more; then the same command after something was removed."""
    study = small_study(
        teachers={CNN_TEACHER: replace(RECIPE, epochs=1), VIT_TEACHER: replace(RECIPE, epochs=1)},
        students={MLP_STUDENT: replace(RECIPE, epochs=1, lr=0.01)},
        pairs=((CNN_TEACHER, MLP_STUDENT),),
        methods=("kd",),
        search=Search(trials=0),
        seeds=2,
    )
    driver = start(small_disk, study)
    for _ in range(2):
        job = driver.next_job(1)
        assert job is not None
        sweeps.engine.runs.execute(job)
        driver.ended(job.run.run_id)
    room = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(room - 100_000))
    with pytest.raises(Fatal, match="No space left"):
        run_here(driver)
    folder = small_disk / study.name
    ended = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/run.parquet")}
    assert set(read_runs(folder)["status"]) == {"finished"} and len(ended) == 2
    assert not [path for path in folder.rglob("_*") if path.name != "_driver.lock"]
    (small_disk / "ballast").unlink()
    driver = start(small_disk, study)
    run_here(driver)
    assert driver.planner.complete and all(path.stat().st_mtime_ns == at for path, at in ended.items())
    other, _, _ = drive(tmp_path / "roomy", study)
    same(folder, other)


def test_a_damaged_image_stops_the_study_and_is_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / "photos" / part / label).mkdir(parents=True)
            for number in range(20):
                colour = (number * 10, 100, 200 if label == "a" else 20)
                Image.new("RGB", (32, 32), colour).save(tmp_path / "photos" / part / label / f"{number}.png")
    data = folder_data(tmp_path / "photos", 32)
    victim = tmp_path / "photos" / "train" / "b" / "7.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:40] + bytes(len(whole) - 40))
    study = small_study(data=data, students={MLP_STUDENT: replace(RECIPE, epochs=1, batch_size=8)}, methods=(), seeds=1,
                        pairs=((CNN_TEACHER, MLP_STUDENT),))  # fmt: skip
    with pytest.raises(Fatal, match=r"photos/train/b/7.png' cannot be decoded"):
        run_here(start(tmp_path, study))
    folder = tmp_path / study.name
    assert len(read_runs(folder)) == 0  # nobody failed: the file is to be mended
    victim.write_bytes(whole)
    driver = start(tmp_path, study)
    run_here(driver)
    assert driver.planner.complete


def test_a_teacher_file_that_disappears_stops_the_study(tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    save_file(create_model(CNN_TEACHER, 10, 32).state_dict(), file)
    study = small_study(
        teachers={CNN_TEACHER: TeacherFile(str(file), sha256(file))},
        students={MLP_STUDENT: replace(RECIPE, epochs=1, lr=0.01)},
        pairs=((CNN_TEACHER, MLP_STUDENT),),
        methods=("kd",),
        search=Search(trials=0),
        seeds=2,
    )
    bytes_of_it = file.read_bytes()
    driver = start(tmp_path, study)
    file.unlink()
    with pytest.raises(Fatal, match=r"teacher.safetensors' cannot be read: No such file"):
        run_here(driver)
    finished = read_runs(driver.folder)
    assert set(finished["status"]) <= {"finished"}
    file.write_bytes(bytes_of_it[:-8] + bytes(8))
    with pytest.raises(Fatal, match="has SHA-256 .* is expected"):
        run_here(start(tmp_path, study))
    file.write_bytes(bytes_of_it)
    driver = start(tmp_path, study)
    run_here(driver)
    assert driver.planner.complete


def test_a_study_that_is_asked_to_stop_pauses_after_an_epoch(tmp_path: Path) -> None:
    """What was paused goes on later to the same bytes."""
    study = small_study(
        students={MLP_STUDENT: replace(RECIPE, epochs=3)}, pairs=((CNN_TEACHER, MLP_STUDENT),), methods=(), seeds=1
    )
    driver = start(tmp_path, study)
    job = driver.next_job(1)
    assert job is not None
    (driver.folder / STOP).touch()
    assert sweeps.engine.runs.execute(job) == "paused" and len(read_epochs(driver.folder)) == 1
    driver.ended(job.run.run_id)
    other, _, _ = drive(tmp_path / "undisturbed", study)
    run_here(start(tmp_path, study))  # a new start forgets the request
    same(driver.folder, other)


def test_an_allocator_that_refuses_is_met_with_measures(tmp_path: Path, teacher_file: Path) -> None:
    """Real training under a limit of the process's memory that only a smaller batch fits."""
    code = f"""
import resource, sys, torch
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
torch.set_num_threads(1)
from tests import tiny
from pat.io import LocalIO
from pat.memory import Measures, OutOfMemory
from pat.train import train
tiny.run(tiny.config("vit_micro_patch4_32", epochs=1, recipe={{"batch_size": 4}}), Path({str(tmp_path)!r}, "first"))
config = tiny.config("vit_micro_patch4_32", epochs=1, recipe={{"batch_size": 96}})
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {{room}}, used + {{room}}))
try:
    train(config, LocalIO(Path({str(tmp_path)!r})))
    print("fits")
except OutOfMemory as problem:
    print("next:", problem.measures)
"""
    found = {}
    for room in (60_000_000, 4_000_000_000):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("{room}", str(room))], capture_output=True, text=True, timeout=200
        )
        found[room] = done.stdout.strip().splitlines()[-1:] or [done.stderr[-300:]]
    assert found[4_000_000_000] == ["fits"]
    assert found[60_000_000] == ["next: checkpointing"], found
