"""Studies of generative pre-training: the same student from scratch, for as many hours, from pixels, from a teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pat.config import Data, Recipe, Task
from sweeps import published
from sweeps.presets.classification import TINY
from sweeps.presets.segmentation import VOC_STUDENT
from sweeps.pretraining import Pretraining
from sweeps.study import Search, Study, TeacherFile

METHODS = ("longer", "spark", "hgkd")
BEIT = "beitv2_base_patch16_224"
STUDENTS = ("resnet50", "mobilenetv2_100")
SMALL, SMALL_TEACHER = "convnext_nano_patch1_32", "vit_micro_patch4_32"

IMAGENET = Pretraining(
    data=Data("imagenet", image_size=224),
    recipe=Recipe(
        epochs=300,
        batch_size=1024,
        optimizer="adamw",
        lr=6e-4,
        weight_decay=0.05,
        warmup_epochs=10,
        crop_scale=(0.67, 1.0),
        flip=0.5,
        precision="bf16",
    ),
    longer=7.0,
)
"""G2SD's schedule (300 epochs, 1.5e-4 for 256 images) with SparK's crops and ratio, cells of 32 pixels."""


def imagenet() -> Study:
    """ResNet-50 and MobileNetV2 taught by a ViT-B that was itself trained on masked images (BEiT v2, Apache-2.0), then
    trained on ImageNet."""
    return _downstream(
        "hgkd-imagenet",
        data=Data("imagenet", image_size=224),
        students=dict.fromkeys(STUDENTS, published.IMAGENET_CNN),
        confirm_validation=0.0,
    )


def coco() -> Study:
    """The same pre-training, then detection: what `hgkd-imagenet` has pre-trained under the same storage is adopted."""
    return _downstream(
        "hgkd-imagenet-coco",
        task=Task("detection", {"longest": 1333, "freeze_norm": False}),
        data=Data("coco", image_size=800),
        students=dict.fromkeys(STUDENTS, published.COCO_STUDENT),
        confirm_validation=0.0,
        pretraining=replace(IMAGENET, longer=9.0),
    )


def voc() -> Study:
    """The same pre-training, then segmentation of Pascal VOC 2012: 1,464 images, on which nobody would train for as
    long as a pre-training takes, so without that control."""
    return _downstream(
        "hgkd-imagenet-voc",
        task=Task("segmentation", {"width": 128, "crop": 512}),
        data=Data("voc", image_size=512),
        students=dict.fromkeys(STUDENTS, VOC_STUDENT),
        confirm_validation=0.0,
        methods=("spark", "hgkd"),
    )


def _downstream(name: str, **changes: Any) -> Study:
    shared: dict[str, Any] = {
        "teachers": {BEIT: TeacherFile("timm:beitv2_base_patch16_224.in1k_ft_in22k")},
        "pairs": tuple((BEIT, student) for student in STUDENTS),
        "methods": METHODS,
        "search": Search(trials=0),
        "pretraining": IMAGENET,
        "threads": 8,
    }
    return Study(name=name, **{**shared, **changes})


def small() -> Study:
    """Real CIFAR-100 at 32 px: a small CNN whose last map has 16 cells, taught by a ViT that is trained here: hours on
    a few cores."""
    recipe = replace(
        TINY,
        epochs=8,
        batch_size=128,
        warmup_epochs=1,
        crop_scale=(0.5, 1.0),
        flip=0.5,
        ema_decay=0.0,
    )
    return Study(
        name="hgkd-small",
        data=Data("cifar100", image_size=32),
        teachers={SMALL_TEACHER: replace(recipe, epochs=24, warmup_epochs=2)},
        students={SMALL: recipe},
        pairs=((SMALL_TEACHER, SMALL),),
        methods=METHODS,
        search=Search(trials=0),
        seeds=3,
        options={method: {"width": 64} for method in ("spark", "hgkd")},
        pretraining=Pretraining(
            data=Data("cifar100", image_size=32),
            recipe=replace(recipe, lr=2e-3, label_smoothing=0.0, clip_grad=0.0),
            task=Task("generation", {"cell": 8, "stride": 4}),
            longer=2.4,
        ),
    )
