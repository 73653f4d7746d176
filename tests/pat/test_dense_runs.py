"""Whole runs of detection and segmentation: resumed, in parts, with two workers, scored."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file

from pat.config import ConfigError, RunConfig, Task
from pat.data import load
from pat.dense.detector import Detections
from pat.io import CHECKPOINT, LocalIO
from pat.models import create_model, normalisation
from pat.tasks import check_data, create_task, default_task
from pat.train import Outcome, train
from pat.training import Training
from pat.views import dense_eval
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat.test_workers import Member, in_float64

TASKS = ("detection", "segmentation")


def run(config: RunConfig, folder: Path, teacher: Path | None = None, **kwargs: Any) -> Outcome:
    return train(config, LocalIO(folder), data_root=dense.root(), teacher_file=teacher, **kwargs)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each task, trained for one epoch."""
    files = {}
    for task in TASKS:
        folder = tmp_path_factory.mktemp(task)
        config = replace(dense.config(task, "scratch", replace(dense.RECIPE, epochs=1)), student=dense.TEACHER)
        run(config, folder)
        files[task] = folder / "student.safetensors"
    return files


def timeless(outcome: Outcome) -> str:
    """A run's epochs as text, in which nan equals itself."""
    return json.dumps([{**row, "seconds": 0} for row in outcome.history])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["scratch", "pat"])
def test_going_on_gives_the_bits_of_a_whole_run(
    name: str, task: str, tmp_path: Path, teachers: dict[str, Path]
) -> None:
    """Feedback of the previous step, of another canvas, is in the checkpoint."""
    options = {"feedback": "previous"} if name == "pat" else {}
    recipe = replace(dense.RECIPE, batch_size=2, ema_decay=0.9)
    config, teacher = dense.config(task, name, recipe, options=options), teachers[task] if name != "scratch" else None
    whole = run(config, tmp_path / "whole", teacher)
    assert run(config, tmp_path / "parts", teacher, until=1).status == "paused"
    parts = run(config, tmp_path / "parts", teacher)
    assert whole.student_sha256 == parts.student_sha256 and whole.results.keys() == parts.results.keys()
    assert timeless(whole) == timeless(parts)
    assert whole.details == parts.details and set(whole.details) == {
        f"{rule}_{weights}" for rule in ("last", "best_val") for weights in ("raw", "ema")
    }
    assert not whole.test_correct, "no score of these tasks is a mean over images"
    known = {"detection": {"ap50", "ap75", "aps"}, "segmentation": {"pixel_accuracy"}}[task]
    assert all(known <= set(found) for found in whole.details.values())


def two_workers() -> dict[str, RunConfig]:
    """Steps of four images. BatchNorm is frozen: that of several CPU workers is each one's own."""
    recipe = replace(dense.RECIPE, epochs=1, optimizer="sgd", lr=0.01)
    frozen: dict[str, Any] = {"task_options": {"freeze_norm": True}, "initial": "run:0123456789abcdef"}
    return {f"{task} {name}": dense.config(task, name, recipe, **frozen) for task in TASKS for name in dense.METHODS}


QUICK = ("detection pat", "segmentation kd")
OTHERS = tuple(name for name in two_workers() if name not in QUICK)


def work(rank: int, world: int, port: int, runs: dict[str, RunConfig], folder: Path, files: dict[str, Path]) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    with in_float64():
        for name, config in runs.items():
            shared = {"data_root": files["root"], "initial_file": files["initial"]}
            train(config, Member(folder / name, rank, world), teacher_file=files[config.task.name], **shared)
    dist.destroy_process_group()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("names", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["quick", "others"])
