"""What a run goes on from: the last checkpoint, of an unreadable one the one before it, else the start."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pat.config import StorageError
from pat.data import load
from pat.io import CHECKPOINT, PREVIOUS, UNREADABLE, LocalFiles, LocalIO
from pat.models import create_student
from pat.tasks import task_on
from pat.train import train
from tests import tiny


@pytest.mark.parametrize("torn", [(CHECKPOINT,), (CHECKPOINT, PREVIOUS), (PREVIOUS,)])
@pytest.mark.parametrize("left", [0, 1, 300])
def test_a_torn_checkpoint_is_set_aside_and_the_run_goes_on(
    torn: tuple[str, ...], left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the bytes of an undisturbed run, from whatever was readable."""
    io = LocalIO(tmp_path)
    for epoch in (1, 2):
        io.report([{}], {"epoch": epoch, "weights": torch.arange(1000)})
    for name in torn:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:left])
    state = LocalIO(tmp_path).load()
    found = 0 if state is None else state["epoch"]
    assert found == {1: 2 if PREVIOUS in torn else 1, 2: 0}[len(torn)]
    aside = len(torn) if CHECKPOINT in torn else 0
    assert len(list(tmp_path.glob(f"{UNREADABLE}*"))) == aside
    assert capsys.readouterr().err.count("cannot be read") == aside
    assert LocalIO(tmp_path).load() is None or found


def test_a_run_whose_checkpoint_was_torn_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tiny.run(tiny.config(epochs=3), tmp_path / "whole")
    tiny.run(tiny.config(epochs=3), tmp_path / "torn", until=2)
    path = tmp_path / "torn" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    assert tiny.run(tiny.config(epochs=3), tmp_path / "torn").student_sha256 == whole.student_sha256


def test_written_through_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, names, folder, in this order: a power cut leaves the old checkpoint or the new one."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("sync " + Path(os.readlink(f"/proc/self/fd/{handle}")).name.partition("_")[0])
        fsync(handle)

    def replaced(self: Path, target: Path) -> Path:
        done.append(f"name {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    io = LocalIO(tmp_path / "run")
    io.report([{}], {"epoch": 1})
    io.report([{}], {"epoch": 2})
    first = ["sync ", f"name {CHECKPOINT}", "sync run"]
    assert done == [*first, "sync ", f"name {PREVIOUS}", *first[1:]]


def test_no_two_processes_write_one_file(tmp_path: Path) -> None:
    """Not even where they have the same pid, as in two containers; each leaves a whole file."""
    names: list[set[str]] = []

    def save(file: object) -> None:
        names.append({path.name for path in tmp_path.iterdir()})
        if len(names) == 1:
            LocalFiles(tmp_path).save(CHECKPOINT, save)

    LocalFiles(tmp_path).save(CHECKPOINT, save)
    assert len(names[1]) == 2 and [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_storage_that_fails_is_no_torn_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io = LocalIO(tmp_path)
    io.report([{}], {"epoch": 1})

    def failing(*given: object, **named: object) -> object:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(OSError, match="Input/output error"):
        io.load()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match="cannot be written: Input/output error"):
        io.report([{}], {"epoch": 2})
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


class Killed(BaseException):
    pass


class Dying(LocalIO):
    """Asks for a checkpoint after each step, and dies once that many have been kept."""

    every = 0.0

    def __init__(self, folder: Path, left: int) -> None:
        super().__init__(folder)
        self.left = left

    def keep(self, state: dict[str, Any]) -> None:
        super().keep(state)
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.mark.parametrize(
    ("student", "method", "recipe"),
    [
        (tiny.BATCHNORM, "pat", {"mixup": 0.2, "mixup_mode": "batch", "cutmix": 1.0}),
        (tiny.VIT, "crd", {"clip_grad": 1.0}),
        (tiny.VIT, "sokd", {"mixup": 0.2, "mixup_mode": "elem"}),
        (tiny.MLP, "reviewkd", {"views": "timm", "mixup": 0.2, "mixup_mode": "batch", "random_erasing": 0.5}),
        (tiny.BATCHNORM, "fbt", {"schedule_per_epoch": True}),
    ],
)
def test_interrupted_within_an_epoch_equals_uninterrupted(
    student: str, method: str, recipe: dict[str, Any], tmp_path: Path, teacher_file: Path
) -> None:
    """In the first epoch, then in the second: losses of all steps, scores, bytes of the student."""
    config = tiny.config(student, method, epochs=2, recipe=recipe)
    whole = tiny.run(config, tmp_path / "whole", teacher_file)
    place = tmp_path / "parts"
    for left, reached in ((2, (0, 2)), (6, (1, 2))):
        with pytest.raises(Killed):
            train(config, Dying(place, left), teacher_file=teacher_file)
        state = torch.load(place / CHECKPOINT, weights_only=True)
        assert (state["epoch"], state["step"]) == reached
    resumed = tiny.run(config, place, teacher_file)
    assert resumed.student_sha256 == whole.student_sha256 and resumed.test_correct == whole.test_correct
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (whole, resumed)]
    np.testing.assert_equal(*rows)
    one, two = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "parts"))
    assert one["last_losses"] == two["last_losses"] and resumed.history[0]["seconds"] > 0


@pytest.mark.parametrize("recipe", [{"mixup": 0.5, "mixup_mode": "batch"}, {"views": "timm", "cutmix": 1.0}])
def test_views_from_a_step_on_are_those_of_the_whole_epoch(recipe: dict[str, Any], tmp_path: Path) -> None:
    config = tiny.config(recipe=recipe)
    dataset = load(config.data, tmp_path)
    task, student = task_on(config.task, config.data, dataset), create_student(tiny.VIT, 10, 32, 0)
    order = task.batches(dataset.train, 16, 3, 1)
    every = list(task.views(dataset.train, order, config.recipe, student, 3, 1))
    for first in (1, len(order) - 1):
        rest = list(task.views(dataset.train, order, config.recipe, student, 3, 1, first=first))
        assert len(rest) == len(order) - first
        for one, two in zip(every[first:], rest, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_long_epoch_is_kept_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten minutes, counted from the last checkpoint, of an epoch or within one."""
    clock = [0.0]
    monkeypatch.setattr("pat.io.time.monotonic", lambda: clock[0])
    io, due = LocalIO(tmp_path), []
    for clock[0] in (599.0, 600.0, 601.0, 1199.0, 1200.0):
        due.append(io.due())
        if due[-1]:
            io.keep({"epoch": 0})
    assert due == [False, True, False, False, True]
    clock[0] = 1700.0
    io.report([{}], {"epoch": 1})
    clock[0] = 2299.0
    assert not io.due()
