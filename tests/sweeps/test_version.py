"""The digest of the code, and the stamp that the submitted script has of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sweeps import version
from sweeps.version import PACKAGES, ROOT, SCRIPT, digest, main, stamp


def copied(folder: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_digest_is_of_names_and_bytes(tmp_path: Path, monkeypatch) -> None:
    root = copied(tmp_path)
    first = digest.__wrapped__(root)
    assert first == digest() and len(first) == 12
    (root / "pat" / "__pycache__").mkdir()
    (root / "pat" / "__pycache__" / "x.pyc").touch()
    (root / SCRIPT).write_text("other")
    assert digest.__wrapped__(root) == first
    (root / "pat" / "more.py").touch()
    second = digest.__wrapped__(root)
    (root / "pat" / "more.py").rename(root / "pat" / "other.py")
    assert len({first, second, digest.__wrapped__(root)}) == 3


def test_the_stamp_is_renewed(tmp_path: Path, monkeypatch, capsys) -> None:
    root = copied(tmp_path)
    monkeypatch.setattr(version, "ROOT", root)
    (root / SCRIPT).write_text('A = 1\nCODE = "0"\nB = 2\n')
    assert main(["--check"]) == 1 and "has the stamp 0" in capsys.readouterr().err
    assert main([]) == 0 and main(["--check"]) == 0
    text = (root / SCRIPT).read_text()
    assert stamp(text) == digest() and text.startswith("A = 1\n") and text.endswith("\nB = 2\n")
    assert stamp("nothing") == ""


def test_packages_that_were_shipped_one_by_one(tmp_path: Path) -> None:
    """Ray unpacks each in a folder of its own; an older copy that is found after them counts for nothing."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package / package, ignore=shutil.ignore_patterns("__pycache__"))
    old = copied(tmp_path / "old")
    (old / "pat" / "old.py").touch()
    places = [*(str(tmp_path / package) for package in PACKAGES), str(old)]
    told = subprocess.run(
        [sys.executable, "-c", "from sweeps.version import digest; print(digest())"],
        env={"PYTHONPATH": os.pathsep.join(places)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == digest(), told.stderr
