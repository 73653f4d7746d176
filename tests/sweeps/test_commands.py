"""The room of the commands: each says how it is called, a study in few lines, the doctor looks at one machine."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.__main__ import main as analysis
from sweeps.__main__ import COMMANDS
from sweeps.__main__ import main as sweeps
from sweeps.api import Result
from sweeps.commands.flags import parser as grid_parser
from sweeps.commands.grid import main as grid
from sweeps.commands.train_flags import parser as train_parser
from tests.pat.folders import make, picture


@pytest.mark.parametrize(
    ("called", "parser", "name"),
    [
        ("pat-train", train_parser, "pat-train"),
        ("__main__.py", train_parser, "python -m sweeps train"),
        ("pat-sweep", grid_parser, "pat-sweep"),
        ("hetero_grid.py", grid_parser, "python sweeps/hetero_grid.py"),
    ],
)
def test_examples_are_of_the_command_that_was_called(
    called: str, parser: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [f"/somewhere/bin/{called}"])
    text = parser().format_help()
    lines = [line.strip() for line in text.partition("\nexamples\n")[2].splitlines()]
    assert f"usage: {name} " in text and sum(line.startswith(f"{name} --") for line in lines) >= 3
    others = {"pat-train", "python -m sweeps train", "pat-sweep", "hetero_grid.py"} - {name, name.rpartition("/")[2]}
    assert not any(other in text for other in others)


def test_a_study_is_shown_in_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert grid(["--preset", "cifar100", "--show"]) == 0
    text = capsys.readouterr().out
    shown = json.loads(text)
    assert shown["name"] == "cifar100" and len(text.splitlines()) < 100
    assert len([line for line in text.splitlines() if '"epochs": ' in line]) == len(shown["teachers"]) + len(
        shown["students"]
    )


def test_what_is_best_is_printed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"a_column_with_a_long_name_{number}" for number in range(9)]
    monkeypatch.setattr("sweeps.api.best", lambda folder: pd.DataFrame([dict.fromkeys(names, "x" * 40)] * 2))
    best = Result(Path("nowhere"), complete=True).best()
    with pd.option_context("display.width", 80, "display.max_columns", 4):
        assert all(name in repr(best) for name in names) and "..." not in repr(best)
    assert list(best[names[:2]].columns) == names[:2] and len(best) == 2


def test_the_doctor_looks_at_this_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("sweeps.engine.cluster.ray_running", lambda *rest: contextlib.nullcontext())
    monkeypatch.setattr("sweeps.engine.cluster.nodes", lambda: ["this one"])
    monkeypatch.setattr("sweeps.cluster.examine.examine", lambda *given: asked.append(given) or [])
    assert sweeps(["doctor", "--preset", "digits", "--workers", "2"]) == 0
    assert capsys.readouterr().out == "1 machine: nothing is wrong\n" and asked[0][1].name == "digits"
    assert {"train", "status", "stop", "pull", "doctor", "export"} == set(COMMANDS)


def test_unreadable_images_are_named_at_once_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By `pat-sweep --unreadable` as by `--set data.unreadable`; what lies beside the parts is counted."""
    path = make(tmp_path / "set", {"train": 6, "test": 2})
    for bad in ("train/ant/000.png", "train/bee/001.png", "test/cat/501.png"):
        (path / bad).write_bytes(b"no image")
    (path / "README.txt").write_text("mine")
    (path / "notes").mkdir()
    picture("ant", 0).save(path / "cover.png")
    command = ["--preset", "digits", "--data", str(path), "--storage", str(tmp_path / "runs")]
    assert grid(command) == 2
    error = capsys.readouterr().err
    assert "train/ant/000.png' cannot be decoded" in error and error.count("\n") == 1
    assert "so it is with " in error and "train/bee/001.png'; data.unreadable" in error
    names = []
    for given in (["--unreadable", "skip"], ["--set", "data.unreadable=skip"]):
        assert grid([*command, *given, "--show"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["data"]["unreadable"] == "skip"
        names.append(shown["name"])
    assert names[0] == names[1]
    train = ["train", "--student", "resnet_nano_32", "--method", "scratch", "--data", str(path), "--batch-size", "512"]
    assert sweeps([*train, "--unreadable", "skip", "--storage", str(tmp_path / "runs")]) == 2
    passed = "1 x file .txt, 1 x folder notes that is no part, 1 x image beside the parts"
    assert f"3 unreadable ones are left out; passed over: {passed}\n" in capsys.readouterr().out


PLAIN = """
from timm.models import register_model
from torch import nn

@register_model
def own_plain(pretrained=False, num_classes=10, **given):
    body = nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(8, num_classes))
"""


def test_a_model_without_timms_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forgotten: None
) -> None:
    """Is trained at 224 px, which is said, or at another size; and is refused as an export in one line."""
    make(tmp_path / "set", {"train": 6, "test": 2})
    (tmp_path / "own_plain.py").write_text(PLAIN)
    monkeypatch.chdir(tmp_path)
    given = ["train", "--import", "own_plain", "--student", "own_plain", "--method", "scratch", "--data", "set"]
    given += ["--epochs", "1", "--batch-size", "8", "--storage", "runs"]
    for more, size, said in (([], 224, True), (["--image-size", "32"], 32, False)):
        assert sweeps([*given, *more]) == 0
        out = capsys.readouterr().out
        assert ("own_plain has no record of its input: 224 px; --image-size says another" in out) == said
        assert "import own_plain, timm; timm.create_model('own_plain', num_classes=3, checkpoint_path=" in out
        run_id = out.partition(": run ")[2].partition("\n")[0]
        about = json.loads((tmp_path / "runs" / "train" / "runs" / run_id / "config.json").read_text())
        assert about["pat"]["config"]["data"]["image_size"] == size
        for form in ("hub", "torch", "onnx"):
            assert sweeps(["export", "runs/train", form, run_id]) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and ("'own_plain' has no record of timm's" in error or "needs onnx" in error)
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    "line", ["sweeps status {}", "sweeps stop {}", "sweeps export {} torch x:y:kd", "analysis report {}"]
)
def test_a_folder_that_holds_studies_is_told_from_one_of_them(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.json").write_text("{}")
    package, *arguments = line.format(tmp_path).split()
    main = {"sweeps": sweeps, "analysis": analysis}[package]
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith(f"; studies lie in it: {tmp_path}/mine\n")
