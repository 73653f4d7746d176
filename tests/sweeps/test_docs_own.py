"""docs/own.md: its files are what it says, and each of its commands asks for a study."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest
import timm
from test_own import forgotten  # noqa: F401

from sweeps import cli
from sweeps.__main__ import main as sweeps_main

TEXT = (Path(__file__).parents[2] / "docs" / "own.md").read_text()
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python sweeps/hetero_grid.py (.* --show)$", TEXT, re.M)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that holds the page's files, and the data that it names."""
    for body in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        (tmp_path / body.splitlines()[0].removeprefix("# ")).write_text(body)
    for part in ("train", "test"):
        for kind in ("rose", "tulip"):
            place = tmp_path / "path" / "to" / "flowers" / part / kind
            place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_asks_for_a_study(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.name for path in folder.glob("*.py")} == {"flowers.py", "halved.py", "test_halved.py"}
    assert cli.main(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    for pair in given.get("--pairs", "").split(",") if "--pairs" in given else ():
        assert pair.split(":") in shown["pairs"]
    if "--methods" in given:
        assert shown["methods"] == given["--methods"].split(",")
    if "--study" in given:
        assert shown["name"] == "flowers" and shown["spaces"]["kd"]["weight"] == [0.5, 1, 2]


def test_the_method_keeps_the_contract(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own test, on the page's own method."""
    monkeypatch.syspath_prepend(str(folder))
    assert pytest.main(["-q", "-p", "no:cacheprovider", "-c", os.devnull, str(folder / "test_halved.py")]) == 0


def test_one_pair_is_trained_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands as they stand, with one epoch."""
    monkeypatch.chdir(tmp_path)
    train, export = re.findall(r"^    python -m sweeps ((?:train|export) .*)$", TEXT, re.M)
    assert sweeps_main([*shlex.split(train), "--epochs", "1", "--batch-size", "256"]) == 0
    assert sweeps_main(shlex.split(export)) == 0
    (made,) = (tmp_path / "export").iterdir()
    assert timm.create_model(f"local-dir:{made}", pretrained=True).num_classes == 10


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6
