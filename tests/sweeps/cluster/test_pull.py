"""Results come home from a folder or a bucket, without checkpoints and half-written files."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_staging import files

from sweeps.__main__ import main

KEPT = ("digits/study.json", "digits/runs/a/run.parquet", "digits/runs/a/student.safetensors", "digits/matrix.parquet")
LEFT = ("digits/_driver.lock", "digits/runs/a/checkpoint.pt", "digits/runs/a/_tmp.parquet", "_doctor/token")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    from pat.io import CHECKPOINT

    for name in (*KEPT, *LEFT):
        path = tmp_path / "storage" / name.replace("checkpoint.pt", CHECKPOINT)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "storage"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_pull(storage: Path, tmp_path: Path, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", f"{scheme}{storage}", str(tmp_path / "home")]) == 0
    assert set(files(tmp_path / "home")) == set(KEPT)
    said = capsys.readouterr().out
    assert said.startswith("digits in ") and f"python -m analysis report {tmp_path / 'home' / 'digits'}" in said
    inodes = {path: path.stat().st_ino for path in (tmp_path / "home").rglob("*") if path.is_file()}
    (storage / KEPT[1]).write_text("changed")
    assert main(["pull", f"{scheme}{storage}", str(tmp_path / "home")]) == 0
    renewed = [path.relative_to(tmp_path / "home") for path, inode in inodes.items() if path.stat().st_ino != inode]
    assert [str(path) for path in renewed] == [KEPT[1]]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "cannot be read"),
        ("nothing://bucket", "not a storage"),
        ("absent.yaml", "'absent.yaml' cannot be read"),
        ("odd.yaml", "no cluster's definition"),
        ("empty", "no study in"),
    ],
)
def test_bad_sources(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.yaml").write_text("a: 1\n")
    (tmp_path / "empty").mkdir()
    assert main(["pull", source, "home"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
