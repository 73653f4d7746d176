"""`train`: one teacher, one student, one method; bad input is one line and exit code 2."""

from __future__ import annotations

import json
import pathlib
import re
from pathlib import Path

import pytest
import timm
import torch

import pat
from sweeps.__main__ import main as train_main
from tests.pat import dense_tasks as dense


def test_one_pair_and_the_student_loads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--student", "mixer_nano_patch8_32", "--teacher", "vit_micro_patch8_32", "--method", "kd"]
    arguments += ["--data", "digits", "--epochs", "1", "--batch-size", "256", "--storage", str(tmp_path)]
    assert train_main(arguments) == 0
    said = capsys.readouterr().out
    expression = said.strip().splitlines()[-1].partition("; ")[2]
    student = eval(expression, {"timm": timm})
    assert student.num_classes == 10
    assert train_main(arguments) == 0
    assert "epoch" not in capsys.readouterr().out.replace("1 epoch", "")


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_folder_of_boxes_or_masks_and_the_student_loads_back(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--data", str(dense.root() / task), "--student", dense.STUDENT, "--method", "scratch"]
    arguments += ["--image-size", "48", "--epochs", "1", "--batch-size", "4", "--storage", str(tmp_path)]
    arguments += [f"--task-option={name}={json.dumps(value)}" for name, value in dense.OPTIONS[task].items()]
    assert train_main(arguments) == 0
    said = capsys.readouterr().out.strip()
    score = {"detection": r"box AP [\d.]+", "segmentation": r"mean IoU [\d.]+ %"}[task]
    assert re.search(rf"epoch 1 of 1: loss [\d.]+, validation {score}, ", said)
    assert re.search(rf"^{dense.STUDENT}: {score} on test after 1 epoch$", said, re.M)
    statement, _, expression = said.splitlines()[-1].partition("model, _ = ")
    assert statement == "import pat, pathlib; "
    model, _ = eval(expression, {"pat": pat, "pathlib": pathlib})
    assert len(model.pyramid(model.taps(torch.zeros(1, 3, 64, 96)).maps)) == {"detection": 5, "segmentation": 4}[task]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--student", "vit_nano_patch8_32"], "'vit_nano_patch8_32': cannot be the backbone of detection or segment"),
        (["--teacher", "mixer_nano_patch8_32"], "'mixer_nano_patch8_32': cannot be the backbone of detection or segm"),
        (["--method", "ofa"], "method 'ofa': only for classification; for segmentation there are fitnet, kd, "),
        (["--task-option", "widht=8"], "unknown option 'widht' of task 'segmentation'; did you mean width?"),
    ],
)
def test_what_does_not_suit_masks_is_said_before_any_work(
    changes: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "--data", str(dense.root() / "segmentation"), "--student", dense.STUDENT]
    assert train_main([*given, "--teacher", dense.TEACHER, *changes, "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["train", "--student", "vit_nano_patch8_23", "--data", "digits", "--method", "scratch"], "did you mean"),
        (["train", "--student", "vit_nano_patch8_32", "--data", "digit", "--method", "scratch"], "did you mean digits"),
        (
            [
                "train",
                "--teacher",
                "convnext_micro_32",
                "--student",
                "vit_nano_patch8_32",
                "--data",
                "digits",
                "--method",
                "uskd",
            ],
            "'uskd' takes none",
        ),
        (["train", "--student", "vit_nano_patch8_32", "--data", "digits"], "--teacher: method 'pat' takes one"),
        (["train", "--student", "vit_nano_patch8_32", "--data", "digits", "--method", "ofaa"], "unknown method"),
        (
            ["train", "--student", "vit_nano_patch8_32", "--data", "digits", "--method", "scratch", "--option", "a=1"],
            "unknown option 'a'",
        ),
        (
            [
                *("train", "--student", "vit_nano_patch8_32", "--teacher", "vit_micro_patch8_32", "--data", "digits"),
                *("--teacher-file", "/nowhere.pt"),
            ],
            "cannot be read",
        ),
        (
            [
                *("train", "--student", "vit_nano_patch8_32", "--teacher", "vit_micro_patch8_32", "--data", "digits"),
                *("--option", "prompt_depth=[0, 3]"),
            ],
            "prompt_depth = (0, 3): different stages from 1 to 4",
        ),
    ],
)
def test_bad_single_runs_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [*arguments, "--storage", str(tmp_path)] if arguments else arguments
    assert train_main(given) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert "run " not in said.out and not list(tmp_path.glob("**/run.parquet")), "before any work"
