"""`sweeps train`: names, own folders, teacher files, and failures that are not kept."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import sweeps.engine.runs
from analysis import read_runs
from pat.config import RunConfig
from pat.io import LocalIO
from pat.train import Outcome
from sweeps.train_one import main
from tests.pat.folders import make

SHORT = ["--epochs", "1", "--batch-size", "8", "--image-size", "32"]


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Trains on a small folder; returns the exit code and what was said."""
    make(tmp_path / "set", {"train": 6, "test": 2})

    def run(*flags: str, data: str = "set") -> tuple[int, str, str]:
        code = main([*SHORT, "--data", str(tmp_path / data), "--storage", str(tmp_path / "runs"), *flags])
        return code, *capsys.readouterr()

    return run


def test_an_older_name_is_timms_current_one(train: Any, tmp_path: Path) -> None:
    code, said, _ = train("--method", "scratch", "--student", "vit_tiny_patch16_224_in21k")
    assert code == 0 and "student vit_tiny_patch16_224_in21k is timm's vit_tiny_patch16_224 now" in said
    assert read_runs(tmp_path / "runs" / "train")["student"].tolist() == ["vit_tiny_patch16_224"]
    assert "create_model('vit_tiny_patch16_224', img_size=32" in said
    code, _, error = train("--method", "scratch", "--student", "resnet18.no_such_tag")
    assert code == 2 and "unknown tag 'no_such_tag' of student 'resnet18'" in error and error.count("\n") == 1


def test_the_account_of_a_folder_is_said(train: Any, tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "__MACOSX").mkdir()
    code, said, _ = train("--method", "scratch", "--student", "vit_nano_patch8_32")
    assert code == 0 and "test images of 3 classes; passed over: 1 x service folder __MACOSX" in said
    code, _, error = train("--method", "scratch", "--student", "vit_nano_patch8_32", "--image-size", "0")
    assert code == 2 and "data.image_size = 0: a positive number" in error


def test_a_teacher_file_of_a_trainer(train: Any, tmp_path: Path) -> None:
    weights = timm.create_model("resnet_nano_32", num_classes=3).state_dict()
    wild = {"when": datetime.datetime(2024, 1, 1), "state_dict": {f"model.{k}": v for k, v in weights.items()}}
    torch.save({**wild, "epoch": 3}, tmp_path / "teacher.pth")
    taught = ["--student", "vit_nano_patch8_32", "--teacher", "resnet_nano_32", "--method", "kd"]
    code, said, error = train(*taught, "--teacher-file", str(tmp_path / "teacher.pth"))
    assert code == 0 and "resnet_nano_32: accuracy" in said
    assert "taken are the weights 'state_dict' under 'model.'" in error and error.count("\n") == 1


def test_a_failure_is_tried_again_when_asked_for_again(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, errors = sweeps.engine.runs.train, [OSError("AF_UNIX path too long"), ValueError("a bug")]

    def failing(config: RunConfig, world: LocalIO, **rest: Any) -> Outcome:
        if errors:
            raise errors.pop(0)
        return real(config, world, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", failing)
    command = ["--method", "scratch", "--student", "vit_nano_patch8_32"]
    folder = tmp_path / "runs" / "train"
    code, _, error = train(*command)
    assert code == 2 and "AF_UNIX path too long (OSError on" in error
    assert not list(folder.glob("runs/*/run.parquet"))  # a failure of the surroundings is not recorded
    code, _, error = train(*command)
    assert code == 2 and "failed: a bug" in error and read_runs(folder)["status"].tolist() == ["failed"]
    assert train(*command)[0] == 0 and read_runs(folder)["status"].tolist() == ["finished"]
