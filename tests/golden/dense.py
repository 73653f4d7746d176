"""Images with boxes and with masks that exist in memory alone, the same on every machine; and golden runs on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pat.config import Data, Method, Recipe, RunConfig, Task, Teacher
from pat.data import Boxes, BoxSplit, MaskSplit, register_dataset
from pat.data.files import Held
from tests.pat.dense_sets import SIZES, mask_of, pixels
from tests.pat.dense_tasks import METHODS, OPTIONS, STUDENT, TEACHER

CLASSES = 5
RECIPE = Recipe(
    epochs=2, batch_size=2, lr=1e-3, optimizer="adamw", weight_decay=0.5, schedule="multistep", milestones=(1,),
    warmup_steps=2, warmup_lr=1e-4, clip_grad=5.0, flip=0.5, color_jitter=0.4, interpolation="bilinear",
    sizes=(48, 64), scale=(0.8, 1.25), ema_decay=0.9,
)  # fmt: skip
"""Every part of a recipe that whole images have use for."""


@register_dataset("tiny-boxes", truths="boxes")
def load_boxes(root: Path, data: Data) -> tuple[BoxSplit, BoxSplit, int]:
    return _boxes(0), _boxes(1), CLASSES


@register_dataset("tiny-masks", truths="masks")
def load_masks(root: Path, data: Data) -> tuple[MaskSplit, MaskSplit, int]:
    return _masks(0), _masks(1), CLASSES


def _boxes(seed: int) -> BoxSplit:
    random = np.random.default_rng(seed)
    counts = torch.tensor([1 + i % 3 for i in range(len(SIZES))])
    boxes, sizes = [], torch.tensor(SIZES)
    for (height, width), count in zip(SIZES, counts.tolist(), strict=True):
        for _ in range(count):
            left, top = int(random.integers(0, width // 2)), int(random.integers(0, height // 2))
            right, bottom = left + int(random.integers(8, width // 2)), top + int(random.integers(8, height // 2))
            boxes.append([left, top, right, bottom])
    found = torch.tensor(boxes, dtype=torch.float32)
    labels = torch.from_numpy(random.integers(1, CLASSES + 1, len(boxes)))
    area = (found[:, 2:] - found[:, :2]).prod(1).double()
    truth = Boxes(found, labels, torch.zeros(len(boxes), dtype=torch.bool), area, counts)
    pictures = [torch.from_numpy(pixels(*size, 10 * seed + i)) for i, size in enumerate(SIZES)]
    rows = torch.arange(len(SIZES))
    return BoxSplit(pictures=Held.of(pictures), rows=rows, workers=0, boxes=truth, sizes=sizes, ids=rows)


def _masks(seed: int) -> MaskSplit:
    pictures = []
    for i, size in enumerate(SIZES):
        number = 10 * seed + i
        mask = torch.from_numpy(mask_of(*size, number, CLASSES).copy())
        pictures.append(torch.cat([torch.from_numpy(pixels(*size, number)), mask[..., None]], 2))
    rows = torch.arange(len(SIZES))
    return MaskSplit(pictures=Held.of(pictures), rows=rows, workers=0, sizes=torch.tensor(SIZES))


def dense_configurations() -> Iterator[tuple[str, RunConfig]]:
    """Eight steps each: from scratch, and PAT, which has every other part of a loss in it."""
    for task, data in (("detection", "tiny-boxes"), ("segmentation", "tiny-masks")):
        for name in ("scratch", "pat"):
            yield (
                f"{name} {task} fp32",
                RunConfig(
                    STUDENT,
                    Data(data, 64, validation=0.2),
                    replace(RECIPE, ema_decay=RECIPE.ema_decay if name == "scratch" else 0.0),
                    Method(name, METHODS[name]),
                    None if name == "scratch" else Teacher(TEACHER, f"run:{task}"),
                    task=Task(task, OPTIONS[task]),
                ),
            )
