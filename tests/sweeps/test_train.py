"""`sweeps train`: names, own folders, teacher files, and failures that are not kept."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

import sweeps.engine.runs
from analysis import read_runs
from pat.config import RunConfig
from pat.data import load
from pat.io import LocalIO
from pat.train import Outcome
from sweeps.commands.train import main
from sweeps.commands.train_flags import RECIPE, Side, data_and_recipe, parser
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


def opened(said: str) -> Any:
    """What the last line that was said makes."""
    imports, _, line = said.splitlines()[-1].partition("; ")
    names: dict[str, Any] = {}
    exec(imports, names)
    return eval(line, names)


def test_an_older_name_is_timms_current_one(train: Any, tmp_path: Path) -> None:
    code, said, _ = train("--method", "scratch", "--student", "vit_tiny_patch16_224_in21k")
    assert code == 0 and "student vit_tiny_patch16_224_in21k is timm's vit_tiny_patch16_224 now" in said
    assert read_runs(tmp_path / "runs" / "train")["student"].tolist() == ["vit_tiny_patch16_224"]
    model = opened(said)
    assert model.num_classes == 3 and model.pretrained_cfg["input_size"] == (3, 32, 32)
    assert model.pretrained_cfg["label_names"] == ["ant", "bee", "cat"]
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


def test_what_a_student_carries(train: Any, tmp_path: Path) -> None:
    """timm opens it as it was trained and scored; what else is known of it stands beside."""
    code, said, _ = train("--method", "scratch", "--student", "vit_nano_patch8_32", "--set", "recipe.ema_decay=0.5")
    (row,) = read_runs(tmp_path / "runs" / "train").to_dict("records")
    folder = tmp_path / "runs" / "train" / "runs" / row["run_id"]
    about = json.loads((folder / "config.json").read_text())
    assert code == 0 and about["architecture"] == "vit_nano_patch8_32" and about["num_classes"] == 3
    assert about["label_names"] == about["pat"]["classes"] == ["ant", "bee", "cat"]
    assert about["pat"]["run_id"] == RunConfig.from_dict(about["pat"]["config"]).run_id == row["run_id"]
    assert about["pat"]["score"]["test"] == row["test_last_ema"] and about["pat"]["chance"] == pytest.approx(100 / 3)
    assert "15 train, 3 validation and 6 test images of 3 classes" in about["pat"]["data"]
    model = opened(said).eval()
    seen = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=model.pretrained_cfg))
    data = load(RunConfig.from_json(row["config"]).data, tmp_path)
    images = torch.stack([seen(Image.fromarray(data.test.picture(i).numpy())) for i in range(len(data.test))])
    correct = model(images).argmax(1) == data.test.labels
    assert 100 * correct.double().mean().item() == pytest.approx(row["test_last_ema"])


def test_weights_to_begin_with(train: Any, tmp_path: Path) -> None:
    """A file of one's own, a run, timm's tags, on either side; they are part of what a run is."""
    weights = timm.create_model("vit_nano_patch8_32", num_classes=7).state_dict()
    torch.save({"model": weights}, tmp_path / "own.pth")
    scratch = ["--method", "scratch", "--student", "vit_nano_patch8_32"]
    assert (
        train(*scratch, "--initial", str(tmp_path / "own.pth"), "--lr", "1e-12", "--set", "recipe.weight_decay=0")[0]
        == 0
    )
    (row,) = read_runs(tmp_path / "runs" / "train").to_dict("records")
    folder = tmp_path / "runs" / "train" / "runs" / row["run_id"]
    student = load_file(folder / "student.safetensors")
    torch.testing.assert_close(student["blocks.0.attn.qkv.weight"], weights["blocks.0.attn.qkv.weight"])
    assert RunConfig.from_json(row["config"]).initial == f"sha256:{row['initial_sha256']}"
    assert train(*scratch, "--initial", f"run:{row['run_id']}")[0] == 0
    kd = ["--method", "kd", "--student", "vit_nano_patch8_32", "--teacher", "resnet_nano_32"]
    assert train(*kd, "--teacher-initial", str(tmp_path / "own.pth"))[0] == 2
    for flags, words in (
        ([*scratch, "--initial", "nowhere.pth"], "--initial 'nowhere.pth': no such file"),
        ([*scratch, "--initial", "timm"], "--initial timm: timm has no weights of 'vit_nano_patch8_32'"),
        ([*scratch, "--initial", "run:00ff00ff00ff00ff"], "initial weights run:00ff00ff00ff00ff: no finished run"),
        ([*scratch, "--teacher-initial", "timm"], "--teacher-initial: only with --teacher"),
        (
            [*kd, "--teacher-initial", "timm:resnet50.nothing"],
            "'timm:resnet50.nothing', needed are timm:resnet",
        ),
        ([*kd, "--teacher-initial", "timm", "--teacher-file", "x"], "--teacher-initial, --teacher-file: one of them"),
    ):
        code, _, error = train(*flags)
        assert code == 2 and words in error and error.count("\n") == 1, error


def test_any_field_of_the_recipe(train: Any, tmp_path: Path) -> None:
    fields = [
        "optimizer=lamb",
        "auto_augment=rand-m9-mstd0.5-inc1",
        "ema_decay=0.9",
        "precision=bf16",
        "warmup_epochs=1",
    ]
    sets = [word for field in (*fields, "epochs=2") for word in ("--set", f"recipe.{field}")]
    scratch = ["--method", "scratch", "--student", "vit_nano_patch8_32"]
    command = [*scratch, *sets, "--set", "data.validation=0.4", "--device", "cpu"]
    flags = parser().parse_args([*command, "--data", str(make(tmp_path / "set", {"train": 6, "test": 2}))])
    data, _, recipe = data_and_recipe(flags, Side("vit_nano_patch8_32"))
    assert (recipe.optimizer, recipe.ema_decay, recipe.precision, recipe.epochs) == ("lamb", 0.9, "bf16", 2)
    assert data.validation == 0.4 and data.image_size == 32 and recipe.batch_size == RECIPE.batch_size
    for more, words in (
        (["--set", "recipe.epochs=3"], "--set recipe.epochs=3: --epochs says it already"),
        (["--set", "recipe.optimiser=sgd"], "--set recipe.optimiser=sgd: unknown field 'optimiser' of recipe; did you"),
        (["--set", "recipe.optimizer=nothing"], "recipe.optimizer = 'nothing'"),
        (["--set", "recipe.lr=-1"], "--set recipe.lr=-1: recipe.lr = -1.0: a positive number"),
        (["--set", "search.trials=4"], "--set 'search.trials=4': data.FIELD=VALUE or recipe.FIELD=VALUE"),
        (["--lr", "nan"], "--lr: recipe.lr = nan: a number is needed"),
        (["--device", "cuda:99"], "--device 'cuda:99': "),
        (["--device", "gpu"], "--device 'gpu': "),
    ):
        code, _, error = train(*scratch, *more)
        assert code == 2 and words in error and error.count("\n") == 1, error


def test_baselines_give_a_pair_its_gain(train: Any, tmp_path: Path) -> None:
    taught = ["--student", "vit_nano_patch8_32", "--teacher", "resnet_nano_32", "--method", "kd", "--baselines"]
    code, said, _ = train(*taught)
    rows = read_runs(tmp_path / "runs" / "train").set_index("method")
    assert code == 0 and {*rows[rows["phase"] != "teacher"].index} == {"scratch", "kd"}
    students = rows[rows["phase"] != "teacher"]
    assert students["seed"].nunique() == 1 and students["student_params"].nunique() == 1
    gain = students["test_last_raw"]["kd"] - students["test_last_raw"]["scratch"]
    assert re.search(rf"^  kd +[\d.]+  {re.escape(f'{gain:+.2f}')}$", said, re.M)
    before = said
    code, said, _ = train(*taught)  # nothing is trained twice
    assert code == 0 and "epoch" not in said.partition("\n  method")[0].replace("after 1 epoch", "")
    assert said.splitlines()[-1] == before.splitlines()[-1]


def test_a_run_that_diverged(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lost = sweeps.engine.runs.train, [True]

    def diverging(config: RunConfig, world: LocalIO, **rest: Any) -> Outcome:
        return Outcome("diverged", 0, [], "loss became nan in epoch 1") if lost.pop(0) else real(config, world, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", diverging)
    command = ["--method", "scratch", "--student", "vit_nano_patch8_32"]
    code, _, error = train(*command)
    assert code == 2 and "diverged: loss became nan in epoch 1; --retry trains it again" in error
    assert train(*command)[0] == 2 and not lost
    lost.append(False)
    assert train(*command, "--retry")[0] == 0


def test_a_teacher_at_chance_is_said(train: Any, tmp_path: Path) -> None:
    """Before anything is trained where it is given, and after its training where it is not."""
    torch.manual_seed(0)
    teacher = timm.create_model("resnet_nano_32", num_classes=3)
    torch.nn.init.zeros_(teacher.get_classifier().weight)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    taught = ["--student", "vit_nano_patch8_32", "--teacher", "resnet_nano_32", "--method", "kd"]
    code, said, error = train(*taught, "--teacher-file", str(tmp_path / "teacher.pth"))
    assert code == 0 and "warning: the given teacher resnet_nano_32 is at chance: it scores 33.33 %" in said
    assert said.index("warning: the given teacher") < said.index("confirm vit_nano_patch8_32")
    code, _, error = train(*taught, "--set", "recipe.lr=1e-12")
    assert code == 0 and "warning: the teacher resnet_nano_32 is at chance" in error
    code, _, error = train("--student", "resnet_nano_32", "--method", "scratch", "--set", "recipe.lr=1e-12")
    assert code == 0 and "warning: resnet_nano_32 with method scratch is at chance" in error
