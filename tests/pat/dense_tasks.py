"""The smallest material for detection and segmentation: folders of ten images, a CNN student, a Swin teacher."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from pat.config import Data, Recipe, RunConfig, Task, Teacher
from pat.config import Method as MethodPart
from pat.data import Dataset, box_data, load, mask_data
from pat.methods import Method, create_method
from pat.tasks import task_on
from pat.views import Views
from tests.pat.dense_sets import box_folder, mask_folder

STUDENT, TEACHER = "resnet_nano_32", "swin_pico_patch4_window7_224"
OPTIONS: dict[str, dict[str, Any]] = {
    "detection": {
        "width": 8,
        "hidden": 16,
        "longest": 128,
        "anchors": (8.0, 16.0, 32.0, 64.0, 128.0),
        "proposals": (50, 30, 30),
        "regions": 24,
        "freeze_norm": False,
    },
    "segmentation": {"width": 8},
}
METHODS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "kd": {},
    "fitnet": {"kd_weight": 1.0},
    "reviewkd": {"warmup_epochs": 0},
    "sokd": {"head_dim": 8},
    "pat": {"region_dim": 8, "heads": 2, "regions": 10, "feedback": "current"},
}
RECIPE = Recipe(epochs=2, batch_size=4, lr=2e-3, optimizer="adamw", flip=0.5, sizes=(48, 64), interpolation="bilinear")


@cache
def root() -> Path:
    """One folder with boxes, one with masks, for the time of the process."""
    path = Path(mkdtemp())
    box_folder(path / "detection")
    mask_folder(path / "segmentation")
    return path


def data(task: str) -> Data:
    found = {"detection": box_data, "segmentation": mask_data}[task](root() / task, 64)
    return replace(found, validation=0.2)


def dataset(task: str) -> Dataset:
    return load(data(task), root())


def made(task: str, **options: Any) -> Any:
    """The task on its folder."""
    return task_on(Task(task, {**OPTIONS[task], **options}), data(task), dataset(task))


def views(task: Any, epoch: int = 0, batch: int = 0, images: int = 4) -> Views:
    """A batch of so many images."""
    train = dataset(task.name).train
    batches = task.batches(train, images, 0, epoch)
    return list(task.views(train, batches, RECIPE, task.student(STUDENT, 0), 0, epoch))[batch]


def method(name: str, task: Any, teacher: Any = None, **options: Any) -> Method:
    """Around a fresh student and (where none is given) a fresh Swin."""
    models = task.student(STUDENT, 0), None if name == "scratch" else teacher or task.student(TEACHER, 1)
    return create_method(name, *models, task, **{**METHODS[name], **options})


def config(task: str, name: str, recipe: Recipe = RECIPE, **fields: Any) -> RunConfig:
    teacher = None if name == "scratch" else Teacher(TEACHER, "run:0123456789abcdef")
    given = Task(task, {**OPTIONS[task], **fields.pop("task_options", {})})
    options = {**METHODS[name], **fields.pop("options", {})}
    return RunConfig(STUDENT, data(task), recipe, MethodPart(name, options), teacher, task=given, **fields)


def flat(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items() if name != "output"}
