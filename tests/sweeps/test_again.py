"""A command that is given again starts and draws nothing where nothing is left; a Ray that does not start is told."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from small import CNN_TEACHER, MLP_STUDENT, small_study

from analysis.storage import write_file
from sweeps.commands.grid import main
from sweeps.costs.devices import Devices
from sweeps.engine.alone import run_here
from sweeps.presets import PRESETS
from sweeps.study import Search


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, replayed: None) -> list[Path]:
    """A small study, run in this process; which reports were written, and which teachers measured."""
    pairs, search = ((CNN_TEACHER, MLP_STUDENT),), Search(trials=0)
    study = small_study(pairs=pairs, methods=("kd",), seeds=2, search=search)
    monkeypatch.setitem(PRESETS, "small", lambda: study)
    monkeypatch.setattr("sweeps.engine.cluster.ray_running", lambda *rest: contextlib.nullcontext())
    monkeypatch.setattr("sweeps.commands.grid.cluster_devices", lambda *rest, **more: Devices("", False, 2, 1.0))
    monkeypatch.setattr("sweeps.engine.launch.launch", lambda driver, *rest, **more: run_here(driver))
    found: list[Path] = []

    def report(folder: Path) -> str:
        found.append(folder)
        write_file(folder, "report/summary.md", b"what was found\n")
        write_file(folder, "report/index.html", b"<html>")
        return "what was found\n"

    monkeypatch.setattr("sweeps.commands.grid.write_report", report)
    monkeypatch.setattr("sweeps.commands.grid._measure_teachers", lambda driver, folder: found.append(folder))
    return found


def test_nothing_left_draws_nothing(
    drawn: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, folder = ["--preset", "small", "--storage", str(tmp_path), "--yes"], tmp_path / "small"
    assert main(command) == 0 and drawn == [folder] * 2
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.engine.cluster.ray_running", lambda *rest: pytest.fail("a Ray is started"))
        assert main(command) == 0 and len(drawn) == 2
        said = capsys.readouterr().out
        assert "what was found\n" in said and "report in " in said
        (folder / "report" / "index.html").unlink()
        assert main(command) == 0 and len(drawn) == 4  # it is not all there
        patched.setattr("sweeps.commands.grid.digest", lambda: "another program")
        assert main(command) == 0 and len(drawn) == 6
    assert main([*command, "--seeds", "3"]) == 0 and len(drawn) == 8


def test_a_ray_that_does_not_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweeps.engine import cluster

    def init(**options: Any) -> None:
        try:
            raise TimeoutError("no answer")
        except TimeoutError:
            logging.getLogger("ray._private.node").exception("Failed to get node info")
        raise Exception("The current node timed out during startup. This could happen because of many things.\nMore.")

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster, "sweep", lambda: None)
    for where, remedy in (("local", "give the same command again"), ("10.0.0.1:6379", "is it up? `ray status`")):
        with pytest.raises(cluster.ConfigError) as caught, cluster.ray_running(where):
            pass
        assert str(caught.value).startswith(f"Ray does not start or answer at {where!r}: The current node timed out")
        assert remedy in str(caught.value) and "\n" not in str(caught.value)
    assert capsys.readouterr().err == "" and not logging.root.manager.disable
