"""The scripts and the notebook of examples/, on some images and in this process; one as a person starts it."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import siblings
from page_blocks import ROOT
from test_pages import cells_alone, folder  # noqa: F401

from sweeps.engine.alone import run_here
from sweeps.own import load_study
from tests.golden import ledgers

EXAMPLES = ROOT / "examples"
SCRIPTS = {
    "one_pair.py": (["1", "2"], "kd: ", "report: "),
    "own_folder.py": (["path/to/flowers", "1"], "21 train, 3 validation and 6 test images", "mixer_nano_patch8_32"),
    "own_method.py": (["2"], "epoch 2: loss ", "% on test"),
    "own_study.py": (["1", "2"], "gain_over_scratch_low", "report: "),
}
"""Of each the arguments that make it small, and what it then says."""


@pytest.fixture
def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], None]:  # noqa: F811
    """Starts a script in this process, which trains for it, without a Ray; a report is its table of cells."""
    monkeypatch.setattr("sweeps.engine.cluster.ray_running", lambda *rest: contextlib.nullcontext())
    monkeypatch.setattr("sweeps.engine.launch.launch", lambda driver, *rest, **more: run_here(driver))
    monkeypatch.setattr("sweeps.commands.grid.write_report", cells_alone)
    monkeypatch.setattr("sweeps.commands.grid._measure_teachers", lambda *rest: None)

    def start(name: str, arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return start


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script(
    name: str,
    started: Callable[[str, list[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, *words = SCRIPTS[name]
    if name == "own_study.py":  # 30 runs
        monkeypatch.setattr("sweeps.engine.runs.train", siblings.exporting_train)
    started(name, arguments)
    said = capsys.readouterr().out
    assert all(word in said for word in words), said


def test_all_scripts_are_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)
    assert all(f"`{path.name}`" in (EXAMPLES / "README.md").read_text() for path in EXAMPLES.glob("*.[pi]*"))


def test_the_study_is_one_for_the_command_too(folder: Path) -> None:  # noqa: F811
    assert load_study(f"{EXAMPLES / 'own_study.py'}:study").name == "own_study"


def test_the_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Its gains are those of the table of cells."""
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *rest: None)
    ledgers.unpack(ledgers.PRESENT, folder / "runs").rename(folder / "runs" / "demo")
    book = json.loads((EXAMPLES / "reading_a_ledger.ipynb").read_text())
    names: dict[str, object] = {}
    for number, cell in enumerate(book["cells"]):
        assert not cell.get("outputs"), "the notebook is kept without outputs"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    keys = ["teacher", "student", "method", "setting"]
    ours = names["taught"].groupby(keys)["gain"].mean()  # type: ignore[attr-defined]
    theirs = names["cells"].set_index(keys)["gain_over_scratch"]  # type: ignore[attr-defined]
    assert len(ours) == len(theirs) > 4 and (ours - theirs.loc[ours.index]).abs().max() < 1e-9


@pytest.mark.slow
@pytest.mark.ray
def test_one_pair_as_a_person_starts_it(tmp_path: Path) -> None:
    """On the whole of digits, with a Ray, and with the whole report."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, str(EXAMPLES / "one_pair.py"), "2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "points over scratch" in done.stdout and (tmp_path / "runs/one_pair/report/index.html").exists()
