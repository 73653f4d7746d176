"""A data set comes to a machine once, whole, from a folder or an object store's filesystem."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from pat.config import ConfigError, Data, DataError
from sweeps.engine import staging
from sweeps.engine.staging import listing, stage
from sweeps.places import SHARED, data_place, storage_place

SET = Data("folder:pictures", 32, fingerprint="0" * 64)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        path = tmp_path / "source" / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
    return tmp_path / "source"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_copy_is_whole_and_made_once(source: Path, tmp_path: Path, scheme: str) -> None:
    target = tmp_path / "target"
    listed = stage(SET, f"{scheme}{source}", target)
    assert files(target / "pictures") == files(source / "pictures")
    assert listed == listing(SET, str(source)) and len(listed) == 64
    before = (target / "pictures/train/cat/1.png").stat().st_ino
    shutil.rmtree(source)  # not asked again
    assert stage(SET, f"{scheme}{source}", target) == listed
    assert (target / "pictures/train/cat/1.png").stat().st_ino == before
    assert not list(target.glob("*.partial"))


def test_a_broken_off_copy_is_made_again(source: Path, tmp_path: Path) -> None:
    partial = tmp_path / "target" / ".pictures.partial" / "train"
    partial.mkdir(parents=True)
    (partial / "half").touch()
    stage(SET, str(source), tmp_path / "target")
    assert files(tmp_path / "target" / "pictures") == files(source / "pictures")


def _stage(source: str, target: str) -> None:
    stage(SET, source, Path(target))


def test_many_processes_copy_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "copied"
    copied.touch()
    copy = staging.fs.copy_files

    def noting(*arguments: object, **named: object) -> None:
        with copied.open("a") as file:
            file.write(f"{os.getpid()}\n")
        copy(*arguments, **named)

    monkeypatch.setattr(staging.fs, "copy_files", noting)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_stage, args=(str(source), str(tmp_path / "target"))) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(copied.read_text().split()) == 1


def test_what_cannot_be_copied_is_one_line(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="'pictures' not found in"):
        stage(SET, str(tmp_path / "nowhere"), tmp_path / "target")
    with pytest.raises(DataError, match="not a storage"):
        stage(SET, "nothing://bucket", tmp_path / "target")
    monkeypatch.setattr(staging, "MARGIN", 1 << 60)
    with pytest.raises(DataError, match="takes .* has .* free"):
        stage(SET, str(source), tmp_path / "target")


def test_a_set_without_files_needs_nothing(tmp_path: Path) -> None:
    assert stage(Data("digits", 32), "/nowhere", tmp_path / "target") == "" == listing(Data("digits", 32), "/nowhere")
    assert not (tmp_path / "target").exists()


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sweeps.places.SHARED", tmp_path / "shared")
    assert storage_place(None, False) == storage_place(None, True) == "runs" and storage_place("x", True) == "x"
    assert data_place("/data", None, False).source == ""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="--storage: a folder that every machine"):
        storage_place(None, True)
    (tmp_path / "shared").mkdir()
    assert storage_place(None, True) == str(tmp_path / "shared" / "runs")
    place = data_place(None, None, True)
    assert (place.root, place.source) == (tmp_path / "pat-data", str(tmp_path / "shared" / "data"))
    assert data_place("/data", "none", True).source == "" and str(data_place("/data", "none", True).root) == "/data"
    assert data_place("s3://bucket/data", None, False).source == "s3://bucket/data"
    with pytest.raises(ConfigError, match="must be copied"):
        data_place("s3://bucket/data", "none", True)
    assert str(SHARED) == "/mnt/pat"
