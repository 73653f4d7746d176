"""`make test` runs both of its parts, and fails where either fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("failing", "code"), [("no part", 0), ("-n 2", 2), ("ray and not slow", 2)])
def test_both_parts_run_whatever_the_first_one_says(failing: str, code: int, tmp_path: Path) -> None:
    """In a folder that is set up, with a stand-in for its Python."""
    for name in ("pyproject.toml", "constraints.txt", ".venv/.ready"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> said\ncase "$*" in *"{failing}"*) exit 1;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(["make", "-f", str(MAKEFILE), "test"], cwd=tmp_path, capture_output=True, text=True)
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 2 and "not slow and not ray" in said[0] and said[1].endswith("ray and not slow")
    assert done.returncode == code, done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_python_without_venv_is_one_line(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\n')
    python.chmod(0o755)
    command = ["make", "-f", str(MAKEFILE), "setup", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / ".venv").exists()
    assert done.stderr.splitlines()[0].startswith("this Python comes without venv or pip; on Debian and Ubuntu: ")
