"""The console scripts and `--version`: the same commands under short names, with the same exit codes."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import pat
from analysis.__main__ import main as analysis
from analysis.guard import PROJECT, version_line
from pat.__main__ import main as library
from sweeps.__main__ import COMMANDS
from sweeps.__main__ import main as sweeps

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
SCRIPTS: dict[str, str] = PYPROJECT["scripts"]


def script(name: str) -> Callable[[list[str]], int]:
    """What a console script calls."""
    module, _, function = SCRIPTS[name].partition(":")
    found: Callable[[list[str]], int] = getattr(import_module(module), function)
    return found


def ended(call: Callable[[list[str]], int], arguments: list[str]) -> int | str | None:
    """The exit code; of help and version that of `SystemExit`."""
    try:
        return call(arguments)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_a_command(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{name}"])
    assert ended(script(name), ["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: {name} ")
    assert script(name)(["--frobnicate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.endswith(f"(see {name} --help)\n") and error.count("\n") == 1


def test_they_do_what_the_commands_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert script("pat-taps")(["resnet_nano_32"]) == library(["taps", "resnet_nano_32"]) == 0
    ours, theirs = capsys.readouterr().out.split("stage")[1:]
    assert ours == theirs
    assert script("pat-report")([str(tmp_path)]) == analysis(["report", str(tmp_path)]) == 2
    ours, theirs = capsys.readouterr().err.splitlines()
    assert ours == theirs and ours.startswith("error: ")


@pytest.mark.parametrize("call", [script(name) for name in SCRIPTS] + [library, analysis, sweeps])
def test_every_command_has_its_version(call: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(call, ["--version"]) == 0
    assert capsys.readouterr().out.split() == [PROJECT, pat.__version__]


@pytest.mark.parametrize("command", COMMANDS)
def test_so_have_those_of_sweeps(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(sweeps, [command, "--version"]) == 0
    assert capsys.readouterr().out.startswith(PROJECT)


def test_a_copy_that_was_never_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.guard.PROJECT", "pat-sweeps-elsewhere")
    assert version_line() == "pat-sweeps-elsewhere (not installed)"
