"""Figures drawn by several processes: the same bytes, the page first, errors that arrive, and no process left."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import figures
from analysis.frames import load
from analysis.report import write_report
from analysis.schema import LedgerError

Make = Callable[..., Any]


FEW = ["gain_bars", "cost_gain", "published_scatter", "prompts"]
"""Two that are drawn and two that have nothing to show: how they are drawn does not depend on how many there are."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "list_plots", lambda: list(FEW))


@pytest.fixture
def folder(tmp_path: Path, make_square: Make) -> Path:
    place: Path = make_square(("cnn",), methods=("kd",), seeds=(1, 2), trials=4).write(tmp_path / "study")
    return place


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every study is a large one, on a machine of two."""
    monkeypatch.setattr(figures, "MANY_RUNS", 1)
    monkeypatch.setattr(figures, "cpu_count", lambda: 2)


def files(folder: Path) -> dict[str, bytes]:
    report = folder / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file()}


def test_several_processes_write_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(folder)
    before = files(folder)
    monkeypatch.setattr(figures, "MANY_RUNS", 1)
    monkeypatch.setattr(figures, "cpu_count", lambda: 3)
    monkeypatch.setattr(figures.Hand, "draw", None)  # not in this process
    for path in (folder / "report").rglob("*.*"):
        path.unlink()
    write_report(folder)
    after = files(folder)
    assert before.keys() == after.keys() and not [name for name in before if before[name] != after[name]]
    assert {Path(name).stem for name in before if "figures/" in name} == set(FEW[:2])
    assert not multiprocessing.active_children() and gc.isenabled()


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_page_is_there_before_svg_and_pdf(
    processes: int, folder: Path, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "cpu_count", lambda: processes)
    seen: list[set[str]] = []

    def show(pictures: list[Any], left_out: dict[str, str]) -> None:
        assert set(left_out) == set(FEW[2:])
        drawn = {picture.name for picture in pictures}
        assert drawn == {path.stem for path in (folder / "report" / "figures").glob("*.png")}
        seen.append({path.suffix for path in (folder / "report" / "figures").iterdir()})

    figures.write_figures(folder, load(folder), show)
    assert seen == [{".png"}]
    assert {path.suffix for path in (folder / "report" / "figures").iterdir()} == {".png", ".svg", ".pdf"}


def test_an_error_of_a_process_arrives(folder: Path, several: None) -> None:
    """As itself, with where it happened, like that of a file that cannot be written."""
    (folder / "report").mkdir()
    (folder / "report" / "figures").write_text("not a folder")
    with pytest.raises(LedgerError, match="cannot write") as caught:
        figures.write_figures(folder, load(folder), lambda pictures, left_out: None)
    assert "In a process that draws figures" in caught.value.__notes__[0] and "compose" not in str(caught.value)
    assert not multiprocessing.active_children() and gc.isenabled()


@pytest.mark.parametrize("moment", ["drawing", pytest.param("finishing", marks=pytest.mark.slow)])
def test_a_killed_process_is_an_error(moment: str, folder: Path, several: None) -> None:
    def kill() -> None:
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    def soon() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        kill()

    if moment == "drawing":
        threading.Thread(target=soon, daemon=True).start()
    with pytest.raises(RuntimeError, match="was killed"):
        figures.write_figures(folder, load(folder), lambda pictures, left_out: kill())
    assert not multiprocessing.active_children()


SCRIPT = """
import sys
from analysis import figures
from analysis.report import write_report

figures.MANY_RUNS, figures.cpu_count = 1, lambda: 2
figures.list_plots = lambda: FEW

def main():
    print("drawing", flush=True)
    write_report(sys.argv[1])

if __name__ == "__main__":
    main()
"""


def started(folder: Path) -> subprocess.Popen[str]:
    """A script with processes of its own, in a group of its own."""
    script = folder.parent / "script.py"
    script.write_text(SCRIPT.replace("FEW", repr(FEW)))
    root = Path(figures.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, str(script), str(folder)], env={**os.environ, "PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def gone(group: int) -> bool:
    """Whether within 60 s no process of the group is left."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_script_may_be_the_caller(folder: Path) -> None:
    process = started(folder)
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0 and output == "drawing\n" and not error
    assert (folder / "report" / "index.html").exists() and gone(process.pid)


@pytest.mark.parametrize("end", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_no_process_outlives_its_caller(end: signal.Signals, folder: Path) -> None:
    """Ctrl-C goes to all processes of a terminal, a kill to the caller alone."""
    process = started(folder)
    assert process.stdout is not None and process.stdout.readline() == "drawing\n"
    while not list((folder / "report").glob("figures/*.png")):
        time.sleep(0.05)
    (os.killpg if end == signal.SIGINT else os.kill)(process.pid, end)
    _, error = process.communicate(timeout=100)
    assert process.returncode and gone(process.pid)
    assert error.endswith("KeyboardInterrupt\n" if end == signal.SIGINT else "")