def test_two_workers_give_the_weights_of_one(names: tuple[str, ...], tmp_path: Path, teachers: dict[str, Path]) -> None:
    """Samples are drawn by what an image is, all workers pad to one canvas, and means are over the samples of both."""
    runs = {name: two_workers()[name] for name in names}
    save_file(create_model(dense.STUDENT, 0, 64).state_dict(), tmp_path / "initial")
    files = {**teachers, "root": dense.root(), "initial": tmp_path / "initial"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (2, port, runs, tmp_path / "two", files), nprocs=2)
    for name, config in runs.items():
        with in_float64():
            run(config, tmp_path / "one" / name, teachers[config.task.name], initial_file=files["initial"])
        one, two = (torch.load(tmp_path / count / name / CHECKPOINT, weights_only=True) for count in ("one", "two"))
        assert one["last_losses"] == pytest.approx(two["last_losses"], rel=1e-9), name
        for key, value in one["method"].items():
            difference = (two["method"][key] - value).double().norm()
            assert difference <= 1e-8 * (value.double().norm() + value.numel() ** 0.5), (name, key)


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_without_content_takes_a_step(task: str, tmp_path: Path) -> None:
    """As a run that does not fit tries how many images would."""
    config = dense.config(task, "scratch")
    training = Training(config, LocalIO(tmp_path), load(config.data, dense.root()), None, None)
    indices, images, targets = training.task.blank(3, torch.device("cpu"))
    losses = training.step_module.train()(images, targets, indices)
    losses["loss"].backward()
    assert images.shape[2:] == training.task.canvas and torch.isfinite(losses["loss"])
    parts = targets.chunk(3)
    assert len(parts) == 3 and all(len(part) == 1 for part in parts)


class Knows(torch.nn.Module):
    """A detector that knows the images and what the annotation says of each; boxes are moved by `off` pixels."""

    def __init__(self, split: Any, task: Any, off: float = 0.0) -> None:
        super().__init__()
        self.split, self.off, self.pretrained_cfg = split, off, {}
        shown = dense_eval(split, task.data.image_size, task.longest, normalisation(self), 1)
        self.images = {int(indices): images[0] for indices, images, _ in shown}

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> list[Detections]:
        found = []
        for pixels, (h, w) in zip(images, sizes.tolist(), strict=True):
            (place,) = (i for i, own in self.images.items() if torch.equal(own[:, :h, :w], pixels[:, :h, :w]))
            own = self.split.boxes.take(torch.tensor([place]))
            scale = torch.tensor([h, w]).div(self.split.sizes[place]).flip(0).repeat(2)
            found.append(Detections(own.boxes * scale + self.off, torch.ones(len(own.labels)), own.labels))
        return found


def test_the_truth_scores_100() -> None:
    """Through the canvas and back, whatever the sizes of the images; crowds are no mistakes."""
    task, test = dense.made("detection"), dense.dataset("detection").test
    score = task.score(Knows(test, task), test)
    assert score.score == pytest.approx(100) and score.details["ap50"] == pytest.approx(100) and score.correct is None


def test_detections_beside_the_truth_score_less() -> None:
    task, test = dense.made("detection"), dense.dataset("detection").test
    assert 1 < task.score(Knows(test, task, off=3.0), test).score < 90


@pytest.mark.parametrize("task", TASKS)
def test_scoring_leaves_the_model_as_it_was(task: str) -> None:
    made, data = dense.made(task), dense.dataset(task)
    model = made.student(dense.STUDENT, 0).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first, second = (made.score(model, data.test) for _ in range(2))
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert first == pytest.approx(second, nan_ok=True) if task == "segmentation" else first.score == second.score
    assert made.score(model, data.test.take(torch.arange(0))).score != made.score(model, data.test).score


