"""What a run goes on from: the last checkpoint, of an unreadable one the one before it, else the start."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from pat.config import StorageError
from pat.io import CHECKPOINT, PREVIOUS, UNREADABLE, LocalFiles, LocalIO
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
