"""Studies of semantic segmentation: the levels of a pyramid on each backbone, summed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pat.config import Data, Recipe, Task
from sweeps import published
from sweeps.presets.proposed import PROPOSED
from sweeps.study import Search, Study

METHODS = ("kd", "fitnet", "pat")
OPTIONS: dict[str, dict[str, Any]] = {
    "pat": {"regions": (16,) * 4, "region_dim": 128, "heads": 4, "feedback": "current"}
}

VOC_STUDENT = Recipe(
    epochs=200,
    batch_size=16,
    lr=0.01,
    weight_decay=5e-4,
    schedule="poly",
    decay_rate=0.9,
    min_lr=1e-4,
    flip=0.5,
    interpolation="bilinear",
    scale=(0.5, 2.0),
    color_jitter=0.4,
    precision="bf16",
)
"""The usual one of these sets: SGD, the power 0.9 of what is left, cuts of 512 pixels at half to twice the size."""
VOC_TEACHER = replace(VOC_STUDENT, optimizer="adamw", lr=1e-4, weight_decay=0.01, min_lr=1e-6, warmup_steps=500)


def voc() -> Study:
    """Pascal VOC 2012 (1,464 images of train, val as the test split), backbones with timm's ImageNet weights.

    The same study on ADE20K: `data=Data("ade20k", 512)`, fewer epochs.
    """
    return Study(
        name="voc-seg",
        task=Task("segmentation", {"width": 128, "crop": 512}),
        data=Data("voc", image_size=512),
        teachers={published.SWIN: VOC_TEACHER},
        students=dict.fromkeys(published.CNN_STUDENTS, VOC_STUDENT),
        pairs=published.COCO_PAIRS,
        methods=METHODS,
        search=Search(**PROPOSED, rungs=(0.1, 0.3, 1.0), ahead=0.3),
        initial=published.COCO_WEIGHTS,
        options=OPTIONS,
        confirm_validation=0.0,
        threads=4,
    )


def camvid_small() -> Study:
    """CamVid in DATA_ROOT/camvid at 240 x 180 pixels, small models without pretrained weights: minutes on a few cores
    with a part of the set."""
    recipe = Recipe(
        epochs=24,
        batch_size=4,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.01,
        min_lr=1e-5,
        warmup_epochs=2,
        flip=0.5,
        interpolation="bilinear",
        clip_grad=5.0,
    )
    teacher, students = published.SWIN_PICO, ("resnet10t", "mobilenetv2_050")
    return Study(
        name="camvid-small",
        task=Task("segmentation", {"width": 32}),
        data=Data("camvid", image_size=180, validation=0.2),
        teachers={teacher: recipe},
        students=dict.fromkeys(students, recipe),
        pairs=tuple((teacher, student) for student in students),
        methods=METHODS,
        search=Search(trials=0),
        seeds=2,
        options={"pat": {**OPTIONS["pat"], "regions": (4,) * 4, "region_dim": 32}},
    )