@pytest.mark.parametrize("task", TASKS)
def test_several_models_on_one_stream_score_as_each_alone(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, and each image is made once."""
    made, part = dense.made(task), dense.dataset(task).test
    if task == "detection":
        models: list[torch.nn.Module] = [Knows(part, made), Knows(part, made, off=3.0).eval()]
    else:
        models = [made.student(dense.STUDENT, 0), made.student(dense.STUDENT, 1).eval()]
    alone, passes, stream = [made.score(model, part) for model in models], [], type(part).stream
    monkeypatch.setattr(type(part), "stream", lambda *given: passes.append(1) or stream(*given))
    together = made.scores(models, part)
    assert repr(together) == repr(alone) and together[0].details != together[1].details and passes == [1]
    assert [model.training for model in models] == [True, False]
    assert len(made.scores(models, part.take(torch.arange(0)))) == 2


SQUARES: dict[str, Any] = {
    "label_smoothing": 0.1,
    "crop_scale": (0.5, 1.0),
    "crop_ratio": (0.75, 1.5),
    "mixup": 0.8,
    "cutmix": 0.5,
    "mixup_mode": "elem",
    "auto_augment": "rand-m9",
    "random_erasing": 0.2,
    "views": "timm",
}
"""What makes views of squares with one class."""


def test_refusals_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for task in TASKS:
        made = dense.made(task)
        for field, value in SQUARES.items():
            with pytest.raises(ConfigError, match=f"recipe.{field} = .*: {task} has no use for it, leave it at"):
                made.check(dense.STUDENT, replace(dense.RECIPE, **{field: value}), "")
        for name, reason in (
            ("vit_tiny_patch16_224", "strides 16, 16, 16, 16"),
            ("mixer_b16_224", "its grid is fixed"),
        ):
            with pytest.raises(ConfigError, match=f"model '{name}': cannot be the backbone.*{reason}"):
                made.check(name, dense.RECIPE, "")
        frozen = dense.made(task, freeze_norm=True)
        with pytest.raises(
            ConfigError, match="task.freeze_norm = True: BatchNorm of 'resnet_nano_32' would stay untrain"
        ):
            frozen.check(dense.STUDENT, dense.RECIPE, "")
        frozen.check(dense.STUDENT, dense.RECIPE, "timm:resnet18.tv_in1k")
        frozen.check(dense.TEACHER, dense.RECIPE, "")  # it has none
        assert default_task(dense.data(task)).name == task
        with pytest.raises(ConfigError, match="width = 0, longest = 0: a number of channels, and pixels or 0"):
            dense.made(task, width=0, longest=0)
        with pytest.raises(ConfigError, match="width = 8, longest = -1: a number of channels, and pixels or 0"):
            dense.made(task, longest=-1)
        middle = replace(dense.data(task), crop_pct=0.9)
        with pytest.raises(ConfigError, match=f"data.crop_pct = 0.9: {task} scores whole images, leave it at 1.0"):
            create_task(Task(task), middle, 5).check(dense.TEACHER, dense.RECIPE, "")
    for field, said in {"sizes": (48, 64), "scale": (0.5, 2.0)}.items():
        recipe = replace(tiny.config().recipe, **{field: said})
        with pytest.raises(ConfigError, match=rf"recipe.{field} = \(.*\): classification has no use for it"):
            tiny.task().check("resnet18", recipe, "")
    with pytest.raises(
        ConfigError, match="task 'detection': needs a data set with boxes, 'masks:segmentation' has masks"
    ):
        check_data(Task("detection"), dense.data("segmentation"))
    with pytest.raises(ConfigError, match="task.crop = 40: 0, or a multiple of 32"):
        dense.made("segmentation", crop=40)
    for wrong, message in (
        ({"anchors": (8, 16)}, "task.anchors = .8.0, 16.0.: 5 positive numbers"),
        ({"proposals": (100, 0, 100)}, "task.proposals = .100, 0, 100.: 3 positive numbers"),
        ({"regions": 0}, "task.regions = 0, hidden = 16: positive numbers"),
        ({"width": 0}, "task.width = 0, longest = 128: a number of channels"),
    ):
        with pytest.raises(ConfigError, match=message):
            dense.made("detection", **wrong)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ConfigError, match="^detection is scored with faster-coco-eval, which is not installed"):
        dense.made("detection").check(dense.STUDENT, dense.RECIPE, "")
